"""`python -m unionfs` is the mount program, pyunionfs."""

from unionfs.cli.mount import program

if __name__ == "__main__":
    program()
