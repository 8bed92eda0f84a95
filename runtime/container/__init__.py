"""A container: its record on disk, the processes that keep it, and what its first process sets up."""
