"""Profiles in Docker's JSON format: which rules count, what the kernel is told, and what is refused."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from runtime.container import capabilities, seccomp
from runtime.container.seccomp.profile import Chosen, Machine, choose
from runtime.errors import Refusal
from unionfs.linux.libseccomp import ALLOW, ERRNO, KILL_PROCESS, Comparison, Rule

X86 = Machine("x86_64", "6.1.0-13-amd64", frozenset({"CAP_CHOWN"}))
ALLOW_READ = {"names": ["read"], "action": "SCMP_ACT_ALLOW"}


def chosen(document: object, machine: Machine = X86) -> Chosen:
    return choose(json.dumps(document), machine)


def profile(*syscalls: object, **more: object) -> dict[str, object]:
    return {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": list(syscalls), **more}


def names(*syscalls: object, machine: Machine = X86) -> list[str]:
    return [rule.name for rule in chosen(profile(*syscalls), machine).rules]


def test_what_no_rule_allows_is_refused_with_eperm_unless_it_says_otherwise() -> None:
    assert chosen(profile()).default == ERRNO | 1
    assert chosen(profile(defaultErrnoRet=38)).default == ERRNO | 38
    assert chosen({"defaultAction": "SCMP_ACT_KILL_PROCESS"}).default == KILL_PROCESS


def test_a_rule_has_its_own_errno() -> None:
    entry = {"names": ["mount", "umount2"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5}
    assert chosen(profile(entry)).rules == [Rule(ERRNO | 5, "mount", ()), Rule(ERRNO | 5, "umount2", ())]


def test_the_old_form_with_one_name() -> None:
    assert names({"name": "read", "action": "SCMP_ACT_ALLOW"}) == ["read"]


@pytest.mark.parametrize(
    ("condition", "counts"),
    [
        ({"includes": {"caps": ["CAP_CHOWN"]}}, True),
        ({"includes": {"caps": ["CAP_SYS_ADMIN"]}}, False),
        ({"excludes": {"caps": ["CAP_CHOWN"]}}, False),
        ({"excludes": {"caps": ["CAP_SYS_ADMIN"]}}, True),
        ({"includes": {"arches": ["amd64", "x32"]}}, True),
        ({"includes": {"arches": ["arm64"]}}, False),
        ({"excludes": {"arches": ["amd64"]}}, False),
        ({"includes": {"minKernel": "4.8"}}, True),
        ({"includes": {"minKernel": "6.10"}}, False),
        ({"includes": {}, "excludes": None}, True),
    ],
)
def test_a_rule_counts_where_its_conditions_hold(condition: dict[str, object], counts: bool) -> None:
    assert names({**ALLOW_READ, **condition}) == (["read"] if counts else [])


def test_all_tests_of_different_arguments_must_hold_and_any_of_one() -> None:
    one = {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}
    other = {"index": 1, "value": 2, "valueTwo": 3, "op": "SCMP_CMP_MASKED_EQ"}
    both = (Comparison(0, 4, 1, 0), Comparison(1, 7, 2, 3))
    assert [rule.tests for rule in chosen(profile({**ALLOW_READ, "args": [one, other]})).rules] == [both]
    again = {**one, "value": 9}
    apart = [(Comparison(0, 4, 1, 0),), (Comparison(0, 4, 9, 0),)]
    assert [rule.tests for rule in chosen(profile({**ALLOW_READ, "args": [one, again]})).rules] == apart


def test_the_map_of_architectures_adds_those_that_come_with_this_one() -> None:
    entries = [
        {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]},
        {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]},
    ]
    assert chosen(profile(archMap=entries)).architectures == ["x86", "x32"]
    assert chosen(profile(architectures=["SCMP_ARCH_X86_64"])).architectures == ["x86_64"]


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ({"syscalls": []}, "defaultAction is missing"),
        ({"defaultAction": "ALLOW"}, "unknown action 'ALLOW'"),
        (profile({"names": ["read"]}), "action is missing"),
        (profile({"action": "SCMP_ACT_ALLOW"}), "names is missing"),
        (profile({**ALLOW_READ, "action": "SCMP_ACT_NOTIFY"}), "unknown action 'SCMP_ACT_NOTIFY'"),
        (profile({**ALLOW_READ, "args": [{"index": 7, "value": 0, "op": "SCMP_CMP_EQ"}]}), "syscalls[0]: an argument"),
        (profile({**ALLOW_READ, "args": [{"index": 0, "value": 0, "op": "SAME"}]}), "its op one of NE, LT"),
        (profile({**ALLOW_READ, "includes": {"minKernel": "new"}}), "minKernel 'new'"),
        (profile({**ALLOW_READ, "names": [1]}), "1 is not the name of a system call"),
        (profile(flags=["SECCOMP_FILTER_FLAG_WAIT"]), "unknown flag"),
        (profile(architectures=["amd64"]), "unknown architecture 'amd64'"),
        ([], "seccomp profile: "),
    ],
)
def test_nonsense_is_refused_by_its_field(document: object, complaint: str) -> None:
    with pytest.raises(Refusal) as refused:
        chosen(document)
    assert str(refused.value).startswith("seccomp profile: ")
    assert complaint in str(refused.value)


def test_what_is_not_json_is_refused() -> None:
    with pytest.raises(Refusal, match="seccomp profile: not JSON"):
        choose("{", X86)


def run_under(filtered: seccomp.Filter, program: str) -> "subprocess.CompletedProcess[str]":
    """Run Python under a filter; no_new_privs lets an ordinary user do so, too."""
    from unionfs.linux import process
    from unionfs.linux.seccomp import load

    def confine() -> None:
        process.set_no_new_privileges()
        load(filtered.program, filtered.flags)

    command = [sys.executable, "-I", "-S", "-c", program]
    return subprocess.run(command, preexec_fn=confine, capture_output=True, text=True, check=False)


def test_the_kernel_does_as_the_profile_says(tmp_path: Path) -> None:
    document = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [
            {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 122},
            {
                "names": ["kill"],
                "action": "SCMP_ACT_ERRNO",
                "errnoRet": 16,
                "args": [{"index": 1, "value": 0, "op": "SCMP_CMP_EQ"}],
            },
        ],
    }
    filtered = seccomp.filter_for(json.dumps(document), 0, str(tmp_path / "cache"))
    assert "[Errno 122]" in run_under(filtered, "import os; os.mkdir('/tmp/never')").stderr
    assert "[Errno 16]" in run_under(filtered, "import os; os.kill(1, 0)").stderr
    assert run_under(filtered, "import os; os.kill(os.getpid(), 9)").returncode == -9


def test_a_filter_is_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = seccomp.filter_for("", capabilities.DEFAULT, str(tmp_path))
    (kept,) = tmp_path.iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600
    monkeypatch.setattr("unionfs.linux.libseccomp._LIBRARY", "libabsent.so")
    assert seccomp.filter_for("", capabilities.DEFAULT, str(tmp_path)) == first


def test_containers_that_are_the_first_at_the_same_time_do_not_disturb_one_another(tmp_path: Path) -> None:
    # threads have one pid, as the first processes of containers have: each is number 1 of its own namespace
    text = json.dumps({"defaultAction": "SCMP_ACT_ALLOW"})
    with ThreadPoolExecutor(8) as together:
        for directory in (tmp_path / str(number) for number in range(50)):
            made = list(together.map(lambda _, at=str(directory): seccomp.filter_for(text, 0, at), range(8)))
            assert len(set(made)) == 1
            assert len(list(directory.iterdir())) == 1


def test_another_profile_capability_or_library_means_another_filter(tmp_path: Path) -> None:
    text = json.dumps({"defaultAction": "SCMP_ACT_ALLOW"})
    filters = [("", capabilities.DEFAULT), ("", capabilities.EVERY), (text, capabilities.DEFAULT)]
    assert len({seccomp.filter_for(*one, str(tmp_path)) for one in filters}) == 3
    before = sorted(tmp_path.iterdir())
    assert len(before) == 3
    for path in before:  # as if the library had been replaced since
        flags, _, rest = path.read_bytes().split(b" ", 2)
        path.write_bytes(b"%b 1 %b" % (flags, rest.partition(b"\n")[0] + b"\nrubbish"))
    assert all(b"rubbish" not in seccomp.filter_for(*one, str(tmp_path)).program for one in filters)


def test_without_the_library_the_way_out_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unionfs.linux.libseccomp._LIBRARY", "libabsent.so")
    with pytest.raises(Refusal, match=r"libabsent.so is not installed.*seccomp=unconfined"):
        seccomp.filter_for("", capabilities.DEFAULT, str(tmp_path))


def test_the_default_profile_is_one_of_its_own_format_and_names_each_call_once_for_all() -> None:
    document = json.loads(seccomp.default_profile())
    for machine in (X86, X86._replace(name="aarch64"), X86._replace(name="s390x")):
        rules = chosen(document, machine).rules
        plain = [rule.name for rule in rules if not rule.tests]
        assert len(plain) == len(set(plain))
        assert {"read", "openat", "execve", "ptrace"} <= set(plain)
    rules = chosen(document).rules
    allowed = {rule.name for rule in rules if rule.action == ALLOW and not rule.tests}
    dangerous = {"mount", "setns", "unshare", "bpf", "io_uring_setup", "kexec_load", "open_by_handle_at", "clone"}
    assert not allowed & (dangerous | {"keyctl", "userfaultfd", "perf_event_open", "init_module", "reboot", "clone3"})


def test_capabilities_bring_their_system_calls_along() -> None:
    document = json.loads(seccomp.default_profile())
    every = frozenset(f"CAP_{name}" for name in capabilities.names(capabilities.EVERY))
    allowed = {rule.name for rule in chosen(document, X86._replace(capabilities=every)).rules if rule.action == ALLOW}
    assert {"mount", "setns", "unshare", "bpf", "open_by_handle_at", "reboot", "clone", "clone3"} <= allowed
