"""How quotes, escapes and variables of a Dockerfile are read."""

import pytest

from runtime.build.errors import BuildError
from runtime.build.words import expand, expand_document, split

VARIABLES = {"X": "value", "EMPTY": "", "PATHS": "/a/b/c.tar.gz", "N": "1", "Q": "it's \"$X\""}

EXPANSIONS = [
    ("plain", "plain"),
    ("$X", "value"),
    ("${X}", "value"),
    ("$X$N", "value1"),
    ("$XY", ""),
    ("${X}Y", "valueY"),
    ("$NONE", ""),
    ("a$", "a$"),
    ("$.", "$."),
    (r"\$X", "$X"),
    (r"\\$X", r"\value"),
    (r"a\ b", "a b"),
    ("'$X'", "$X"),
    ("'a'\"b\"c", "abc"),
    ('"$X and \'$X\'"', "value and 'value'"),
    (r'"\"\$X\n"', r'"$X\n'),
    ("$Q", "it's \"$X\""),
    ("${NONE:-other}", "other"),
    ("${EMPTY:-other}", "other"),
    ("${EMPTY-other}", ""),
    ("${X:-other}", "value"),
    ("${NONE:-$X}", "value"),
    ("${NONE:-${ALSO:-deep}}", "deep"),
    ('${NONE:-"a } b"}', "a } b"),
    ("${X:+other}", "other"),
    ("${EMPTY:+other}", ""),
    ("${EMPTY+other}", "other"),
    ("${NONE+other}", ""),
    ("${PATHS#*/}", "a/b/c.tar.gz"),
    ("${PATHS##*/}", "c.tar.gz"),
    ("${PATHS%.*}", "/a/b/c.tar"),
    ("${PATHS%%.*}", "/a/b/c"),
    ("${PATHS%nothing}", "/a/b/c.tar.gz"),
    ("${PATHS/\\//:}", ":a/b/c.tar.gz"),
    ("${PATHS//\\//:}", ":a:b:c.tar.gz"),
    ("${PATHS//[/:}", "/a/b/c.tar.gz"),
    ("${X#v?}", "lue"),
]


@pytest.mark.parametrize(("text", "meaning"), EXPANSIONS)
def test_a_text_with_its_variables(text: str, meaning: str) -> None:
    assert expand(text, VARIABLES, "\\") == meaning


@pytest.mark.parametrize("text", ["'open", '"open', "${X", "${", "${}", "${X:-a", "${X!}", "${X#a", "${X/a"])
def test_what_is_not_closed_or_not_known_is_refused(text: str) -> None:
    with pytest.raises(BuildError):
        expand(text, VARIABLES, "\\")


def test_a_variable_can_demand_to_be_set() -> None:
    with pytest.raises(BuildError, match="NONE: tell me"):
        expand("${NONE:?tell me}", VARIABLES, "\\")
    assert expand("${X:?tell me}", VARIABLES, "\\") == "value"


def test_the_escape_can_be_a_backtick() -> None:
    assert expand(r"C:\dir\`$X", VARIABLES, "`") == r"C:\dir\$X"


SPLITS = [
    ("a b\tc", ["a", "b", "c"]),
    ("  a  ", ["a"]),
    ('a="b c" d', ['a="b c"', "d"]),
    ("'a b'c d", ["'a b'c", "d"]),
    (r"a\ b c", [r"a\ b", "c"]),
    (r'"a \" b" c', [r'"a \" b"', "c"]),
    (r"'a\' b", [r"'a\'", "b"]),
    ("", []),
]


@pytest.mark.parametrize(("text", "words"), SPLITS)
def test_words_end_at_spaces_that_nothing_protects(text: str, words: list[str]) -> None:
    assert split(text, "\\") == words


def test_quotes_of_a_document_are_text() -> None:
    assert expand_document('say "$X" \\"\'${X}\' \\$X \\\\\n', VARIABLES, "\\") == 'say "value" \\"\'value\' $X \\\n'
