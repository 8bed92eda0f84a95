"""The command line of the mount program."""
