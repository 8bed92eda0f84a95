"""`python -m unionfs` is the mount program, pyunionfs."""

import sys

from unionfs.cli.mount import main

if __name__ == "__main__":
    sys.exit(main())
