"""Faults that once left something wrong, each by its name."""

import errno
import os

import pytest

from tests.faults import injection
from tests.faults.injection import KILL, Fault
from tests.faults.scenarios import SCENARIOS
from tests.faults.trial import Trial
from tests.support import needs
from tests.unit.core.inprocess import InProcess
from unionfs.core.errors import UnionError
from unionfs.core.ops import create, lookup
from unionfs.core.work import run_inline

pytestmark = [needs.root]

LEAKED = 1001


def fail(place, scenario, name, code, *, nth=0, lasting=False, known=False):
    """Let the `nth` call `name` of the scenario fail (negative: from the end), and check what is left."""
    trial = Trial(place, SCENARIOS[scenario])
    outcome = injection.run(trial.fresh(), trial.lowers, trial.scenario, None, known=known)
    at = [at for at, call in enumerate(outcome.calls) if call.name == name][nth]
    trial.inject(Fault(at, name, code, lasting, looks=not outcome.calls[at].changes), known=known)


def test_an_origin_that_cannot_be_told_fails_the_copy_up_instead_of_changing_the_inode_number(place):
    fail(place, "copy up a file", "name_to_handle_at", errno.EIO)


def test_a_hard_link_whose_handle_cannot_be_told_is_not_copied_up_as_a_file_of_its_own(place):
    fail(place, "copy up a hard link", "name_to_handle_at", errno.EIO)


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_unlink_has_hidden_the_name_though_the_whiteout_cannot_be_linked_for_later(place, code):
    fail(place, "unlink a lower file", "linkat", code)


def test_a_node_whose_count_of_links_cannot_be_read_is_not_kept_without_it(place):
    fail(place, "unlink a copied-up hard link", "lgetxattr", errno.EIO)


@pytest.mark.parametrize("code", [errno.EIO, KILL])
def test_links_are_counted_right_while_one_more_name_is_linked_up(place, code):
    fail(place, "unlink the lower name of a copied-up hard link", "utimensat", code)


@pytest.mark.parametrize("name", ["copy_file_range", "ftruncate", "utimensat", "fsync", "renameat"])
@pytest.mark.parametrize("code", [errno.EIO, KILL])
def test_metacopy_is_filled_in_at_one_moment(place, name, code):
    """It was written in place: times had changed, and a capability was lost, before the data was there."""
    fail(place, "metacopy with a capability filled in", name, code) if name == "utimensat" else fail(
        place, "metacopy of a sparse file filled in", name, code
    )


def test_a_copied_up_hard_link_is_in_the_index_or_not_for_all_its_names(place):
    """An index entry that couldn't be removed again made one name mean the copy, another the lower file."""
    fail(place, "cut a lower hard link", "renameat", errno.EROFS, nth=-1, lasting=True)


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, KILL])
def test_a_directory_renamed_over_a_whiteout_is_renamed_though_the_whiteout_stays(place, code):
    fail(place, "rename an upper directory over a whiteout", "unlinkat", code)


def test_a_directory_emptied_to_be_replaced_keeps_its_number_if_it_is_not(place):
    fail(place, "rename a directory over one of whiteouts", "renameat", KILL, nth=-1)


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
def test_a_directory_emptied_to_be_replaced_can_be_used_if_it_is_not(place, code):
    """Its descriptor was that of the directory that had been there, so that nothing could be made in it."""
    fail(place, "rename a directory over one of whiteouts", "renameat", code, nth=-1, known=True)


def test_a_file_that_nobody_holds_is_linked(tmp_path):
    """Copy-up forgot the node, and the new name meant one that wasn't in the table."""
    fs = InProcess(tmp_path)
    (fs.lowers[0] / "file").write_text("file")
    run_inline(create.link(fs.union, fs.node("file"), fs.union.root, b"linked"))
    linked = fs.node("linked")
    assert linked is fs.node("file")
    linked.lookups += 1
    lookup.forget(fs.union, linked, 1)
    assert lookup.lookup(fs.union, fs.union.root, b"linked")[1].st_nlink == 2
    fs.reopen()


def test_a_union_that_cannot_be_opened_leaves_nothing_open(place, tmp_path):
    """Whichever call fails, the reason is told, and the next attempt succeeds."""
    trial = Trial(place, SCENARIOS["copy up a file"])

    def attempt(fs: InProcess) -> None:
        fs.reopen()
        before = len(os.listdir("/proc/self/fd"))
        try:
            assert not fs.union.read_only
        except (UnionError, OSError) as error:
            left = len(os.listdir("/proc/self/fd")) - before
            # as an errno, since the verb of a scenario tells one
            raise OSError(LEAKED if left else errno.EIO, "") from error

    opening = trial.scenario._replace(act=attempt)
    calls = injection.run(trial.fresh(), trial.lowers, opening, None, known=False).calls
    failures = []
    for at, call in enumerate(calls):
        fault = Fault(at, call.name, errno.EIO, looks=not call.changes)
        outcome = injection.run(trial.fresh(), trial.lowers, opening, fault, known=False)
        assert outcome.injected
        assert outcome.report is not None
        if outcome.report.code not in (0, errno.EIO) or outcome.report.retry_code:
            failures.append(f"{fault}: {outcome.report.code}, then {outcome.report.retry_code}")
    assert not failures, failures
