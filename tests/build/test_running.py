"""RUN: its mounts, its network, its end; and what of it isn't in the layer."""

import os
import signal
import subprocess
import tarfile
from contextlib import suppress
from pathlib import Path

import pytest

from tests.build.conftest import TIMEOUT_S, Builder
from tests.support.waiting import wait_for


def members(builder: Builder, image: str, folder: Path) -> list[str]:
    """Names in the uppermost layer of an image."""
    folder.mkdir(exist_ok=True)
    archive = folder / f"{image}.tar"
    assert builder.call("save", "--format", "oci-archive", "-o", archive, image).status == 0
    digest = builder.call("inspect", "--type", "image", "--format", "{{range .RootFS.Layers}}{{.}} {{end}}", image)
    layer = builder.root / "layers" / digest.stdout.split()[-1].replace(":", "-") / "diff"
    if not layer.is_dir():  # nobody has needed it yet
        builder.sh(image, "true")
    return sorted(str(path.relative_to(layer)) for path in layer.rglob("*"))


def test_what_is_mounted_is_not_in_the_layer(builder: Builder, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("hush\n")
    context = builder.context(
        "FROM box\nCOPY etc /etc\n"
        "RUN --mount=type=cache,target=/cache/here --mount=type=tmpfs,target=/ram --mount=source=src,target=/in/src "
        "--mount=type=secret,id=token --mount=type=tmpfs,target=/full "
        "touch /cache/here/x /ram/x && cat /in/src/file /run/secrets/token && mount | grep -c 'on /ram ' && "
        "echo made > /made && mkdir -p /fulls\n",
        {"src/file": "bound\n", "etc/new": ""},
    )
    (context / "etc/resolv.conf").symlink_to("/run/deep/resolv.conf")
    printed = builder.build(context, "-t", "mounts", "--secret", f"id=token,src={tmp_path}/token")
    assert "bound\nhush\n1\n" in printed
    assert members(builder, "mounts", tmp_path) == ["fulls", "made"]


def test_a_mount_is_as_its_values_say(builder: Builder) -> None:
    context = builder.context(
        "FROM box\nARG WHO=7\nARG SIZE=2m\n"
        "RUN --mount=type=cache,id=whose,target=/c,uid=$WHO stat -c '<%u>' /c\n"
        "RUN --mount=type=tmpfs,target=/t,size=$SIZE df -k /t\n"
        "RUN --mount=target=/b,ro=false touch /b/x\nRUN --mount=target=/b,rw=True touch /b/x\n"
        "RUN --mount=type=secret,target=/deep/token cat /deep/token\n"
    )
    secret = context / "token"
    secret.write_text("hush\n")
    printed = builder.build(context, "--secret", f"id=token,src={secret}")
    assert "\n<7>\n" in printed
    assert " 2048 " in printed
    assert "\nhush\n" in printed


def test_a_cache_is_kept_from_build_to_build(builder: Builder) -> None:
    def context(number: int) -> Path:
        command = f"echo {number} >> /c/x; cat /c/x"
        return builder.context(f"FROM box\nRUN --mount=type=cache,id=kept,target=/c {command}\n")

    builder.build(context(1))
    assert "\n1\n2\n" in builder.build(context(2))
    private = builder.context("FROM box\nRUN --mount=type=cache,id=kept,target=/c,sharing=private cat /c/x\n")
    assert "\n1\n2\n" in builder.build(private)
    other = builder.context("FROM box\nRUN --mount=type=cache,id=other,target=/c,mode=700,uid=7 stat -c '%a %u' /c\n")
    assert "700 7\n" in builder.build(other)


def test_what_is_bound_is_read_only_or_a_copy(builder: Builder) -> None:
    context = builder.context(
        "FROM box AS other\nRUN echo of-stage > /file\nFROM box\n"
        "RUN --mount=from=other,source=/file,target=/f cat /f; echo x > /f\n"
        "RUN --mount=target=/src,rw rm /src/a && echo new > /src/b && ls /src\n",
        {"a": ""},
    )
    done = builder.call("build", context)
    assert "of-stage" in done.stdout
    assert "Read-only file system" in done.stderr
    text = (context / "Dockerfile").read_text().replace("; echo x > /f", "")
    (context / "Dockerfile").write_text(text)
    builder.build(context)
    assert sorted(os.listdir(context)) == ["Dockerfile", "a"]


def test_a_secret_reaches_neither_the_cache_nor_the_image(builder: Builder) -> None:
    context = builder.context("FROM box\nRUN --mount=type=secret,id=s,env=S echo $S | wc -c\n")
    environ = {"THE_SECRET": "0123456789abcdef-unique"}
    builder.build(context, "-t", "secretive", "--secret", "id=s,env=THE_SECRET", **environ)
    searched = subprocess.run(["grep", "-rl", environ["THE_SECRET"], builder.root], capture_output=True, check=False)
    assert searched.stdout == b""
    required = builder.context("FROM box\nRUN --mount=type=secret,id=none,required=true true\n")
    assert "there is no secret 'none'" in builder.refused(required)


def test_a_command_can_be_without_a_network(builder: Builder) -> None:
    context = builder.context("FROM box\nRUN --network=none ls /sys/class/net; cat /etc/hostname\n")
    assert "\nlo\nbuild\n" in builder.build(context)


def test_a_command_that_changes_nothing_makes_no_layer(builder: Builder) -> None:
    builder.build(builder.context("FROM box\nRUN echo nothing; cat /etc/hosts\nLABEL a=b\n"), "-t", "same")
    history = builder.config("same")["history"]
    assert isinstance(history, list)
    assert [entry.get("empty_layer", False) for entry in history] == [False, True, True]


def test_a_file_with_several_names_changes_by_all_of_them(builder: Builder) -> None:
    steps = "RUN echo old > /one && mkdir /d && ln /one /d/two\nRUN chmod 600 /one\nRUN echo new > /d/two\n"
    builder.build(builder.context(f"FROM box\n{steps}"), "-t", "linked")
    assert builder.sh("linked", "stat -c '%a %h' /one /d/two; cat /one") == "600 2\n600 2\nnew\n"


def test_the_root_directory_stays_as_the_image_has_it(builder: Builder) -> None:
    builder.build(builder.context("FROM box\nRUN stat -c '%a %u' / > /root-is\n"), "-t", "rooted")
    assert builder.sh("rooted", "cat /root-is; stat -c '%a %u' /home /tmp") == "755 0\n711 0\n1777 0\n"
    builder.build(builder.context("FROM box\nRUN chmod 751 /\nRUN stat -c %a / > /root-is\n"), "-t", "rooted")
    assert builder.sh("rooted", "cat /root-is; stat -c %a /") == "751\n751\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_build_that_is_interrupted_leaves_nothing(number: signal.Signals, builder: Builder) -> None:
    mark = f"begun-{number}-{os.getpid()}"
    context = builder.context(f"FROM box\nRUN trap '' INT TERM; echo {mark}; sleep 1000\n")
    pipe = subprocess.PIPE
    process = subprocess.Popen(builder.argv("build", context), stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    assert process.stdout is not None
    assert any(line.strip() == mark for line in process.stdout)
    process.send_signal(number)
    process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == (-9 if number == signal.SIGKILL else 128 + number)
    if number == signal.SIGKILL:
        builder.build(builder.context("FROM box\n"))  # whoever comes next tidies up
    assert builder.leftovers() == []
    wait_for("the command's end", lambda: not processes(mark))


def processes(mark: str) -> list[str]:
    """Those that have `mark` among their arguments."""
    found = []
    for process in Path("/proc").iterdir():
        with suppress(OSError):
            if process.name.isdigit() and mark.encode() in (process / "cmdline").read_bytes():
                found.append(process.name)
    return found


def test_two_builds_of_the_same_thing_agree(builder: Builder) -> None:
    context = builder.context("FROM box\nRUN mkdir /d && echo both > /d/x\nCOPY Dockerfile /d/\n")
    both = [
        subprocess.Popen(builder.argv("build", "-q", "-t", f"both{number}", context), stdout=subprocess.PIPE, text=True)
        for number in (1, 2)
    ]
    assert [process.wait(TIMEOUT_S) for process in both] == [0, 0]
    assert builder.sh("both1", "cat /d/x") == builder.sh("both2", "cat /d/x") == "both\n"


def test_an_archive_of_a_whole_system_can_be_added(builder: Builder, box_tree: Path) -> None:
    files = {"box.tar": box_tree.read_bytes()}
    context = builder.context("FROM scratch\nADD box.tar /\nRUN echo works > /works\n", files)
    builder.build(context, "-t", "system")
    assert builder.sh("system", "cat /works; readlink /lib") == "works\nusr/lib\n"
    (context / "more").mkdir()
    (context / "more/lib.so").write_text("lib\n")
    with tarfile.open(context / "more.tar", "w") as archive:
        archive.add(context / "more/lib.so", "lib/lib.so")
    (context / "Dockerfile").write_text("FROM system\nADD more.tar /\n")
    builder.build(context, "-t", "system2")
    assert builder.sh("system2", "cat /usr/lib/lib.so; readlink /lib") == "lib\nusr/lib\n"
