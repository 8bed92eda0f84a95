"""runtime.cli.options: the grammar of Docker's commands."""

import pytest

from runtime.cli.options import Group, Option, Parsed, parse, usage, verb
from runtime.errors import UsageError
from runtime.places import Places

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


def test_older_names_of_options_are_known_where_the_newer_ones_are() -> None:
    table = (Option("dns-option", "an option for the resolver", "", "OPTION"),)
    assert parse(["--dns-opt", "ndots:1", "--dns-option=rotate"], table).many("dns-option") == ["ndots:1", "rotate"]
    with pytest.raises(UsageError, match=r"unknown flag: --net$"):
        parse(["--net=host"], table)


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


@verb("dock moor", "SHIP PIER\nPIER SHIP", "Tie a ship to a pier.", TABLE, least=2, most=2)
def moor(options: Parsed, places: Places) -> int:
    print(options.words, options.one("name"), places.root)
    return 7


dock = Group("dock", "What ships do there.", (moor,))
PLACES = Places("/root", "/run")


def test_a_verb_gets_its_options_and_words_and_gives_its_status(capsys: pytest.CaptureFixture[str]) -> None:
    assert moor(["a", "--name=b", "c"], PLACES) == 7
    assert dock(["moor", "a", "--name=b", "c"], PLACES) == 7
    assert capsys.readouterr().out == "['a', 'c'] b /root\n" * 2


@pytest.mark.parametrize("words", [[], ["a"], ["a", "b", "c"]])
def test_another_number_of_words_than_a_verb_takes_is_refused(words: list[str]) -> None:
    with pytest.raises(UsageError, match=r"^wrong number of arguments: dock moor takes SHIP PIER or PIER SHIP$"):
        moor(words, PLACES)


def test_help_is_all_that_is_done_when_it_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert moor(["a", "--help"], PLACES) == 0
    ways = "Usage: pyunion dock moor [OPTIONS] SHIP PIER\n       pyunion dock moor [OPTIONS] PIER SHIP\n"
    assert capsys.readouterr().out.startswith(f"{ways}\nTie a ship to a pier.\n\nOptions:\n")


@pytest.mark.parametrize("words", [[], ["--help"]])
def test_a_verb_of_verbs_lists_them(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert dock(words, PLACES) == 0
    assert "  moor        Tie a ship to a pier.\n" in capsys.readouterr().out


def test_a_verb_of_verbs_has_no_others() -> None:
    with pytest.raises(UsageError, match=r"^unknown command: dock sink$"):
        dock(["sink"], PLACES)


def test_usage_names_every_option() -> None:
    text = usage("run", "about", TABLE)
    assert all(f"--{option.name}" in text for option in TABLE)
    assert "-e, --env K=V" in text
