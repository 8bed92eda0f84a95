"""runtime.container.progress: lines through a pipe."""

import os

import pytest

from runtime.container.progress import Failure, Progress, is_heard, send_failure, send_started


@pytest.mark.parametrize("step", [1, 7, 4096])
def test_the_first_failure_counts(step: int) -> None:
    reader, writer = os.pipe()
    send_started(writer)
    send_failure(writer, 127, "not\nfound \x1b[0m")
    send_failure(writer, 1, "later")
    os.close(writer)
    progress = Progress()
    while data := os.read(reader, step):
        progress.feed(data)
    os.close(reader)
    assert progress.started
    assert progress.failure == Failure(127, "not\\nfound \\x1b[0m")


def test_a_long_message_is_cut_and_never_blocks() -> None:
    reader, writer = os.pipe()
    send_failure(writer, 125, "x" * 100_000)
    assert len(os.read(reader, 1 << 17)) <= 4096
    os.close(reader)
    assert not is_heard(writer)
    os.close(writer)
