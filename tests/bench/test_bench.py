"""The measuring itself: a workload on two mounts gives the table that the documentation promises."""

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from bench.mounts import OURS, OVERLAY, SYSTEMS, System
from bench.results import Results, summarize
from bench.runner import Plan, Run
from bench.stacks import Stack
from bench.workload import Place, Row, Workload
from tests.support import needs

HOUSE = Path(__file__).resolve().parents[2]


@pytest.fixture
def stack(tmp_path: Path) -> Stack:
    """Two layers with a file each."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"file-of-{name}").write_text(name)
    layers = (tmp_path / "one", tmp_path / "two")
    return Stack(layers, layers)


def measure(stack: Stack, work, systems: list[System]) -> Results:
    rows = (Row("the row"),)
    usual = {"writes": False, "shared": False, "costly": False, "noisy": False}
    workload = Workload("test", work, lambda: stack, rows, "metadata", None, **usual)
    results = Results()
    Run(workload, Plan(systems, rounds=2, quick=True), results).run()
    return results


def list_all(place: Place) -> object:
    with place.timed("the row"):
        return sorted(path.name for path in place.merged.iterdir())


@needs.root
def test_a_workload_is_timed_in_every_round_on_every_mount_and_its_requests_are_counted(stack: Stack) -> None:
    needs.kernel_overlayfs()
    needs.fuse_device()
    results = measure(stack, list_all, [SYSTEMS[OVERLAY], SYSTEMS[OURS]])
    assert {name: len(times) for name, times in results.figures["the row"].items()} == {OVERLAY: 2, OURS: 2}
    if Path("/sys/kernel/tracing/events/fuse/fuse_request_send").is_dir():
        assert results.requests["the row"][OURS].keys() & {"READDIR", "READDIRPLUS"}


@needs.root
def test_a_filesystem_that_does_other_work_than_the_first_is_left_out_with_the_reason(stack: Stack) -> None:
    needs.kernel_overlayfs()
    needs.fuse_device()
    less = SYSTEMS[OURS]._replace(
        command=lambda layers, at: SYSTEMS[OURS].command(layers._replace(lowers=layers.lowers[:1]), at)
    )
    results = measure(stack, list_all, [SYSTEMS[OVERLAY], less])
    assert list(results.figures["the row"]) == [OVERLAY]
    assert "file-of-two" in results.failures["test"][OURS]


@needs.root
def test_the_command_prints_a_table_with_a_column_for_each_mount_and_a_line_for_each_row() -> None:
    needs.kernel_overlayfs()
    needs.fuse_device()
    command = [sys.executable, "-m", "bench", "layers-1", "--quick", "--mounts", OVERLAY, OURS]
    said = subprocess.run(command, cwd=HOUSE, capture_output=True, text=True, check=True).stdout
    lines = [line.strip("| ").split(" | ") for line in said.splitlines() if line.startswith("|")]
    assert lines[0] == [OVERLAY, OURS, "aim", "reached", "ahead of peers"]
    assert lines[2][0] == "walk, cold, 1 layer"
    assert re.fullmatch(r"[\d.]+ ms", lines[2][1])
    assert re.fullmatch(r"[\d.]+ \([\d.]+–[\d.]+\)", lines[2][2])


def test_an_unknown_workload_is_refused_by_its_name() -> None:
    command = [sys.executable, "-m", "bench", "wlak"]
    done = subprocess.run(command, cwd=HOUSE, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "wlak" in done.stderr


def test_a_ratio_is_taken_within_a_round() -> None:
    results = Results()
    for base, ours in ((1.0, 2.0), (10.0, 20.0), (2.0, 4.0)):
        results.add("row", OVERLAY, base)
        results.add("row", OURS, ours)
    assert results.ratio("row", OURS) == summarize([2.0, 2.0, 2.0])


def test_saving_keeps_the_rows_that_were_not_measured_again(tmp_path: Path) -> None:
    first, second = Results(), Results()
    first.add("one", OURS, 1)
    first.add("two", OURS, 1)
    first.add_requests("one", OURS, Counter(READ=3))
    first.save(tmp_path / "figures.json", keeping=True)
    second.add("two", OURS, 2)
    second.save(tmp_path / "figures.json", keeping=True)
    loaded = Results.load(tmp_path / "figures.json")
    assert loaded.figures == {"one": {OURS: [1]}, "two": {OURS: [2]}}
    assert loaded.requests == {"one": {OURS: {"READ": 3}}}
