"""The same Dockerfiles built by Buildah: the trees are equal, and so is what the configurations say of running."""

import json
import os
import shlex
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.build.conftest import TIMEOUT_S, Builder
from tests.support import needs

Trees = dict[str, tuple[object, ...]]

FILES: dict[str, str | bytes] = {
    "a.txt": "a\n", "b.txt": "b\n", "c.log": "c\n", "tree/one": "1\n", "tree/deep/two": "2\n", "tree/deep/three": "3\n",
    "script.sh": "#!/bin/sh\necho hello\n", "with space": "x\n", "shut/in": "in\n",
}  # fmt: skip


class Buildah:
    """Buildah with a storage of its own and the image `box`."""

    def __init__(self, top: Path) -> None:
        self._options = ["--root", f"{top}/root", "--runroot", f"{top}/run", "--storage-driver", "vfs"]
        self._environ = {**os.environ, "CONTAINERS_CONF": f"{top}/containers.conf"}
        (top / "containers.conf").write_text('[engine]\nevents_logger = "none"\n')

    def __call__(self, *arguments: str | Path) -> str:
        command = ["buildah", *self._options, *map(str, arguments)]
        done = subprocess.run(
            command, env=self._environ, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=TIMEOUT_S, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def build(self, context: Path, name: str, *options: str) -> None:
        self("bud", "-q", "--isolation", "chroot", "--pull-never", *options, "-t", name, context)


@pytest.fixture(scope="module")
def buildah(tmp_path_factory: pytest.TempPathFactory, shared_store: Path) -> Iterator[Buildah]:
    needs.commands("buildah")
    top = tmp_path_factory.mktemp("buildah")
    tool = Buildah(top)
    archive = top / "box.tar"
    assert Builder(shared_store, top).call("save", "-o", archive, "box").status == 0
    tool("pull", "-q", f"docker-archive:{archive}")
    yield tool
    tool("rm", "--all")
    tool("rmi", "--all", "--force")


def theirs(buildah: Buildah, name: str, folder: Path) -> tuple[Trees, dict[str, Any]]:
    container = buildah("from", "--pull-never", name).strip()
    mounted = buildah("mount", container).strip()
    archive = folder / "theirs.tar"
    subprocess.run(["tar", "-C", mounted, "--numeric-owner", "-cf", archive, "."], check=True)
    buildah("rm", container)
    config = json.loads(buildah("inspect", "--type", "image", name))["OCIv1"]["config"]
    return read(archive), config


def ours(builder: Builder, name: str, folder: Path) -> tuple[Trees, dict[str, Any]]:
    container = builder.call("create", "--network", "none", name, "true")
    assert container.status == 0, container.stderr
    archive = folder / "ours.tar"
    assert builder.call("export", "-o", archive, container.stdout.strip()).status == 0
    builder.call("rm", container.stdout.strip())
    config = builder.config(name)["config"]
    assert isinstance(config, dict)
    return read(archive), config


def read(archive: Path) -> Trees:
    """Kind, mode, owner, content or target, and of files the time if they aren't new."""
    found: Trees = {}
    with tarfile.open(archive) as tar:
        for member in tar:
            name = os.path.normpath(member.name)
            if name in (".", "proc", "sys", "dev", "run", "etc/hosts", "etc/hostname", "etc/resolv.conf"):
                continue
            file = tar.extractfile(member) if member.isreg() else None
            content = file.read() if file else os.path.normpath(member.linkname or "-")
            found[name] = (member.type, oct(member.mode), member.uid, member.gid, content)
    return found


CASES = {
    "copy": """
        COPY a.txt /a
        COPY a.txt b.txt /into/
        COPY tree /tree
        COPY tree/ /home
        COPY *.txt /txt/
        COPY --chown=5:6 tree /owned/below
        COPY --chown=alice a.txt /alice
        COPY --chown=alice:staff a.txt /alice-staff
        COPY --chmod=751 tree/one a.txt /modes/
        COPY a.txt lib/in-lib
        COPY ["with space", "/with space"]
        COPY ./tree/../a.txt ./
        COPY a.txt /home
        ADD archive.tar.gz /unpacked
        ADD archive.tar.gz a.txt /mixed/
        ADD --chown=9:9 a.txt /added
        WORKDIR /one/two
        COPY a.txt .
        WORKDIR three
        COPY a.txt ./
        COPY tree sub
        WORKDIR /four
        RUN pwd > where
        """,
    "settings": """
        ARG WHAT=thing
        ENV ONE=1 TWO="two words" THREE=$WHAT
        ENV FOUR four words
        ENV ONE=${ONE}1 FIVE=${NONE:-five} SIX=${ONE:+six}
        LABEL a=b "c d"="e f" g=$ONE
        EXPOSE 80 53/udp
        USER alice:staff
        STOPSIGNAL SIGUSR1
        ENTRYPOINT ["/bin/echo", "$ONE"]
        CMD one two
        RUN echo $ONE-$TWO-$THREE-$FOUR-$FIVE-$SIX > /tmp/env; id -u > /tmp/id; id -g >> /tmp/id
        USER root
        RUN mkdir /data /more
        USER alice:staff
        VOLUME /data /more
        """,
    "users": """
        ARG A=1
        ARG A
        ARG B=${A:+has}
        ENV C=${B}-${A} D="it's" E='say "hi"' \\
            # a comment
            F=a\\ b
        LABEL "com.example"='{"a": "b"}' w='\\$x'
        USER alice
        WORKDIR /hers/deep
        COPY a.txt .
        COPY --chown=alice:staff b.txt sub/
        RUN echo $A-$C-$D-$E-$F > /tmp/said; id -un >> /tmp/said; echo $HOME >> /tmp/said; touch mine
        USER root
        COPY shut /opened
        COPY --from=box /root /roots/home
        RUN mkdir -m 700 /shut && chown 5:5 /shut && mkdir -p /gone/deep
        COPY tree /shut
        COPY a.txt /shut/q/r/
        RUN rm -rf /gone && echo file > /gone
        COPY tree/deep/../one /one
        """,
    "changes": """
        ENTRYPOINT exec top
        SHELL ["/bin/sh", "-ec"]
        RUN echo "quotes 'and' \\"more\\"" > /quotes; echo a \\
            # a comment
            b \\

            c > /continued
        RUN rm /etc/group && mkdir -p /d/e && echo 1 > /d/e/f && ln /d/e/f /d/g && ln -s nowhere /d/link && \
            chmod 4755 /d/g
        RUN mv /d /moved && rm -rf /usr && mkdir /usr && touch /usr/new && chown 7:8 /usr/new && mkfifo /pipe
        COPY --from=box /etc/passwd /etc/shadow-like
        RUN rm -r /home && ln -s /tmp /home
        COPY a.txt /home/through-link
        """,
    "stages": """
        AS base
        RUN mkdir /out && echo made > /out/file && chown 3:4 /out/file && chmod 600 /out/file
        FROM box AS unused
        RUN false
        FROM base
        COPY --from=base /out /from-stage
        COPY --from=0 /out/file /from-number
        """,
}


@pytest.mark.parametrize("case", CASES)
def test_a_build_makes_the_tree_and_the_settings_that_buildah_makes(
    case: str, builder: Builder, buildah: Buildah, tmp_path: Path
) -> None:
    text = "\n".join(line.removeprefix("        ") for line in CASES[case].splitlines()[1:])
    text = f"FROM box {text}" if text.startswith("AS ") else f"FROM box\n{text}"
    context = builder.context(text, FILES)
    (context / "script.sh").chmod(0o755)
    (context / "shut").chmod(0o700)
    (context / "tree/link").symlink_to("deep/two")
    os.link(context / "a.txt", context / "tree/hard")
    subprocess.run(shlex.split("tar -C tree --owner=3 --group=4 -czf archive.tar.gz ."), cwd=context, check=True)
    name = f"beside-{case}"
    builder.build(context, "-t", name, "--network", "none")
    buildah.build(context, f"localhost/{name}")
    tree, config = ours(builder, name, tmp_path)
    their_tree, their_config = theirs(buildah, f"localhost/{name}", tmp_path)
    assert tree == their_tree
    for key in ("Env", "Cmd", "Entrypoint", "WorkingDir", "User", "Volumes", "ExposedPorts", "StopSignal", "Labels"):
        their_config.get("Labels", {}).pop("io.buildah.version", None)
        assert (config.get(key) or None) == (their_config.get(key) or None), key
