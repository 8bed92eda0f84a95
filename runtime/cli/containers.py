"""The verbs that look into containers: `top` and `diff`."""

import os
import subprocess

from runtime.cli.options import Parsed, verb
from runtime.cli.run import open_store
from runtime.cli.tables import print_table
from runtime.container import processes
from runtime.container.store import skeleton
from runtime.errors import Refusal, describe, one_line
from runtime.places import Places


@verb(
    "top",
    "CONTAINER [PS-OPTIONS]",
    "List the processes of a container; with options, as this machine's ps(1) shows them.",
    least=1,
    anywhere=False,
)
def top(options: Parsed, places: Places) -> int:
    """`pyunion top`. Raises Refusal."""
    name, *words = options.words
    pids = processes.pids(open_store(places).find(name))
    if words:
        print_table(_of_ps(words, pids))
        return 0
    rows = [row for pid in pids if (row := processes.row(pid)) is not None]
    table = [("UID", "PID", "PPID", "STIME", "TTY", "TIME", "CMD")]
    print_table(table + [tuple(map(str, row)) for row in rows])
    return 0


def _of_ps(words: list[str], pids: list[int]) -> list[tuple[str, ...]]:
    """What `ps` says with these options of the processes `pids`: its rows, the head first. Raises Refusal."""
    result = _ps([*words, "-q", ",".join(map(str, pids))])
    if result.returncode:  # as some options can't be had with it; without it, others show the caller's processes alone
        result = _ps(words)
    lines = result.stdout.splitlines()
    if result.returncode or not lines:
        raise Refusal(f"ps {' '.join(words)}: {result.stderr.strip() or 'it said nothing'}", status=1)
    head = lines[0].split()
    if "PID" not in head:
        raise Refusal("top needs the column PID", status=1)
    rows = [tuple(line.split(None, len(head) - 1)) for line in lines]
    place, wanted = head.index("PID"), {str(pid) for pid in pids}
    return [rows[0], *(row for row in rows[1:] if len(row) == len(head) and row[place] in wanted)]


def _ps(words: list[str]) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(["ps", *words], capture_output=True, text=True, errors="replace", check=False)
    except FileNotFoundError:
        raise Refusal("top with options needs ps(1), which isn't installed (package procps)", status=1) from None


@verb("diff", "CONTAINER", "List what a container added (A), changed (C) and deleted (D).", least=1, most=1)
def diff(options: Parsed, places: Places) -> int:
    """`pyunion diff`: a line for each path that was added (A), changed (C) or deleted (D). Raises Refusal.

    Control characters and bytes that are no text are shown as text: the names are a stranger's.
    """
    from unionfs.core.changes import changes
    from unionfs.core.errors import UnionError

    container = open_store(places).find(options.words[0])
    lower = [os.fsencode(layer) for layer in (*container.config().layers, skeleton(places))]
    try:
        for change in changes(os.fsencode(container.upper), os.fsencode(container.workdir), lower, "auto"):
            print(change.kind, one_line(change.path.decode(errors="backslashreplace")))
    except UnionError as error:
        raise Refusal(str(error), status=1) from None
    except BrokenPipeError:
        raise  # not about the layers: our reader left
    except OSError as error:
        raise Refusal(describe(error), status=1) from None
    return 0
