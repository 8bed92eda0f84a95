"""Logins, passwords and tokens: docker-registry with TLS and a password, and token servers on loopback."""

import base64
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.registry.client import Client
from tests.registry.images import tool
from tests.registry.misbehaving import Handler, Misbehaving, running
from tests.registry.servers import PASSWORD, USER, Server
from tests.support import needs

pytestmark = needs.root

BASIC = f"Basic {base64.b64encode(f'{USER}:{PASSWORD}'.encode()).decode()}"


@pytest.fixture
def server() -> Iterator[Misbehaving]:
    with running() as misbehaving:
        yield misbehaving


@pytest.fixture
def other() -> Iterator[Misbehaving]:
    """Another host."""
    with running() as misbehaving:
        yield misbehaving


# docker-registry with TLS and a password


def test_an_unknown_certificate_is_refused_and_says_what_to_do(client: Client, secure: Server) -> None:
    said = client.fails("pull", f"{secure.host}/t/many:1")
    assert f"/etc/containers/certs.d/{secure.host}/ca.crt" in said
    assert "--tls-verify=false" in said


def test_without_a_login_the_way_to_it_is_said(client: Client, secure: Server) -> None:
    said = client.fails("pull", "--cert-dir", secure.certificates, f"{secure.host}/t/many:1")
    assert f"run 'pyunion login {secure.host}'" in said


def test_login_pull_push_logout(client: Client, secure: Server, tmp_path: Path) -> None:
    trust = ("--cert-dir", str(secure.certificates))
    done = client("login", *trust, "-u", USER, "--password-stdin", secure.host, stdin=f"{PASSWORD}\n")
    assert done.returncode == 0, done.stderr
    kept = client.home / ".config/pyunion/auth.json"
    assert kept.stat().st_mode & 0o777 == 0o600
    client.succeeds("pull", *trust, f"{secure.host}/t/many:1")
    client.succeeds("push", *trust, f"{secure.host}/t/many:1", f"{secure.host}/pushed/many:1")
    login = f"{USER}:{PASSWORD}"
    tool("skopeo", "inspect", "--cert-dir", secure.certificates, "--creds", login, f"docker://{secure.host}/pushed/many:1")
    tool("skopeo", "inspect", "--cert-dir", secure.certificates, "--authfile", kept, f"docker://{secure.host}/t/many:1")
    client.succeeds("logout", secure.host)
    assert "login is needed" in client.fails("push", *trust, f"{secure.host}/t/many:1", f"{secure.host}/pushed/many:2")
    assert f"not logged in to {secure.host}" in client.fails("logout", secure.host)


def test_a_wrong_password_is_not_kept(client: Client, secure: Server) -> None:
    arguments = ("--cert-dir", secure.certificates, "-u", USER, "-p", "wrong", secure.host)
    assert secure.host in client.fails("login", *arguments)
    assert not (client.home / ".config").exists()


def test_tls_verify_false_trusts_anybody(client: Client, secure: Server) -> None:
    client.succeeds("pull", "--tls-verify=false", f"--creds={USER}:{PASSWORD}", f"{secure.host}/t/many:1")


def test_insecure_in_registries_conf_trusts_anybody(client: Client, secure: Server) -> None:
    client.configuration.write_text(f'[[registry]]\nlocation = "{secure.host}"\ninsecure = true\n')
    client.succeeds("pull", f"--creds={USER}:{PASSWORD}", f"{secure.host}/t/many:1")
    assert "certs.d" in client.fails("pull", "--tls-verify", f"{secure.host}/t/many:1")


@pytest.mark.parametrize("path", [".docker/config.json", ".config/containers/auth.json", "auth.json"])
def test_logins_of_docker_and_podman_are_used(client: Client, secure: Server, path: str) -> None:
    file = client.home / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"auths": {f"https://{secure.host}/v1/": {"auth": BASIC.split()[1]}}}))
    more = ["--authfile", str(file)] if path == "auth.json" else []
    client.succeeds("pull", "--cert-dir", secure.certificates, *more, f"{secure.host}/t/many:1")


def test_podman_s_own_login_is_used(client: Client, secure: Server, podman: list[str]) -> None:
    authfile = client.folder / "containers/auth.json"
    login = ["--cert-dir", str(secure.certificates), "-u", USER, "-p", PASSWORD, secure.host]
    tool(*podman, "login", "--authfile", authfile, *login)
    client.succeeds("pull", "--cert-dir", secure.certificates, f"{secure.host}/t/many:1")


@pytest.mark.parametrize("key", ["credHelpers", "credsStore"])
def test_credential_helpers_are_used_for_login_pull_and_logout(client: Client, secure: Server, key: str) -> None:
    environ = {"PATH": f"{_helper(client)}:{needs.search_path()}"}
    file = client.home / ".config/pyunion/auth.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({key: {secure.host: "drawer"} if key == "credHelpers" else "drawer"}))
    trust = ("--cert-dir", secure.certificates)
    done = client("login", *trust, "-u", USER, "-p", PASSWORD, secure.host, environ=environ)
    assert done.returncode == 0, done.stderr
    assert "auth" not in json.loads(file.read_text())["auths"][secure.host]
    assert client("pull", *trust, f"{secure.host}/t/many:1", environ=environ).returncode == 0
    assert client("logout", secure.host, environ=environ).returncode == 0
    assert "login is needed" in client("pull", *trust, f"{secure.host}/t/many:1", environ=environ).stderr


def test_a_helper_that_is_not_installed_is_named(client: Client, secure: Server) -> None:
    (client.home / ".docker").mkdir()
    (client.home / ".docker/config.json").write_text(json.dumps({"credsStore": "nowhere"}))
    assert "docker-credential-nowhere is not installed" in client.fails("pull", f"{secure.host}/t/many:1")


# tokens


def token_server(server: Misbehaving, realm: str, accepts: Callable[[Handler], bool] | None = None) -> list[str]:
    """Have `server` want tokens of `realm`, and give them out at /token; the tokens that hold."""
    tokens: list[str] = []

    def ask(handler: Handler) -> None:
        if handler.headers.get("Authorization", "")[7:] in tokens:
            handler.behave()
            return
        handler.body()
        challenge = f'Bearer realm="{realm}",service="here",scope="repository:t/image:pull"'
        handler.error(401, "UNAUTHORIZED", WWW_Authenticate=challenge)

    def give(handler: Handler) -> None:
        if accepts and not accepts(handler):
            handler.error(401, "UNAUTHORIZED")
            return
        tokens.append(f"token{len(tokens)}")
        key = "access_token" if handler.command == "POST" else "token"
        handler.answer(200, json.dumps({key: tokens[-1], "expires_in": 300}).encode())

    for method in ("GET", "HEAD", "POST", "PUT", "PATCH"):
        server.when(method, "^/v2/", ask)
    for method in ("GET", "POST"):
        server.when(method, "^/token", give)
    return tokens


def test_one_token_is_fetched_and_used_for_all(client: Client, server: Misbehaving) -> None:
    token_server(server, f"http://{server.host}/token")
    client.succeeds("pull", f"{server.host}/t/image:1")
    (asked,) = server.asked("^/token")
    query = parse_qs(urlsplit(asked.path).query)
    assert query == {"service": ["here"], "scope": ["repository:t/image:pull"]}
    assert "Authorization" not in asked.headers


def test_a_password_goes_to_the_token_server_and_not_to_the_registry(client: Client, server: Misbehaving) -> None:
    token_server(server, f"http://{server.host}/token", lambda handler: handler.headers.get("Authorization") == BASIC)
    client.succeeds("pull", f"--creds={USER}:{PASSWORD}", f"{server.host}/t/image:1")
    assert all(request.headers.get("Authorization") != BASIC for request in server.asked("^/v2/"))


def test_a_token_that_expired_is_replaced(client: Client, server: Misbehaving) -> None:
    tokens = token_server(server, f"http://{server.host}/token")

    def expire(handler: Handler) -> None:
        tokens.clear()
        tokens.append("another")
        handler.error(401, "UNAUTHORIZED", WWW_Authenticate=f'Bearer realm="http://{server.host}/token",service="here"')

    server.when("GET", server.layers[0], expire, times=1)
    server.rules.insert(0, server.rules.pop())
    client.succeeds("pull", f"{server.host}/t/image:1")
    assert len(server.asked("^/token")) >= 2


def test_a_token_that_never_holds_is_no_endless_circle(client: Client, server: Misbehaving) -> None:
    token_server(server, f"http://{server.host}/token")
    server.when("GET", "^/token", lambda handler: handler.answer(200, b'{"token": "no"}'))
    server.rules.insert(0, server.rules.pop())
    assert "login is needed" in client.fails("pull", f"{server.host}/t/image:1")
    assert len(server.requests) < 10


def test_an_identity_token_is_exchanged_by_post(client: Client, server: Misbehaving) -> None:
    forms = []

    def accepts(handler: Handler) -> bool:
        forms.append(parse_qs(handler.body().decode()))
        return True

    token_server(server, f"http://{server.host}/token", accepts)
    (client.home / ".docker").mkdir()
    entry = {"auth": base64.b64encode(b"00000000-0000:").decode(), "identitytoken": "refresh me"}
    (client.home / ".docker/config.json").write_text(json.dumps({"auths": {server.host: entry}}))
    client.succeeds("pull", f"{server.host}/t/image:1")
    (form,) = forms
    assert form["grant_type"] == ["refresh_token"]
    assert form["refresh_token"] == ["refresh me"]
    assert server.asked("^/token") == []


def test_push_asks_for_a_token_that_may_push(client: Client, server: Misbehaving) -> None:
    client.succeeds("pull", f"{server.host}/t/image:1")
    token_server(server, f"http://{server.host}/token")
    client.succeeds("push", f"{server.host}/t/image:1")
    scopes = [parse_qs(urlsplit(request.path).query)["scope"] for request in server.asked("^/token")]
    assert scopes == [["repository:t/image:pull,push"]]


@pytest.mark.parametrize("answer", [b"{}", b"[]", b"<html>", b'{"token": 5}', b'{"token": "a\\r\\nX-Evil: 1"}'])
def test_a_token_server_that_answers_nonsense(client: Client, server: Misbehaving, answer: bytes) -> None:
    token_server(server, f"http://{server.host}/token")
    server.when("GET", "^/token", lambda handler: handler.answer(200, answer))
    server.rules.insert(0, server.rules.pop())
    assert "it sent no token" in client.fails("pull", f"{server.host}/t/image:1")


# row 14 of the list of attacks: credentials that leak


def test_attack_14_a_redirect_to_another_host_does_not_take_the_password_along(
    client: Client, server: Misbehaving, other: Misbehaving
) -> None:
    other.contents = server.contents
    server.when("GET", "/blobs/", lambda handler: _with_password(handler, lambda: _redirect(handler, other)))
    server.when("GET", "/manifests/", lambda handler: _with_password(handler, handler.behave))
    client.succeeds("pull", f"--creds={USER}:{PASSWORD}", f"{server.host}/t/image:1")
    assert any(request.headers.get("Authorization") == BASIC for request in server.asked("/blobs/"))
    assert len(other.asked("/blobs/")) == 3
    assert all("Authorization" not in request.headers for request in other.requests)


@pytest.mark.parametrize("scheme", ['Basic realm="x"', 'Bearer realm="http://OTHER/token",service="x"'])
def test_attack_14_the_challenge_of_another_host_is_not_heard(
    client: Client, server: Misbehaving, other: Misbehaving, scheme: str
) -> None:
    challenge = scheme.replace("OTHER", other.host)
    server.when("GET", "/blobs/", lambda handler: _redirect(handler, other))
    other.when("GET", "/blobs/", lambda handler: handler.error(401, "NO", WWW_Authenticate=challenge))
    client.fails("pull", f"--creds={USER}:{PASSWORD}", "--retry=2", f"{server.host}/t/image:1")
    assert other.asked("/blobs/")
    assert other.asked("/token") == []
    assert all("Authorization" not in request.headers for request in other.requests)


def test_attack_14_a_token_server_of_another_host_gets_no_password(
    client: Client, server: Misbehaving, other: Misbehaving
) -> None:
    token_server(server, f"http://{other.host}/token")
    said = client.fails("pull", f"--creds={USER}:{PASSWORD}", f"{server.host}/t/image:1")
    assert f"it wants your password sent to {other.host}" in said
    assert f"'pyunion login {server.host}'" in said
    assert other.requests == []


def test_a_token_server_that_was_there_at_the_login_gets_the_password(
    client: Client, server: Misbehaving, other: Misbehaving
) -> None:
    tokens = token_server(server, f"http://{other.host}/token")

    def give(handler: Handler) -> None:
        tokens.append("given")
        handler.answer(200, b'{"token": "given"}')

    other.when("GET", "^/token", give)
    client.succeeds("login", "-u", USER, "-p", PASSWORD, server.host)
    client.succeeds("pull", f"{server.host}/t/image:1")
    assert all(request.headers.get("Authorization") == BASIC for request in other.requests)


def test_attack_14_from_https_nothing_leads_to_http(
    client: Client, secure: Server, other: Misbehaving
) -> None:
    folder = secure.log.parent
    with running(lambda server: server.secure(folder / "certificates/ca.crt", folder / "key")) as server:
        server.when("GET", "/blobs/", lambda handler: _redirect(handler, other))
        said = client.fails("pull", "--cert-dir", secure.certificates, f"{server.host}/t/image:1")
        assert f"it leads to {other.host} without TLS, which is refused" in said
        assert other.requests == []
        token_server(server, f"http://{other.host}/token")
        said = client.fails("pull", "--cert-dir", secure.certificates, f"{server.host}/t/image:1")
        assert "is without TLS" in said
        assert other.requests == []


def test_redirects_in_a_circle(client: Client, server: Misbehaving) -> None:
    server.when("GET", "/manifests/", lambda handler: _redirect(handler, server))
    assert "redirects in a circle" in client.fails("pull", f"{server.host}/t/image:1")


def test_redirects_to_what_is_no_http(client: Client, server: Misbehaving) -> None:
    server.when("GET", "/blobs/", lambda handler: handler.answer(307, Location="file:///etc/passwd"))
    assert "which is no address of http" in client.fails("pull", f"{server.host}/t/image:1")


def _redirect(handler: Handler, target: Misbehaving) -> None:
    handler.answer(307, Location=f"http://{target.host}{handler.path}")


def _with_password(handler: Handler, act: Callable[[], None]) -> None:
    if handler.headers.get("Authorization") == BASIC:
        act()
    else:
        handler.error(401, "UNAUTHORIZED", WWW_Authenticate='Basic realm="here"')


def _helper(client: Client) -> Path:
    """A folder with docker-credential-drawer, which keeps one secret in a file."""
    folder = client.folder / "programs"
    folder.mkdir()
    program = folder / "docker-credential-drawer"
    program.write_text(
        f"#!{shutil.which('sh')}\ndrawer={folder}/drawer\n"
        "case $1 in\n  store) cat > $drawer;;\n  erase) rm -f $drawer;;\n"
        '  get) [ -e $drawer ] && exec cat $drawer; echo "credentials not found in native keychain"; exit 1;;\nesac\n'
    )
    program.chmod(0o755)
    return folder
