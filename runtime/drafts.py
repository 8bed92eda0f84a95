"""Names for what is not yet whole: it is made beside its place, and renamed into it."""

import os


def beside(path: str) -> str:
    """A name beside `path` that no other writer has. A pid isn't one: each pid namespace has its own process 1."""
    return f"{path}.{os.urandom(8).hex()}"
