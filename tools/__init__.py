"""The `pyunion` command, and the tools on layers."""
