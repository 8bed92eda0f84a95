"""--cap-add, --cap-drop and --security-opt: what they mean, and what is refused."""

from pathlib import Path

import pytest

from runtime.cli.flags import security, tables
from runtime.cli.options import parse
from runtime.container import capabilities, confine
from runtime.container.hidden import MASKED, READ_ONLY, hidden
from runtime.errors import Refusal, UsageError


def read(*arguments: str) -> dict[str, object]:
    return security.read(parse(arguments, tables.SECURITY))


def left(*arguments: str) -> set[str]:
    """Names of the capabilities that a container with these options has."""
    asked = read(*arguments)
    return set(capabilities.names(capabilities.bounding(asked.get("cap_add", []), asked.get("cap_drop", []))))  # type: ignore[arg-type]


def test_nothing_asked_for_is_nothing_kept() -> None:
    assert read() == {}


def test_the_usual_eleven() -> None:
    assert left() == {
        *("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE"),
        *("SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"),
    }


def test_one_more_and_one_less_however_they_are_written() -> None:
    usual = left()
    assert left("--cap-add", "net_raw") == left("--cap-add=CAP_NET_RAW") == usual | {"NET_RAW"}
    assert left("--cap-drop", "Chown,setuid") == usual - {"CHOWN", "SETUID"}


def test_all_and_nothing() -> None:
    assert left("--cap-drop", "all") == set()
    assert left("--cap-drop", "all", "--cap-add", "chown") == {"CHOWN"}
    assert len(left("--cap-add", "all")) == 41
    assert len(left("--cap-add", "all", "--cap-drop", "sys_admin")) == 40


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--cap-add", "fly"), "--cap-add fly: there is no such capability"),
        (("--cap-drop", ""), "--cap-drop : there is no such capability"),
        (("--security-opt", "speed=10"), "there are no-new-privileges, seccomp"),
        (("--security-opt", "no-new-privileges=maybe"), "no-new-privileges=maybe: it is true or false"),
        (("--security-opt", "seccomp"), "--security-opt"),
        (("--security-opt", "seccomp=/absent.json"), "/absent.json: No such file"),
        (("--security-opt", "systempaths=half"), "systempaths=half"),
        (("--security-opt", "mask=proc"), "'proc' is not an absolute path"),
        (("--security-opt", "label=color:red"), "label=color:red"),
        (("--device", "/dev/absent"), "/dev/absent"),
        (("--device", "/etc/passwd:/dev/x"), "/etc/passwd is not a device"),
        (("--device", "/dev/null:/etc/x"), "inside, it must be in /dev"),
        (("--device", "/dev/null:/dev/x:rwx"), "/dev/null:/dev/x:rwx"),
    ],
)
def test_nonsense_is_refused_by_name(arguments: tuple[str, ...], complaint: str) -> None:
    with pytest.raises(UsageError) as refused:
        read(*arguments)
    assert complaint in str(refused.value)


def test_a_profile_is_kept_as_it_was_when_the_container_was_made(tmp_path: Path) -> None:
    file = tmp_path / "profile.json"
    file.write_text('{"defaultAction": "SCMP_ACT_ALLOW"}')
    asked = read("--security-opt", f"seccomp={file}")
    file.unlink()
    assert asked == {"seccomp": '{"defaultAction": "SCMP_ACT_ALLOW"}'}


def test_paths_can_be_hidden_and_shown() -> None:
    usual = hidden({}, privileged=False)
    assert usual == ([path.encode() for path in MASKED], [path.encode() for path in READ_ONLY])
    assert hidden({}, privileged=True) == ([], [])
    assert hidden(read("--security-opt", "systempaths=unconfined"), privileged=False) == ([], [])
    changes = ("--security-opt", "unmask=/proc/kcore:/proc/sys", "--security-opt", "mask=/etc/x")
    some = hidden(read(*changes), privileged=False)
    assert set(usual.masked) - set(some.masked) == {b"proc/kcore"}
    assert set(some.masked) - set(usual.masked) == {b"etc/x"}
    assert set(usual.read_only) - set(some.read_only) == {b"proc/sys"}


@pytest.mark.parametrize(
    ("option", "module", "enabled"),
    [
        ("apparmor=docker-default", "AppArmor", "/sys/module/apparmor/parameters/enabled"),
        ("label=type:spc_t", "SELinux", "/sys/fs/selinux/enforce"),
    ],
)
def test_a_label_that_this_machine_cannot_apply_is_refused(
    tmp_path: Path, option: str, module: str, enabled: str
) -> None:
    if Path(enabled).exists():
        pytest.skip(f"{module} is there")
    with pytest.raises(Refusal, match=f"{module} is not enabled on this machine"):
        confine.confinement({**read("--security-opt", option), "seccomp": "unconfined"}, str(tmp_path), False)


def test_no_label_can_be_asked_for_anywhere() -> None:
    assert read("--security-opt", "label=disable") == {}
    assert read("--security-opt", "apparmor=unconfined") == {"apparmor": "unconfined"}
    assert confine.confinement({"apparmor": "unconfined", "seccomp": "unconfined"}, "/absent", False).labels == []
