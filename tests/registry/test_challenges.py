"""WWW-Authenticate and scopes, login files, and which token servers belong to a registry: without a network."""

import base64
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.image.registry.authority import _related
from runtime.image.registry.challenge import Scope, parse_challenges, parse_scopes, repository_scope, union
from runtime.image.registry.credentials import Credential, login_files
from runtime.image.registry.errors import RegistryError
from runtime.image.registry.registries import check_host


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('Basic realm="a b"', [("basic", {"realm": "a b"})]),
        ("Basic realm=plain", [("basic", {"realm": "plain"})]),
        (
            'Bearer realm="https://a.example/t?x=1,2",service="s",scope="repository:a:pull"',
            [("bearer", {"realm": "https://a.example/t?x=1,2", "service": "s", "scope": "repository:a:pull"})],
        ),
        ('BEARER Realm="a", SCOPE="x:y:z",scope="x:w:z"', [("bearer", {"realm": "a", "scope": "x:y:z x:w:z"})]),
        ('Basic realm="a", Bearer realm="b"', [("basic", {"realm": "a"}), ("bearer", {"realm": "b"})]),
        (r'Basic realm="a \"quoted\" one"', [("basic", {"realm": 'a "quoted" one'})]),
        ('Bearer realm="a",realm="b"', [("bearer", {"realm": "a"})]),
        ("Negotiate", [("negotiate", {})]),
        ("", []),
        ('realm="nobody\'s"', []),
        (", ,", []),
    ],
)
def test_challenges(header: str, expected: list[tuple[str, dict[str, str]]]) -> None:
    assert parse_challenges([header]) == expected


@given(st.lists(st.text(alphabet='Bearlm=",\\ \t:/x', max_size=60), max_size=3))
def test_no_header_breaks_the_parser(headers: list[str]) -> None:
    parse_challenges(headers)


def test_scopes() -> None:
    assert parse_scopes("repository:host:5000/a:pull,push registry:catalog:* bad") == [
        Scope("repository", "host:5000/a", frozenset({"pull", "push"})),
        Scope("registry", "catalog", frozenset("*")),
    ]
    b = repository_scope("b", "pull")
    both = union([repository_scope("a", "pull")], [repository_scope("a", "push", "pull"), b])
    assert [str(scope) for scope in both] == ["repository:a:pull,push", "repository:b:pull"]


@pytest.mark.parametrize(
    ("realm", "server", "related"),
    [
        ("auth.docker.io", "registry-1.docker.io", True),
        ("gitlab.com", "registry.gitlab.com", True),
        ("quay.io", "quay.io", True),
        ("auth.example.com", "example.com", True),
        ("example.com:8443", "example.com", True),
        ("evil.com", "example.com", False),
        ("notexample.com", "example.com", False),
        ("example.com.evil.com", "example.com", False),
        ("sso.redhat.com", "registry.redhat.io", False),
        ("127.0.0.1:2", "127.0.0.1:1", False),
        ("1.0.0.1", "2.0.0.1", False),
        ("a.com", "b.com", False),
    ],
)
def test_who_gets_a_password(realm: str, server: str, related: bool) -> None:
    assert _related(realm, server) is related


def entry(user: str, password: str = "secret") -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def found(folder: Path, content: object, host: str, path: str = "") -> str | None:
    """The user that a login file has for a repository."""
    file = folder / "auth.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    credential = login_files(str(file), {}).find(host, path)
    return credential.user if credential else None


def test_the_most_specific_login_counts(tmp_path: Path) -> None:
    auths = {"quay.io": entry("host"), "quay.io/org": entry("org"), "quay.io/org/repo": entry("repo")}
    assert found(tmp_path, {"auths": auths}, "quay.io", "org/repo") == "repo"
    assert found(tmp_path, {"auths": auths}, "quay.io", "org/other") == "org"
    assert found(tmp_path, {"auths": auths}, "quay.io", "organ/repo") == "host"
    assert found(tmp_path, {"auths": auths}, "quay.io:443", "org/repo") is None


@pytest.mark.parametrize("key", ["https://index.docker.io/v1/", "docker.io", "index.docker.io", "registry-1.docker.io"])
def test_docker_hub_has_many_names(tmp_path: Path, key: str) -> None:
    assert found(tmp_path, {"auths": {key: entry("hub")}}, "docker.io", "library/x") == "hub"


@pytest.mark.parametrize("content", ["[]", "{", '{"auths": []}', '{"auths": {"a.example": {"auth": "%%%"}}}'])
def test_damaged_login_files_are_said(tmp_path: Path, content: str) -> None:
    with pytest.raises(RegistryError, match="login file"):
        found(tmp_path, content, "a.example")


@pytest.mark.parametrize("content", ["{}", "", '{"auths": {"a.example": {}}}', '{"auths": {"a.example": null}}'])
def test_login_files_without_a_login(tmp_path: Path, content: str) -> None:
    assert found(tmp_path, content, "a.example") is None


def test_a_helper_whose_name_is_a_path_is_not_run(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="no name of a program"):
        found(tmp_path, {"credsStore": "../../evil"}, "a.example")


def test_a_login_replaces_the_one_before_and_leaves_others(tmp_path: Path) -> None:
    file = tmp_path / "new/auth.json"
    logins = login_files(str(file), {})
    logins.add("a.example", Credential("one", "x"))
    logins.add("b.example", Credential("two", "y"))
    logins.add("a.example", Credential("three", "z:with colons", realm="https://t.example/"))
    assert logins.find("a.example") == Credential("three", "z:with colons", realm="https://t.example/")
    assert logins.find("b.example") == Credential("two", "y")
    assert logins.hosts() == ["a.example", "b.example"]
    assert logins.remove("a.example")
    assert not logins.remove("a.example")
    assert logins.hosts() == ["b.example"]
    assert [path.name for path in file.parent.iterdir()] == ["auth.json"]


def test_fields_of_others_stay(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"HttpHeaders": {"X": "y"}, "auths": {"b.example": {"email": "e", **entry("b")}}}))
    login_files(str(file), {}).add("a.example", Credential("a", "x"))
    content = json.loads(file.read_text())
    assert content["HttpHeaders"] == {"X": "y"}
    assert content["auths"]["b.example"]["email"] == "e"


@pytest.mark.parametrize(
    ("text", "host"),
    [("https://index.docker.io/v1/", "docker.io"), ("docker.io", "docker.io"), ("https://quay.io/", "quay.io")],
)
def test_names_of_registries(text: str, host: str) -> None:
    assert check_host(text) == host
