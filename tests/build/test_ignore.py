"""Which paths a .dockerignore leaves out, and what patterns match."""

import pytest

from runtime.build.errors import BuildError
from runtime.build.ignore import read_ignore
from runtime.build.patterns import name_regex, path_regex

CASES = [
    ("a", ["a", "a/b"], ["ab", "b/a"]),
    ("/a/", ["a", "a/b"], ["b"]),
    ("./a/../b", ["b"], ["a"]),
    ("*.log", ["x.log"], ["d/x.log", "x.logs"]),
    ("*/x", ["a/x", "a/x/y"], ["x", "a/b/x"]),
    ("**/x", ["x", "a/x", "a/b/x", "a/x/y"], ["ax", "a/xy"]),
    ("a/**", ["a/b", "a/b/c"], ["a", "ab"]),
    ("a/**/z", ["a/z", "a/b/z", "a/b/c/z"], ["a/bz"]),
    ("**", ["a", "a/b"], []),
    ("?", ["a"], ["ab"]),
    ("[a-c]x", ["ax", "cx"], ["dx"]),
    ("[^a]x", ["bx"], ["ax"]),
    ("a\\*", ["a*"], ["ab"]),
    ("# a\nb", ["b"], ["a", "# a"]),
    ("*\n!keep", ["a"], ["keep", "keep/a"]),
    ("a\n!a/b\na/b/c", ["a", "a/x", "a/b/c"], ["a/b", "a/b/d"]),
    ("*.md\n!README*.md\nREADME-secret.md", ["x.md", "README-secret.md"], ["README.md"]),
    ("  spaced  ", ["spaced"], []),
    ("\n.\n", [], ["a"]),
]


@pytest.mark.parametrize(("text", "out", "kept"), CASES)
def test_the_last_pattern_that_matches_counts(text: str, out: list[str], kept: list[str]) -> None:
    ignore = read_ignore(text.encode())
    assert [path for path in [*out, *kept] if ignore.excludes(path.encode())] == out


def test_what_is_below_a_left_out_directory_need_not_be_read_unless_something_is_taken_back() -> None:
    assert read_ignore(b"a").prunes(b"a/b")
    assert not read_ignore(b"a\n!a/b/c").prunes(b"a/b")


@pytest.mark.parametrize("pattern", [b"[", b"[a", b"[]", b"[a-]", b"[z-a]", b"a\\", b"[-a]"])
def test_a_pattern_that_is_none_is_refused(pattern: bytes) -> None:
    with pytest.raises(BuildError, match="invalid pattern"):
        name_regex(pattern)


def test_only_two_stars_go_across_directories() -> None:
    assert name_regex(b"*").fullmatch(b"a/b") is None
    assert path_regex(b"**").fullmatch(b"a/b")
    assert name_regex(b"[^x]").fullmatch(b"/") is None
