"""What a Dockerfile's text is taken for: lines, comments, directives, flags, arrays, here-documents."""

import pytest

from runtime.build.dockerfile import Flag, Heredoc, Instruction, parse
from runtime.build.errors import BuildError


def read(text: str) -> list[Instruction]:
    return parse(text.encode(), "Dockerfile")


def only(text: str) -> Instruction:
    (instruction,) = read(text)
    return instruction


def test_instructions_are_found_with_their_lines() -> None:
    found = read("# a comment\n\nfrom box\n  RUN true  \nCMD [\"a\"]")
    assert [(one.line, one.keyword, one.text) for one in found] == [
        (3, "FROM", "box"), (4, "RUN", "true"), (5, "CMD", '["a"]'),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "joined"),
    [
        ("RUN a \\\n b", "a  b"),
        ("RUN a \\  \n b", "a  b"),
        ("RUN a \\\n# comment\n  # another\n b", "a  b"),
        ("RUN a \\\n\n b", "a  b"),
        ("RUN a\\\nb", "ab"),
        ("RUN a \\ b", "a \\ b"),
        ("RUN a # no comment", "a # no comment"),
        ("RUN a \\", "a"),
        ("RUN a \\\r\n b\r\n", "a  b"),
        ("# escape=`\nRUN a `\n b\\\n", "a  b\\"),
    ],
)
def test_lines_go_on_behind_an_escape(text: str, joined: str) -> None:
    assert only(text).text == joined


def test_directives_count_only_at_the_beginning() -> None:
    assert only("# syntax=docker/dockerfile:1\n# escape=`\nRUN a").escape == "`"
    assert only("# just so\n# escape=`\nRUN a").escape == "\\"
    assert only("\n# escape=`\nRUN a").escape == "\\"
    assert only("\ufeff# escape=`\nRUN a").escape == "`"


def test_flags_stand_before_what_they_are_about() -> None:
    found = only("COPY --from=box --chown=a:b --link a --b /c")
    assert found.flags == [Flag("from", "box"), Flag("chown", "a:b"), Flag("link", "")]
    assert found.text == "a --b /c"
    assert only("RUN --mount=type=cache,target=/c -- --run").text == "--run"


@pytest.mark.parametrize(
    ("text", "listed"),
    [
        ('CMD ["a", "b c"]', ["a", "b c"]),
        ("CMD []", []),
        ("CMD ['a']", None),
        ('CMD ["a", 1]', None),
        ("CMD [ a ]", None),
        ("CMD a b", None),
    ],
)
def test_only_an_array_of_strings_in_json_is_one(text: str, listed: list[str] | None) -> None:
    assert only(text).json() == listed


def test_here_documents_follow_their_instruction() -> None:
    first, second = read("COPY <<one <<-\"two\" /x/\n$a\n\none\n\tb\n\ttwo\nRUN c")
    assert first.heredocs == [Heredoc("<<one", "one", "$a\n\n", True), Heredoc('<<-"two"', "two", "b\n", False)]
    assert (second.line, second.text) == (7, "c")
    assert only("RUN cat <<<word").heredocs == []
    assert only("CMD <<end").heredocs == []


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no instruction"),
        ("# only a comment", "no instruction"),
        ("FROM box\nRUM true", "Dockerfile:2: unknown instruction: RUM"),
        ("RUN", "Dockerfile:1: RUN requires at least one argument"),
        ("COPY --form=a b c", "COPY: unknown flag: --form"),
        ("LABEL --a=b c=d", "LABEL: unknown flag: --a"),
        ("RUN <<end\na\n", "Dockerfile:1: the here-document has no end: a line end is missing"),
        ("# escape=x\nRUN a", "Dockerfile:1: escape=x"),
        ("# escape=`\n# escape=`\nRUN a", "only one escape directive"),
    ],
)
def test_mistakes_are_told_with_their_line(text: str, complaint: str) -> None:
    with pytest.raises(BuildError) as caught:
        read(text)
    assert complaint in str(caught.value)
