"""The mount program `pyunionfs`: its beginning and its end."""

import gc


def program() -> None:
    """The command `pyunionfs`."""
    gc.disable()  # nothing that is imported becomes garbage: 1 ms of 30
    from unionfs.cli import verbs
    from unionfs.cli.ending import end

    gc.freeze()
    gc.enable()
    end(verbs.main())
