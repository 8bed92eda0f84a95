"""The one error that is not an OSError: a union that can't be opened as asked."""


class UnionError(Exception):
    """A line for a person: what is wrong, with which layer or option, and the way out."""
