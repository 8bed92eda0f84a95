"""runtime.cli.options: the grammar of Docker's commands."""

import pytest

from runtime.cli.options import Option, parse, usage
from runtime.errors import UsageError

TABLE = (
    Option("env", "set a variable", "e", "K=V"),
    Option("interactive", "pass input on", "i"),
    Option("tty", "a terminal", "t"),
    Option("name", "its name", "", "NAME"),
)


@pytest.mark.parametrize(
    ("words", "env"),
    [
        (["-e", "A=b"], ["A=b"]),
        (["-eA=b"], ["A=b"]),
        (["-e=A"], ["A"]),
        (["--env", "A=b"], ["A=b"]),
        (["--env=A=b"], ["A=b"]),
        (["--env="], [""]),
        (["-e", "-x"], ["-x"]),
        (["-ite", "A", "-e", "B"], ["A", "B"]),
    ],
)
def test_values_follow_or_stick(words: list[str], env: list[str]) -> None:
    assert parse(words, TABLE).many("env") == env


@pytest.mark.parametrize(
    ("words", "on"),
    [(["-it"], True), (["-ti"], True), (["--tty"], True), (["--tty=false"], False), (["-t=0"], False), ([], False)],
)
def test_switches(words: list[str], on: bool) -> None:
    assert parse(words, TABLE).on("tty") is on


def test_options_end_at_the_first_word_that_is_none() -> None:
    assert parse(["-i", "ls", "-t", "--name"], TABLE).words == ["ls", "-t", "--name"]
    assert parse(["--", "-t"], TABLE).words == ["-t"]
    assert parse(["-", "-t"], TABLE).words == ["-", "-t"]


def test_the_last_value_counts() -> None:
    assert parse(["--name=a", "--name=b"], TABLE).one("name") == "b"


@pytest.mark.parametrize("word", ["--moon", "-m", "-im", "--name", "-e", "--tty=perhaps", "-t=x", "---"])
def test_what_is_not_in_the_table_is_refused(word: str) -> None:
    with pytest.raises(UsageError):
        parse([word], TABLE)


def test_usage_names_every_option() -> None:
    text = usage("run", "about", TABLE)
    assert all(f"--{option.name}" in text for option in TABLE)
    assert "-e, --env K=V" in text
