"""What the stores of the tests leave is removed by our own hand: pytest's recursion ends before some trees do."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.trees import remove_tree


@pytest.fixture(autouse=True)
def _deep_trees_go(tmp_path: Path) -> Iterator[None]:
    yield
    for path in tmp_path.iterdir():
        if path.is_dir() and not path.is_symlink():
            remove_tree(str(path))
