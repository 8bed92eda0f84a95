"""One scenario on trial: what is right before and after it, and what is left when a call fails."""

import ctypes
import errno
import os
import shutil
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path

from tests.faults import injection, world
from tests.faults.injection import KILL, Fault, union_in
from tests.faults.scenarios import Scenario
from tests.faults.world import OLD_NS, Seen, seen_at, seen_by_verbs
from tests.support.tree import Entry, Snapshot, differences
from unionfs.linux import mounts

ALL = bool(os.environ.get("PYUNION_FUZZ_EXAMPLES"))
"""Every fault at every call; otherwise a share of them."""
SHARE = 12
KINDS = ((KILL, False), (errno.ENOSPC, False), (errno.EROFS, True), (errno.EIO, False))
"""(errno, whether it lasts) of a call that changes something."""
NEW = -1
KERNEL_OPTIONS = "index=on,redirect_dir=on,xino=on"
MNT_DETACH = 2
LIBC = ctypes.CDLL(None, use_errno=True)


class Trial:
    """One scenario, with what is right."""

    def __init__(self, place: Path, scenario: Scenario, poor: Path | None = None) -> None:
        """`poor`: a filesystem for the upper that can do less, so that the kernel can't mount it."""
        self.place = place
        self.scenario = scenario
        self.lowers = [place / "top", place / "bottom"]
        self.scratch = (poor or place) / "scratch"
        self.is_poor = poor is not None
        self.old_numbers = self._old_numbers()
        self.before, self.after = self._expected()

    def _old_numbers(self) -> set[int]:
        """Inode numbers of what the lower layers hold."""
        fs = union_in(self.fresh(), self.lowers, self.scenario)
        seen = seen_by_verbs(fs)
        fs.reopen()
        return set(seen.links.values())

    def _expected(self) -> tuple[Seen, Seen]:
        fs = union_in(self.fresh(), self.lowers, self.scenario)
        self.scenario.prepare(fs)
        before = seen_by_verbs(fs)
        self.scenario.act(fs)
        after = seen_by_verbs(fs)
        fs.reopen()
        assert self._is(seen_by_verbs(fs), after) == [], "another tree after a remount"
        fs.reopen()
        self._compare_with_kernel(after)
        return before, after

    def fresh(self) -> Path:
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.scratch.mkdir()
        return self.scratch

    def faults(self, *, known: bool) -> Iterator[Fault]:
        """Every fault there is."""
        outcome = injection.run(self.fresh(), self.lowers, self.scenario, None, known=known)
        assert outcome.report is not None
        assert self._is(outcome.report.afterwards, self.after) == []
        for at, call in enumerate(outcome.calls):
            if call.changes:
                for kind, (code, lasting) in enumerate(KINDS):
                    # where it takes several calls, an error in their midst can't always be undone
                    if (ALL or (at + 4 * known) % SHARE == kind) if not self.is_poor else code == KILL:
                        yield Fault(at, call.name, code, lasting)
            elif not self.is_poor and (ALL or (at + 4 * known) % SHARE == 0):
                yield Fault(at, call.name, errno.EIO, looks=True)

    def inject(self, fault: Fault, *, known: bool) -> None:
        """Run with the fault, and look at what is left from all sides."""
        outcome = injection.run(self.fresh(), self.lowers, self.scenario, fault, known=known)
        assert outcome.injected, "lost"
        if outcome.report is not None:
            self._check_survivor(fault, outcome.report)
        if fault.at % 2:
            self._compare_with_kernel(self._seen_reopened())
        self._compare_with_kernel(self._check_reopened(outcome.report))

    def _check_survivor(self, fault: Fault, report: injection.Report) -> None:
        if report.code == 0:
            assert self._is(report.afterwards, self.after) == [], "succeeded, but not as after"
            return
        assert report.code == fault.code, f"it told {os.strerror(report.code)}"
        assert report.retried is not None
        # a temporary that can't be removed is a link until the next mount
        ignore = {"nlink"} if fault.lasting else set()
        if self._is(report.afterwards, self.before, ignore):
            # it has changed everything, and then couldn't look at it; or what is left of a file can't be grown again
            assert fault.looks or self.scenario.cuts, f"failed, but not as before: {self._from_before(report)}"
            assert self._is(report.afterwards, self.after) == [], "failed, neither as before nor as after"
        else:
            assert report.retry_code == 0, f"tried again: {os.strerror(report.retry_code)}"
        assert self._is(report.retried, self.after) == [], "tried again, but not as after"

    def _from_before(self, report: injection.Report) -> list[str]:
        return self._is(report.afterwards, self.before)

    def _seen_reopened(self) -> Seen:
        fs = union_in(self.scratch, self.lowers, self.scenario)
        seen = seen_by_verbs(fs)
        fs.reopen()
        return seen

    def _check_reopened(self, report: injection.Report | None) -> Seen:
        """Open what is left: the tree is the survivor's, or one of the two; the verb can be made; no debris."""
        fs = union_in(self.scratch, self.lowers, self.scenario)
        state = seen_by_verbs(fs)
        assert self.is_poor or fs.debris() == [], "debris"
        assert self.is_poor or world.strays(fs.upper, self.lowers, state, self.scenario.spared) == []
        uncounted = {"nlink"} if self.scenario.counts else set()
        done = self._is(state, self.after, uncounted)
        if report is not None:
            assert done == [], "not as after when opened again"
        elif done:
            assert self._is(state, self.before, uncounted) == [], f"killed, neither as before nor as after ({done})"
            self.scenario.act(fs)
            state = seen_by_verbs(fs)
            assert self._is(state, self.after, uncounted) == [], "as before, but what was interrupted doesn't work now"
        fs.reopen()
        assert fs.debris() == [], "debris"
        return state

    def _is(self, seen: Seen, wanted: Seen, ignore: Collection[str] = ()) -> list[str]:
        """In what the tree differs from the wanted one; times only as far as they are old or new."""
        lines = differences(_plain(wanted.tree, self.scenario), _plain(seen.tree, self.scenario), ignore=ignore)
        if not lines and seen.groups() != wanted.groups():
            lines.append(f"hard links {seen.groups()}, expected {wanted.groups()}")
        for path, ino in wanted.links.items():
            if not self.is_poor and ino in self.old_numbers and seen.links.get(path, ino) != ino:
                lines.append(f"{path}: inode number {seen.links[path]}, expected {ino}")
        return lines

    def _seen_by_kernel(self) -> Seen:
        layers = ":".join(str(lower) for lower in self.lowers)
        options = f"lowerdir={layers},upperdir={self.scratch}/upper,workdir={self.scratch}/work,{KERNEL_OPTIONS}"
        if self.scenario.options.get("metacopy"):
            options += ",metacopy=on"
        mount_point = self.place / "kernel"
        mount("overlay", mount_point, options)
        try:
            return seen_at(mount_point)
        finally:
            mounts.umount2(os.fsencode(mount_point), MNT_DETACH)

    def _compare_with_kernel(self, ours: Seen) -> None:
        if self.is_poor:
            return
        kernel = self._seen_by_kernel()
        lines = differences(kernel.tree, ours.tree, ignore={"nlink"} if self.scenario.counts else set())
        assert lines == [], "the kernel (expected) sees another tree"
        assert ours.groups() == kernel.groups(), "the kernel sees other hard links"


def mount(fstype: str, target: Path, options: str) -> None:
    """mount(2). Raises OSError."""
    if LIBC.mount(fstype.encode(), os.fsencode(target), fstype.encode(), 0, options.encode()) == -1:
        raise OSError(ctypes.get_errno(), f"mount {fstype}")


def _plain(tree: Snapshot, scenario: Scenario) -> Snapshot:
    """`tree` with times told as old or new, but not where a fault may change them."""
    return {path: replace(entry, mtime_ns=_time(entry, scenario)) for path, entry in tree.items()}


def _time(entry: Entry, scenario: Scenario) -> int:
    if entry.type == "directory" or scenario.cuts or scenario.in_place:
        return 0
    return OLD_NS if entry.mtime_ns == OLD_NS else NEW
