"""The `pyunion` command's first module: finds the rooms, then hands over to tools.main.

From a checkout `runtime` and `tools` lie beside this file. The wheel keeps them in `pyunion_rooms/`,
off everyone else's sys.path because their names are so common; only this process puts that folder on its own.
"""

import gc
import os
import sys


def main() -> None:
    """Run the pyunion command with the process's arguments."""
    rooms = os.path.join(os.path.dirname(os.path.abspath(__file__)), "pyunion_rooms")
    if os.path.isdir(rooms):
        sys.path.insert(0, rooms)
    gc.disable()  # nothing that is imported becomes garbage, typing included; tools.main enables it
    import tools.main
    from unionfs.cli.ending import end

    end(tools.main.main())


if __name__ == "__main__":
    main()
