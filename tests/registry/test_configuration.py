"""registries.conf: mirrors, insecure and blocked registries, prefixes and aliases; and what Docker's names mean."""

from pathlib import Path

import pytest

from runtime.image.reference import parse_reference
from runtime.image.registry.configuration import Endpoint, is_loopback, load
from runtime.image.registry.errors import RegistryError
from tests.registry.client import Client
from tests.registry.misbehaving import running
from tests.registry.servers import Server, free_port
from tests.support import needs


def endpoints(folder: Path, text: str, name: str, pulling: bool = True) -> list[str]:
    """Where an image is looked for by a configuration: [!]HOST/PATH, with a mark where it is insecure."""
    file = folder / "registries.conf"
    file.write_text(text)
    configuration = load(environ={"CONTAINERS_REGISTRIES_CONF": str(file)})
    found = configuration.endpoints(parse_reference(name), pulling)
    return [f"{'!' if configuration.is_insecure(endpoint.server) else ''}{endpoint}" for endpoint in found]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("busybox", "docker.io/library/busybox"),
        ("index.docker.io/busybox", "docker.io/library/busybox"),
        ("someone/tool:2", "docker.io/someone/tool"),
        ("quay.io/x/y/z", "quay.io/x/y/z"),
        ("localhost:5000/x", "localhost:5000/x"),
    ],
)
def test_without_a_configuration(tmp_path: Path, name: str, expected: str) -> None:
    assert endpoints(tmp_path, "", name) == [expected]


def test_docker_hub_has_a_server_of_another_name() -> None:
    assert Endpoint("docker.io", "library/x").server == "registry-1.docker.io"


MIRRORS = """
[[registry]]
location = "docker.io"
[[registry.mirror]]
location = "mirror.example/hub"
[[registry.mirror]]
location = "tags.example"
pull-from-mirror = "tag-only"
insecure = true
[[registry.mirror]]
location = "digests.example"
pull-from-mirror = "digest-only"
"""
DIGEST = f"sha256:{'0' * 64}"


def test_mirrors_come_first(tmp_path: Path) -> None:
    found = ["mirror.example/hub/library/x", "!tags.example/library/x", "docker.io/library/x"]
    assert endpoints(tmp_path, MIRRORS, "x") == found
    found[1] = "digests.example/library/x"
    assert endpoints(tmp_path, MIRRORS, f"x@{DIGEST}") == found


def test_nothing_is_pushed_to_a_mirror(tmp_path: Path) -> None:
    assert endpoints(tmp_path, MIRRORS, "x", pulling=False) == ["docker.io/library/x"]


PREFIXES = """
[[registry]]
prefix = "example.com/foo"
location = "internal.example:5000/bar"
insecure = true
[[registry]]
prefix = "*.wild.example"
location = "one.example"
[[registry]]
prefix = "example.com/foo/evil"
location = "example.com/foo/evil"
blocked = true
"""


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("example.com/foo/x", "!internal.example:5000/bar/x"),
        ("example.com/foo", "!internal.example:5000/bar"),
        ("example.com/fool", "example.com/fool"),
        ("a.wild.example/x/y", "one.example/x/y"),
        ("a.wild.example:5000/x/y", "one.example/x/y"),
        ("wild.example/x", "wild.example/x"),
    ],
)
def test_prefixes(tmp_path: Path, name: str, expected: str) -> None:
    assert endpoints(tmp_path, PREFIXES, name) == [expected]


def test_what_is_marked_as_insecure_need_not_prove_who_it_is(tmp_path: Path) -> None:
    (tmp_path / "registries.conf").write_text(
        '[[registry]]\nprefix = "*.lab.example"\ninsecure = true\n'
        '[[registry]]\nprefix = "[fd00::1]:5000"\ninsecure = true\n'
    )
    configuration = load(environ={"CONTAINERS_REGISTRIES_CONF": f"{tmp_path}/registries.conf"})
    hosts = ("a.lab.example", "a.b.lab.example:5000", "[fd00::1]:5000", "lab.example", "evillab.example", "[fd00::1]")
    assert [configuration.is_insecure(host) for host in hosts] == [True, True, True, False, False, False]


def test_a_blocked_registry(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match=r"registries\.conf blocks example.com/foo/evil"):
        endpoints(tmp_path, PREFIXES, "example.com/foo/evil/x")


def test_aliases(tmp_path: Path) -> None:
    text = 'unqualified-search-registries = ["nowhere.example"]\n[aliases]\n"fedora" = "registry.example/f"\n'
    assert endpoints(tmp_path, text, "fedora:9") == ["registry.example/f"]
    assert endpoints(tmp_path, text, "other") == ["docker.io/library/other"]


@pytest.mark.parametrize(
    "text",
    [
        "[[registry]]\n", "registry = 5\n", "x = = 5", '[[registry]]\nprefix="a"\nmirror=[{}]\n',
        '[registries.block]\nregistries = ["a"]\n',
        '[[registry]]\nprefix="a"\nmirror=[{location="b", pull-from-mirror="sometimes"}]\n',
    ],
)  # fmt: skip
def test_a_configuration_that_cannot_be_read_names_its_file(tmp_path: Path, text: str) -> None:
    with pytest.raises(RegistryError, match=f"{tmp_path}/registries.conf: "):
        endpoints(tmp_path, text, "x")


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:5000", "127.0.0.1", "127.9.9.9:80", "[::1]:5000", "a.localhost"]
)
def test_this_machine(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["localhost.example.com", "127.0.0.1.example.com", "10.0.0.1", "[::2]", "example", "0.0.0.0"]
)
def test_other_machines(host: str) -> None:
    assert not is_loopback(host)


@needs.root
def test_a_mirror_serves_for_docker_hub(client: Client, plain: Server) -> None:
    dead = f"127.0.0.1:{free_port()}"
    client.configuration.write_text(
        f'[[registry]]\nlocation = "docker.io"\n[[registry.mirror]]\nlocation = "{dead}"\n'
        f'[[registry.mirror]]\nlocation = "{plain.host}/nothing"\n[[registry.mirror]]\nlocation = "{plain.host}"\n'
    )
    client.succeeds("pull", "t/many:1")
    assert client.store.resolve("t/many:1").names == ["docker.io/t/many:1"]


@needs.root
def test_when_no_source_helps_each_says_why(client: Client) -> None:
    with running() as server, running() as other:
        server.when("GET", "/manifests/", lambda handler: handler.error(404, "MANIFEST_UNKNOWN"))
        other.when("GET", "/manifests/", lambda handler: handler.error(403, "DENIED"))
        client.configuration.write_text(
            f'[[registry]]\nlocation = "{other.host}"\n[[registry.mirror]]\nlocation = "{server.host}"\n'
        )
        said = client.fails("pull", f"{other.host}/t/image:1")
        assert f"registry {server.host}: t/image: manifest 1: there is no such thing" in said
        assert f"registry {other.host}: t/image: manifest 1: access denied" in said


@needs.root
def test_a_mirror_that_lies_is_passed_over(client: Client) -> None:
    with running() as mirror, running() as origin:
        origin.contents, origin.layers = mirror.contents, mirror.layers
        mirror.when("GET", mirror.layers[1], lambda handler: handler.answer(200, b"x" * 300_000))
        client.configuration.write_text(
            f'[[registry]]\nlocation = "{origin.host}"\n[[registry.mirror]]\nlocation = "{mirror.host}"\n'
        )
        client.succeeds("pull", f"{origin.host}/t/image:1")
        assert client.files(client.store.images()[0]) == {"file0", "file1"}


@needs.root
def test_credentials_given_for_a_registry_do_not_go_to_its_mirrors(client: Client) -> None:
    with running() as mirror, running() as origin:
        mirror.when("GET", "^/v2/t", lambda handler: handler.error(401, "NO", WWW_Authenticate='Basic realm="x"'))
        client.configuration.write_text(
            f'[[registry]]\nlocation = "{origin.host}"\n[[registry.mirror]]\nlocation = "{mirror.host}"\n'
        )
        client.succeeds("pull", "--creds=alice:secret", f"{origin.host}/t/image:1")
        assert mirror.asked("/manifests/")
        assert all("Authorization" not in request.headers for request in mirror.requests)


def test_files_in_folders_go_before_the_main_file_and_later_ones_before_earlier(tmp_path: Path) -> None:
    folder = tmp_path / ".config/containers"
    (folder / "registries.conf.d").mkdir(parents=True)
    names = {"registries.conf": "main", "registries.conf.d/10.conf": "ten", "registries.conf.d/20.conf": "twenty"}
    for number, (name, location) in enumerate(names.items()):
        also = f'[[registry]]\nprefix = "only{number}.example"\nlocation = "{location}.example"\n'
        (folder / name).write_text(f'[[registry]]\nprefix = "all.example"\nlocation = "{location}.example"\n{also}')
    configuration = load(environ={"HOME": str(tmp_path)})
    wanted = ["all.example", "only0.example", "only1.example", "only2.example"]
    found = [configuration.endpoints(parse_reference(f"{name}/x"))[0].host for name in wanted]
    assert found == ["twenty.example", "main.example", "ten.example", "twenty.example"]


def test_the_command_line_goes_before_the_configuration(tmp_path: Path) -> None:
    file = tmp_path / "registries.conf"
    file.write_text('[[registry]]\nlocation = "a.example"\ninsecure = true\n')
    environ = {"CONTAINERS_REGISTRIES_CONF": str(file)}
    assert load(None, environ).is_insecure("a.example")
    assert not load(True, environ).is_insecure("a.example")
    assert load(False, environ).is_insecure("b.example")
