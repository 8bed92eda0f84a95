"""What people write into Dockerfiles, and what they get: stages, arguments, contexts, names, settings."""

import bz2
import gzip
import io
import lzma
import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.build.conftest import Builder
from tests.registry.images import podman as own_podman
from tests.support import needs


def config_of(builder: Builder, image: str) -> dict[str, object]:
    found = builder.config(image)["config"]
    assert isinstance(found, dict)
    return found


def test_a_built_image_runs_here_and_under_podman(builder: Builder, tmp_path_factory: pytest.TempPathFactory) -> None:
    needs.commands("skopeo")
    context = builder.context(
        "FROM box\nCOPY greet /bin/\nRUN chmod 700 /bin/greet && mkdir /made\n"
        'ENV WHO=world\nWORKDIR /made\nENTRYPOINT ["greet"]\nCMD ["$WHO", "again"]\n',
        {"greet": '#!/bin/sh\necho hello $WHO from $PWD: "$@"\n'},
    )
    builder.build(context, "-t", "greeter")
    expected = "hello world from /made: $WHO again\n"
    done = builder.call("run", "--rm", "--network", "none", "greeter")
    assert (done.status, done.stdout) == (0, expected)
    for podman in own_podman(tmp_path_factory.mktemp("podman")):
        source = f"oci:{builder.root}/images:docker.io/library/greeter:latest"
        pulled = subprocess.run([*podman, "pull", "-q", source], capture_output=True, text=True, check=True)
        run = [*podman, "run", "--rm", "--network", "none", pulled.stdout.strip()]
        assert subprocess.run(run, capture_output=True, text=True, check=False).stdout == expected


def test_only_the_stages_that_are_needed_are_built(builder: Builder) -> None:
    context = builder.context(
        "FROM box AS one\nRUN echo 1 > /one\nFROM box AS broken\nRUN false\n"
        "FROM box AS two\nCOPY --from=one /one /two\nFROM two AS last\nRUN echo 3 > /three\n"
    )
    printed = builder.build(context, "-t", "staged")
    assert "Step 6/6 : RUN echo 3 > /three" in printed
    assert builder.sh("staged", "cat /two /three; ls /one 2>&1 || true").startswith("1\n3\nls:")
    assert "Step 4/4 : COPY --from=one" in builder.build(context, "--target", "two")
    assert "Step 2/2 : RUN echo 1" in builder.build(context, "--target", "0")
    assert "there is no stage 'three'" in builder.refused(context, "--target", "three")


def test_files_come_from_other_images_too(builder: Builder) -> None:
    builder.build(builder.context("FROM scratch\nCOPY <<END /data/file\nfrom afar\nEND\n"), "-t", "afar")
    builder.build(builder.context("FROM box\nCOPY --from=afar /data /here\n"), "-t", "near")
    assert builder.sh("near", "cat /here/file") == "from afar\n"


def test_arguments_are_known_where_they_are_declared(builder: Builder) -> None:
    context = builder.context(
        "ARG BASE=box\nARG EARLY=early\nFROM $BASE AS one\nARG EARLY\nARG LATE=late\nARG NONE\n"
        "RUN echo $EARLY $LATE ${NONE:-none} > /one\n"
        "FROM one\nRUN echo $EARLY $LATE > /two\nARG TARGETARCH\nRUN echo $TARGETARCH > /arch\n"
        "FROM $BASE\nCOPY --from=one /one /one\nCOPY --from=1 /two /arch /\nRUN echo [$EARLY$LATE] > /three\n"
    )
    builder.build(context, "-t", "args")
    assert builder.sh("args", "cat /one /two /three") == "early late none\nearly late\n[]\n"
    assert builder.sh("args", "cat /arch").strip() in ("amd64", "arm64", "arm", "riscv64")
    printed = builder.build(context, "-t", "args", "--build-arg", "LATE=given", "--build-arg", "TYPO=x")
    assert builder.sh("args", "cat /one") == "early given none\n"
    assert "no ARG takes --build-arg TYPO" in printed
    assert "LATE" not in str(config_of(builder, "args").get("Env"))


def test_a_setting_of_the_environment_beats_an_argument(builder: Builder) -> None:
    context = builder.context("FROM box\nENV X=env\nARG X=arg\nRUN echo $X > /x\nLABEL x=$X\n")
    builder.build(context, "-t", "beats", "--build-arg", "X=given")
    assert builder.sh("beats", "cat /x") == "env\n"
    assert config_of(builder, "beats")["Labels"] == {"x": "env"}


def test_nothing_of_the_callers_environment_is_seen(builder: Builder) -> None:
    context = builder.context("FROM box\nARG GIVEN\nRUN env > /env; ls -l /proc/self/fd > /fds; cat >> /fds\n")
    builder.build(context, "-t", "env", "--build-arg", "GIVEN", SECRET="hush", GIVEN="taken")
    lines = builder.sh("env", "cat /env").splitlines()
    assert "GIVEN=taken" in lines
    assert {line.partition("=")[0] for line in lines} == {"GIVEN", "PATH", "HOME", "HOSTNAME", "PWD", "SHLVL"}
    assert builder.sh("env", "grep -c /tmp/ /fds || true").strip() == "0"


def test_a_new_entry_point_forgets_the_command_that_the_base_had(builder: Builder) -> None:
    builder.build(builder.context('FROM box\nENTRYPOINT ["echo"]\n'), "-t", "entry1")
    builder.build(builder.context('FROM box\nCMD ["mine"]\nENTRYPOINT ["echo"]\n'), "-t", "entry2")
    assert "Cmd" not in config_of(builder, "entry1")
    assert config_of(builder, "entry2")["Cmd"] == ["mine"]


def test_settings_that_only_docker_has_are_kept(builder: Builder) -> None:
    context = builder.context(
        'FROM box\nMAINTAINER me\nSHELL ["/bin/sh", "-e", "-c"]\n'
        "HEALTHCHECK --interval=1m30s --retries=4 CMD test -f /x\nONBUILD COPY x /x\n"
        "ONBUILD RUN echo triggered >> /x\nCMD shell form\n"
    )
    builder.build(context, "-t", "docker-like", "--label", "from=outside")
    config = config_of(builder, "docker-like")
    assert config["Shell"] == ["/bin/sh", "-e", "-c"]
    assert config["Cmd"] == ["/bin/sh", "-e", "-c", "shell form"]
    assert config["Healthcheck"] == {"Test": ["CMD-SHELL", "test -f /x"], "Interval": 90 * 10**9, "Retries": 4}
    assert config["OnBuild"] == ["COPY x /x", "RUN echo triggered >> /x"]
    assert config["Labels"] == {"from": "outside"}
    assert builder.config("docker-like")["author"] == "me"


def test_triggers_of_a_base_run_first_and_once(builder: Builder) -> None:
    builder.build(builder.context("FROM box\nONBUILD COPY x /x\nONBUILD RUN echo triggered >> /x\n"), "-t", "loaded")
    builder.build(builder.context("FROM loaded\nRUN echo own >> /x\n", {"x": "copied\n"}), "-t", "fired")
    assert builder.sh("fired", "cat /x") == "copied\ntriggered\nown\n"
    assert "OnBuild" not in config_of(builder, "fired")


def test_a_trigger_may_copy_from_a_stage_that_nothing_else_needs(builder: Builder) -> None:
    builder.build(builder.context("FROM box\nONBUILD COPY --from=made /file /got\n"), "-t", "wanting")
    printed = builder.build(
        builder.context("FROM box AS made\nRUN echo made > /file\nFROM wanting\nRUN cat /got\n"), "-t", "given"
    )
    assert "Step 4/4 : RUN cat /got\nmade\n" in printed


def test_a_path_can_be_added_to_where_the_base_has_none(builder: Builder) -> None:
    builder.build(builder.context("FROM scratch\nENV PATH=/more:$PATH\n"), "-t", "path")
    usual = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    assert config_of(builder, "path")["Env"] == [f"PATH=/more:{usual}"]


def test_a_working_directory_that_is_made_belongs_to_the_user(builder: Builder) -> None:
    context = builder.context("FROM box\nWORKDIR /roots\nUSER alice\nWORKDIR /hers/too\nRUN touch file\n")
    builder.build(context, "-t", "hers")
    assert builder.sh("hers", "stat -c %u:%g /roots /hers /hers/too file") == "0:0\n" + 3 * "1000:1001\n"


def test_a_directory_that_is_made_for_what_is_copied_is_open_to_all(builder: Builder) -> None:
    """What the context's own directory is like is this machine's affair."""
    context = builder.context(
        "FROM box AS base\nRUN mkdir /o && chown 5:6 /o && mkdir -m 750 /o/p\n"
        "FROM box\nCOPY . /all\nCOPY --chown=3:4 in /owned\nCOPY --from=base /o /deep/o\nCOPY --chmod=711 in /mode\n",
        {"in/file": "x"},
    )
    context.chmod(0o700)
    (context / "in").chmod(0o2770)
    builder.build(context, "-t", "open")
    assert builder.sh("open", "stat -c '%a %u %g' /all /all/in /owned /deep/o /deep/o/p /mode").splitlines() == [
        "755 0 0", "2770 0 0", "755 3 4", "755 0 0", "750 0 0", "711 0 0",
    ]  # fmt: skip


def test_files_can_be_copied_with_the_directories_above_them(builder: Builder) -> None:
    context = builder.context(
        "FROM box\nCOPY --parents a x/y/one /all\nCOPY --parents ./x/./y /pivot/\nCOPY --parents x/*/*e /p\n",
        {"a": "", "x/y/one": "", "x/z/three": "", "x/y/two": ""},
    )
    (context / "x/y").chmod(0o750)
    builder.build(context, "-t", "parents")
    assert builder.sh("parents", "find /all /pivot /p -type f | sort").split() == [
        "/all/a", "/all/x/y/one", "/p/x/y/one", "/p/x/z/three", "/pivot/y/one", "/pivot/y/two",
    ]  # fmt: skip
    assert builder.sh("parents", "stat -c %a /all/x/y /p/x/y /pivot/y /pivot").split() == ["750", "750", "750", "755"]
    assert "none: not found" in builder.refused(builder.context("FROM box\nCOPY --parents x/../none /y\n"))


def test_one_file_that_two_sources_name_becomes_two(builder: Builder) -> None:
    context = builder.context("FROM box\nCOPY a link tree /d/\nCOPY tree /e\n", {"a": "1\n", "tree/one": "1\n"})
    (context / "link").symlink_to("a")
    os.link(context / "a", context / "tree/hard")
    os.link(context / "a", context / "tree/soft")
    builder.build(context, "-t", "names")
    assert builder.sh("names", "stat -c %h /d/a /d/link /d/hard /d/soft /e/hard /e/one").split() == list("112221")


def test_a_dockerfile_may_hold_what_is_no_unicode(builder: Builder) -> None:
    context = builder.context("", {"Dockerfile": b"FROM box\nRUN echo caf\xe9 > /x\nLABEL l=caf\xe9\n"})
    builder.build(context, "-t", "latin")
    assert builder.sh("latin", "od -An -tx1 /x").split() == ["63", "61", "66", "e9", "0a"]
    assert config_of(builder, "latin")["Labels"] == {"l": "caf\ufffd"}


def test_here_documents_are_scripts_and_files(builder: Builder) -> None:
    context = builder.context(
        "FROM box\nARG X=value\n"
        "RUN <<END\ncd /tmp\necho one > file\nEND\n"
        "RUN <<END\n#!/bin/cat\nshebang\nEND\n"
        "RUN cat > /two <<A && cat <<-'B' >> /two\n$X\nA\n\t\t$X\n\tB\n"
        "COPY --chmod=600 <<expanded <<'literal' /docs/\n"
        '"$X" \\$X\nexpanded\n$X\nliteral\nCOPY <<a /renamed\nx\na\n'
    )  # fmt: skip
    printed = builder.build(context, "-t", "here")
    assert "#!/bin/cat\nshebang\n" in printed
    assert builder.sh("here", "cat /tmp/file /two; cat /docs/expanded /docs/literal /renamed") == (
        'one\nvalue\n$X\n"value" $X\n$X\nx\n'
    )
    assert builder.sh("here", "stat -c '%a %u %n' /docs/*") == "600 0 /docs/expanded\n600 0 /docs/literal\n"
    assert builder.sh("here", "ls /dev/pipes 2>&1 || true").startswith("ls:")


def test_a_dockerignore_keeps_files_out(builder: Builder) -> None:
    files = dict.fromkeys(("src/a.c", "src/a.o", "src/keep.o", "b"), "")
    files[".dockerignore"] = "*\n!src\nsrc/*.o\n!src/keep.o\n"
    context = builder.context("FROM box\nCOPY . /all\nCOPY s* /glob/\n", files)
    builder.build(context, "-t", "ignored")
    assert builder.sh("ignored", "cd /all; find . -type f | sort; ls /glob") == "./src/a.c\n./src/keep.o\na.c\nkeep.o\n"
    (context / "Dockerfile").write_text("FROM box\nCOPY b /b\n")
    assert "Dockerfile:2: COPY: b: it is left out by .dockerignore" in builder.refused(context)
    (context / "Dockerfile.dockerignore").write_text("src\n")
    builder.build(context)


def test_files_can_be_left_out_of_one_copy(builder: Builder) -> None:
    files = {"src/a.o": "", "src/d/x": "", "src/d/y": ""}
    context = builder.context("FROM box\nCOPY --exclude=*.o --exclude=d/x src /src\n", files)
    builder.build(context, "-t", "excluded")
    assert builder.sh("excluded", "cd /src; find . | sort") == ".\n./d\n./d/y\n"


def test_a_pattern_that_matches_nothing_copies_nothing(builder: Builder) -> None:
    builder.build(builder.context("FROM box\nCOPY *.none a /x/\n", {"a": ""}), "-t", "nothing")
    assert builder.sh("nothing", "ls /x") == "a\n"


def test_archives_come_in_every_usual_compression(builder: Builder) -> None:
    context = builder.context("FROM box\n")
    (context / "tree").mkdir()
    (context / "tree/file").write_text("content\n")
    lines = ["FROM box"]
    packed = gzip.decompress(archive_of(context / "tree"))
    packers: dict[str, Callable[[bytes], bytes]] = {
        "tar": bytes, "gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress,
    }  # fmt: skip
    for kind, pack in packers.items():
        (context / f"x.{kind}").write_bytes(pack(packed))
        lines.append(f"ADD x.{kind} /{kind}")
    (context / "Dockerfile").write_text("\n".join([*lines, "COPY x.gz /copied", "ADD tree /tree"]))
    builder.build(context, "-t", "archives")
    assert builder.sh("archives", "cat /tar/file /gz/file /bz2/file /xz/file /tree/file") == "content\n" * 5
    assert builder.sh("archives", "zcat /copied | tar t") == "file\n"


def archive_of(context: Path) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as archive:
        for path in sorted(context.rglob("*")):
            archive.add(path, path.relative_to(context), recursive=False)
    return data.getvalue()


def test_the_context_can_be_an_archive_on_standard_input(builder: Builder) -> None:
    context = builder.context("FROM box\nCOPY a /a\n", {"a": "sent\n", "other/File": "FROM box\nCOPY a /b\n"})
    done = builder.call("build", "-t", "sent", "-", stdin=archive_of(context))
    assert done.status == 0, done.stderr
    assert builder.sh("sent", "cat /a") == "sent\n"
    done = builder.call("build", "-t", "sent", "-f", "other/File", "-", stdin=archive_of(context))
    assert (done.status, builder.sh("sent", "cat /b")) == (0, "sent\n"), done.stderr


def test_the_dockerfile_can_be_anywhere(builder: Builder, tmp_path: Path) -> None:
    context = builder.context("FROM nothing-there\n", {"a": "a\n"})
    (context / "Dockerfile").rename(context / "Containerfile")
    (context / "Containerfile").write_text("FROM box\nCOPY a /containerfile\n")
    (tmp_path / "elsewhere").write_text("FROM box\nCOPY a /elsewhere\n")
    builder.build(context, "-t", "place")
    assert builder.sh("place", "cat /containerfile") == "a\n"
    builder.build(context, "-t", "place", "-f", str(tmp_path / "elsewhere"))
    assert builder.sh("place", "cat /elsewhere") == "a\n"
    done = builder.call("build", "-t", "place", "-f", "-", context, stdin=b"FROM box\nCOPY a /stdin\n")
    assert (done.status, builder.sh("place", "cat /stdin")) == (0, "a\n"), done.stderr
    done = builder.call("build", "-t", "place", "-", stdin=b"FROM box\nRUN echo none > /alone\n")
    assert (done.status, builder.sh("place", "cat /alone")) == (0, "none\n"), done.stderr


def test_an_image_gets_all_its_names_and_tells_its_id(builder: Builder, tmp_path: Path) -> None:
    context = builder.context("FROM box\nRUN echo said\n")
    names = ("-t", "first", "-t", "reg.example/second:v2")
    done = builder.call("build", "-q", *names, "--iidfile", tmp_path / "id", context)
    assert done.status == 0
    assert done.stdout.strip() == (tmp_path / "id").read_text()
    assert done.stdout.startswith("sha256:")
    for name in ("first", "reg.example/second:v2"):
        assert builder.call("images", "-q", "--no-trunc", name).stdout == done.stdout
    builder.call("build", "--iidfile", tmp_path / "id", builder.context("FROM box\nRUN false\n"))
    assert not (tmp_path / "id").exists()


def test_a_quiet_build_that_fails_says_what_it_would_have_said(builder: Builder) -> None:
    done = builder.call("build", "-q", builder.context("FROM box\nRUN echo before; echo trouble >&2; exit 7\n"))
    assert (done.status, done.stdout) == (1, "")
    assert "trouble" in done.stderr
    assert "before" in done.stderr


def test_a_step_that_fails_is_told_with_its_place_and_status(builder: Builder) -> None:
    complaint = builder.refused(builder.context("FROM box\n\nRUN exit 7\n"))
    assert "Dockerfile:3: RUN: the command '/bin/sh -c exit 7' returned the non-zero status 7" in complaint
    complaint = builder.refused(builder.context('FROM box\nRUN ["/nowhere"]\n'))
    assert "Dockerfile:2: RUN: exec: '/nowhere': No such file or directory" in complaint


@pytest.mark.parametrize(
    ("dockerfile", "complaint"),
    [
        ("RUN true\n", "Dockerfile:1: RUN: it comes before the first FROM"),
        ("FROM box\nCOPY a\n", "at least one source and a destination"),
        ("FROM box\nCOPY a b c\n", "the destination is a directory and ends with /"),
        ("FROM box\nCOPY none /x\n", "Dockerfile:2: COPY: none: not found"),
        ("FROM box\nCOPY a /bin\nCOPY d /bin/a\n", "Dockerfile:3: COPY: cannot copy a directory to /bin/a"),
        ("FROM box\nCOPY d /\n", "cannot replace the directory /etc by a file"),
        ("FROM box\nCOPY a /etc/passwd/x\n", "Dockerfile:2: COPY: "),
        ("FROM box\nCOPY --chown=nobody-here a /\n", "there is no user 'nobody-here' in the image"),
        ("FROM box\nCOPY --chmod=u+x a /\n", "--chmod=u+x: it is an octal number"),
        ("FROM box\nADD https://example.org/x /\n", "nothing is fetched from the network"),
        ("FROM box\nENV a b=c d=\nENV a=b c\n", "Dockerfile:3: ENV: 'c' isn't of the form KEY=VALUE"),
        ("FROM box\nEXPOSE 70000\n", "EXPOSE: '70000' isn't a port"),
        ("FROM box\nCOPY --from=later /a /\nFROM box AS later\nCOPY --from=0 /a /\n", "no stage later before this"),
        ("FROM box AS me\nCOPY --from=me /a /\n", "there is no stage me before this one"),
        ("FROM box\nCOPY --from=7 /a /\n", "there is no stage 7 before this one"),
        ("ARG X\nFROM box\nCOPY --from=$X /a /\n", "$X: variables aren't expanded here"),
        ("FROM box AS a\nFROM box\nARG X=a\nRUN --mount=from=$X,target=/x true\n", "variables aren't expanded here"),
        ("FROM box\nRUN --mount=type=ssh true\n", "Dockerfile:2: RUN: --mount=type=ssh: type ssh isn't supported"),
        ("FROM box\nRUN --mount=target=/x,rw=maybe true\n", "rw is either true or false"),
        ("FROM box\nRUN --mount=target=/ true\n", "/ is the root directory"),
        ("FROM box\nRUN --mount=type=tmpfs,target=/x,size=much true\n", "'much' isn't a size"),
        ("FROM box\nRUN --mount=type=cache,target=/x,uid=$NONE true\n", "uid isn't a number"),
        ("FROM box\nRUN --mount=type=cache,tgt=/x true\n", "a mount of type cache has no 'tgt'"),
        ("FROM box\nRUN --network=bridge true\n", "--network=bridge: there are default, host, none"),
        ("FROM box\nONBUILD FROM x\n", "FROM can't be what ONBUILD triggers"),
        ("FROM box\nWORKDIR /etc/passwd\n", "/etc/passwd is not a directory"),
        ("FROM box AS scratch\n", "invalid name of a stage"),
        ("FROM box:$NONE-\n", "Dockerfile:1: FROM: invalid image name"),
        ("FROM box\nUSER ${X\n", "Dockerfile:2: USER: '${X': a '}' is missing"),
    ],
)  # fmt: skip
def test_mistakes_are_told_with_their_place(dockerfile: str, complaint: str, builder: Builder) -> None:
    assert complaint in builder.refused(builder.context(dockerfile, {"a": "", "d/etc": ""}))


def test_an_unknown_option_is_refused(builder: Builder) -> None:
    assert "unknown flag: --sqash" in builder.call("build", "--sqash", ".").stderr
    assert "no such directory" in builder.call("build", builder.contexts / "none").stderr
    assert os.listdir(builder.contexts) == []
