"""`--format` understands what people write for Docker."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.cli.tables import print_rows
from runtime.cli.template import Template
from runtime.errors import UsageError

IMAGE = {
    "Id": "sha256:0123456789abcdef",
    "RepoTags": ["app:1", "app:latest"],
    "Size": 1024,
    "Config": {"Env": ["A=b", "C=d"], "Labels": {"org.example.x": "1", "b": "2"}, "User": "", "Cmd": None,
               "Tty": False},
}


@pytest.mark.parametrize(("template", "text"), [
    ("{{.Id}}", "sha256:0123456789abcdef"),
    ("{{ .Size }} bytes", "1024 bytes"),
    ("{{.Config.Env}}", "[A=b C=d]"),
    ("{{.Config.Labels}}", "map[b:2 org.example.x:1]"),
    ("{{.Config.Cmd}}", "<no value>"),
    ("{{.Config.Tty}}", "false"),
    ("json", '{"a":1}'),
    ("{{json .Config.Env}}", '["A=b","C=d"]'),
    ("{{.Config.Env | json}}", '["A=b","C=d"]'),
    ('{{join .RepoTags ", "}}', "app:1, app:latest"),
    ('{{index .Config.Labels "org.example.x"}}', "1"),
    ('{{index .Config.Labels "none"}}', ""),
    ("{{index .RepoTags 1}}", "app:latest"),
    ("{{len .RepoTags}}", "2"),
    ("{{range .RepoTags}}{{.}};{{end}}", "app:1;app:latest;"),
    ("{{range .Config.Cmd}}{{.}}{{else}}nothing{{end}}", "nothing"),
    ("{{range $i, $tag := .RepoTags}}{{$i}}={{$tag}} {{end}}", "0=app:1 1=app:latest "),
    ("{{range $key, $value := .Config.Labels}}{{$key}}={{$value}} {{end}}", "b=2 org.example.x=1 "),
    ("{{range .RepoTags}}{{println .}}{{end}}", "app:1\napp:latest\n"),
    ("{{range .RepoTags}}{{$.Size}} {{end}}", "1024 1024 "),
    ("{{if .Config.User}}u{{else}}root{{end}}", "root"),
    ("{{if eq .Size 1}}a{{else if gt .Size 1000}}b{{else}}c{{end}}", "b"),
    ("{{if and .Config.Cmd .Config.Cmd.Nothing}}a{{end}}", ""),
    ('{{if or .Config.User "x"}}a{{end}}', "a"),
    ("{{if not (eq .Size 1)}}a{{end}}", "a"),
    ("{{with .Config}}{{index .Env 0}}{{end}}", "A=b"),
    ("{{with .Config.User}}u{{else}}none{{end}}", "none"),
    ("{{$n := len .RepoTags}}{{$n}}", "2"),
    ("{{upper (index .RepoTags 0) | lower | printf \"%-8s|%q\" \"x\"}}", 'x       |"app:1"'),
    ("{{(index .RepoTags 0)}}", "app:1"),
    ("{{slice .Id 7 19}} {{truncate .Id 6}}", "0123456789ab sha256"),
    ('{{index (split .Id ":") 0}}', "sha256"),
    ("a {{- .Size -}} b{{/* nothing */}}", "a1024b"),
    (r"a\tb\n{{.Size}}", "a\tb\n1024"),
    ("{{`a}}b`}}", "a}}b"),
])  # fmt: skip
def test_a_template_prints_what_docker_would(template: str, text: str) -> None:
    assert Template(template).render({"a": 1} if template == "json" else IMAGE) == text


@pytest.mark.parametrize(("template", "complaint"), [
    ("{{.Nothing}}", "{{.Nothing}}: there is no field Nothing"),
    ("{{.Id.Deeper}}", "{{.Id.Deeper}}: there is no field Deeper"),
    ("{{.Id", "a {{ isn't closed"),
    ("{{}}", "{{}}: a value is missing"),
    ("{{range .RepoTags}}", "an {{end}} is missing"),
    ("{{end}}", "{{end}}: end of nothing"),
    ("{{.Id | nonsense}}", "unknown function nonsense"),
    ("{{.Id .Size}}", "unexpected .Size"),
    ("{{$x}}", "unknown variable $x"),
    ("{{(.Id}}", "a ) is missing"),
    ("{{index .RepoTags 7}}", "index: there is no 7"),
    ("{{len 1 2}}", "len: "),
    ("{{.Id & 1}}", "unexpected &"),
    ("{{range .Size}}{{end}}", "range over 1024"),
])  # fmt: skip
def test_a_mistake_is_named(template: str, complaint: str) -> None:
    with pytest.raises(UsageError) as caught:
        Template(template).render(IMAGE)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


WORDS = [
    "{{", "}}", "{{-", "-}}", "range", "if", "with", "else", "end", "$", "$x", ":=", "|", "(", ")", ",", " ", ".",
    ".Id", ".Config", ".RepoTags", ".Size", '"text"', "`", "1", "-2", "1.5", "nil", "true", "json", "index", "printf",
    '"%5d%s%q"', "len", "join", "slice", "split", "truncate", "and", "or", "not", "eq", "lt", "upper", "/*", "*/",
]  # fmt: skip


@given(st.lists(st.sampled_from(WORDS), max_size=14).map("".join) | st.lists(
    st.lists(st.sampled_from(WORDS[3:]), max_size=6).map(lambda words: "{{" + " ".join(words) + "}}"), max_size=5
).map("".join))  # fmt: skip
@settings(max_examples=600, deadline=None)
def test_whatever_is_written_is_a_template_or_a_mistake(text: str) -> None:
    with suppress(UsageError):
        Template(text).render(IMAGE)


def test_nesting_has_an_end() -> None:
    with pytest.raises(UsageError, match="nested too deeply"):
        Template("{{" + "(" * 9000 + "}}")


ROWS = [{"ID": "1", "Names": "first", "CreatedAt": "now"}, {"ID": "22", "Names": "second", "CreatedAt": "later"}]
COLUMNS = [("CONTAINER ID", "ID"), ("NAMES", "Names")]


@pytest.mark.parametrize(("form", "text"), [
    ("", "CONTAINER ID   NAMES\n1              first\n22             second\n"),
    ("table", "CONTAINER ID   NAMES\n1              first\n22             second\n"),
    (r"table {{.Names}}\t{{.CreatedAt}}", "NAMES    CREATED AT\nfirst    now\nsecond   later\n"),
    ("{{.ID}}: {{.Names}}", "1: first\n22: second\n"),
])  # fmt: skip
def test_rows_are_a_table_or_a_line_each(form: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    print_rows(ROWS, COLUMNS, form, ["CreatedAt"])
    assert capsys.readouterr().out == text


def test_rows_are_json_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows(ROWS, COLUMNS, "json")
    assert capsys.readouterr().out.splitlines()[0] == '{"ID":"1","Names":"first","CreatedAt":"now"}'


def test_a_mistake_in_a_template_is_found_without_rows() -> None:
    with pytest.raises(UsageError, match="no field Nmes"):
        print_rows([], COLUMNS, "{{.Nmes}}")
