"""What a container is may be lost: the machine went down before it was on the disk, or somebody wrote to it."""

import pytest

from tests.e2e.conftest import Pyunion

TEXTS = ("", "[]", '{"name": 1}')


@pytest.fixture
def two(pyunion: Pyunion) -> Pyunion:
    for name in ("one", "two"):
        pyunion("run", "--name", name, "--rootfs", pyunion.rootfs, "sh", "-c", "echo x >/file")
    return pyunion


@pytest.mark.parametrize("text", TEXTS)
def test_one_without_its_configuration_is_named_and_can_be_removed(two: Pyunion, text: str) -> None:
    path = (two.root / "names/one").resolve().name
    config = two.root / "containers" / path / "config.json"
    config.write_text(text)
    listed = two("ps", "-a", "--format", "{{.Names}}")
    assert listed.stdout == "two\n"
    assert f"{config} is damaged" in listed.stderr
    for verb in ("start", "inspect", "diff"):
        result = two(verb, "one")
        assert result.returncode == 1
        assert f"{config} is damaged; `pyunion rm -f" in result.stderr
        assert result.stderr.count("\n") == 1
    assert two("rm", "-f", "one").returncode == 0
    assert two("ps", "-a", "--format", "{{.Names}}").stderr == ""
    assert two("run", "--name", "one", "--rootfs", two.rootfs, "true").returncode == 0


@pytest.mark.parametrize("text", TEXTS)
def test_one_without_its_state_has_ended_and_keeps_its_files(two: Pyunion, text: str) -> None:
    path = (two.root / "names/one").resolve().name
    (two.root / "containers" / path / "state.json").write_text(text)
    assert two("ps", "-a", "--format", "{{.Names}} {{.State}}").stdout == "two exited\none exited\n"
    shown = two("inspect", "-f", "{{.State.ExitCode}} {{.State.Error}}", "one").stdout
    assert shown == "137 its state.json was damaged\n"
    assert two("diff", "one").stdout == "A /file\n"
    assert two("start", "-a", "one").returncode == 0
    assert two("rm", "one").returncode == 0
