"""What is done again, and what isn't, as one sees it from outside."""

import json
import os
from pathlib import Path

from tests.build.conftest import Builder

CACHED = " ---> Using cache"
DOCKERFILE = (
    "FROM box AS base\nARG WHAT=1\nRUN echo ran-one; date +%N > /one\nLABEL a=b\nCOPY src /src\nRUN echo ran-two\n"
    "FROM box\nCOPY --from=base /src/in /one /got/\nWORKDIR /new\nCMD x\n"
)


def ran(printed: str) -> list[str]:
    return [line for line in printed.splitlines() if line.startswith("ran-")]


def built(builder: Builder, context: Path, *options: str, **environ: str) -> tuple[list[str], str]:
    """Which RUNs ran, and the id of the image."""
    printed = builder.build(context, *options, **environ)
    return ran(printed), builder.call("build", "-q", *options, context, environ=environ).stdout


def test_a_build_of_which_nothing_changed_does_nothing_and_gives_the_same_image(builder: Builder) -> None:
    context = builder.context(DOCKERFILE.replace("ran-", "ran-same-"), {"src/in": "in"})
    runs, identity = built(builder, context)
    assert runs == ["ran-same-one", "ran-same-two"]
    os.utime(context / "src/in", (1, 1))
    drafts = os.stat(builder.root / "drafts").st_mtime_ns
    layers = os.stat(builder.root / "layers").st_mtime_ns
    printed = builder.build(context)
    assert ran(printed) == []
    assert printed.count(CACHED) == 8
    assert builder.call("build", "-q", context).stdout == identity
    assert os.stat(builder.root / "drafts").st_mtime_ns == drafts, "something was unpacked"
    assert os.stat(builder.root / "layers").st_mtime_ns == layers


def test_what_changed_and_what_is_on_it_is_done_again(builder: Builder) -> None:
    context = builder.context(DOCKERFILE.replace("ran-", "ran-again-"), {"src/in": "in"})
    builder.build(context)
    (context / "src/in").write_text("out")
    assert ran(builder.build(context)) == ["ran-again-two"]
    (context / "src/in").chmod(0o600)
    assert ran(builder.build(context)) == ["ran-again-two"]
    (context / "src/in").rename(context / "src/on")
    (context / "src/in").symlink_to("on")
    assert ran(builder.build(context)) == ["ran-again-two"]
    assert ran(builder.build(context, "--build-arg", "WHAT=2")) == ["ran-again-one", "ran-again-two"]
    assert ran(builder.build(context)) == []


def test_what_only_changes_settings_makes_no_command_run_again(builder: Builder) -> None:
    text = DOCKERFILE.replace("ran-", "ran-label-")
    context = builder.context(text, {"src/in": "in"})
    builder.build(context)
    (context / "Dockerfile").write_text(text.replace("LABEL a=b", "LABEL a=c\nEXPOSE 80"))
    assert ran(builder.build(context)) == []
    (context / "Dockerfile").write_text(text.replace("LABEL a=b", "ENV A=c"))
    assert ran(builder.build(context)) == ["ran-label-two"]


def test_files_of_a_stage_that_was_rebuilt_the_same_count_as_unchanged(builder: Builder) -> None:
    text = "FROM box AS made\nRUN echo $((1+1)) > /two #x\nFROM box\nCOPY --from=made /two /\nRUN echo ran-content\n"
    context = builder.context(text)
    assert ran(builder.build(context)) == ["ran-content"]
    (context / "Dockerfile").write_text(text.replace("#x", "#y"))
    assert ran(builder.build(context)) == []


def test_the_cache_can_be_left_alone_and_cleared(fresh: Builder) -> None:
    context = fresh.context("FROM box AS one\nRUN echo ran-one > /x; cat /x\nFROM box\nCOPY --from=one /x /y\n")
    assert ran(fresh.build(context, "-t", "kept")) == ["ran-one"]
    assert ran(fresh.build(context, "--no-cache", "-t", "kept")) == ["ran-one"]
    assert fresh.call("rmi", "kept").status == 0
    assert ran(fresh.build(context)) == []
    assert fresh.call("prune").status == 0
    assert os.listdir(fresh.root / "cache") == []
    assert ran(fresh.build(context)) == ["ran-one"]


def test_what_is_gone_or_damaged_is_made_again(fresh: Builder) -> None:
    context = fresh.context("FROM box\nRUN echo ran-gone; echo > /x\n")
    fresh.build(context)
    entries = list((fresh.root / "cache").iterdir())
    layers = [json.loads(entry.read_text())["layer"]["digest"].partition(":")[2] for entry in entries]
    for layer in layers:
        (fresh.root / "images/blobs/sha256" / layer).unlink()
    assert ran(fresh.build(context)) == ["ran-gone"]
    half = '{"created": "x", "layer": {"digest": "a"}, "diff_id": 1}'
    for damage in ("{}", "", "[1]", '{"created": "x", "layer": {}}', half):
        for entry in entries:
            entry.write_text(damage)
        assert ran(fresh.build(context)) == ["ran-gone"]


def test_equal_inputs_give_equal_layers_if_the_time_is_said(fresh: Builder, builder: Builder) -> None:
    text = "FROM box\nCOPY src /src\nWORKDIR /a/b\nRUN mkdir /d && echo x > /d/f && rm /etc/group\nCMD x\n"
    text += "ARG SOURCE_DATE_EPOCH\nRUN test $SOURCE_DATE_EPOCH = 1500000000\n"
    said = {"SOURCE_DATE_EPOCH": "1500000000"}
    argument = ("--build-arg", "SOURCE_DATE_EPOCH=1500000000")
    found = []
    for one, options, environ in ((fresh, (), said), (builder, argument, {})):
        context = one.context(text, {"src/in": "in", "src/deep/er": "x"})
        image = one.call("build", "-q", "--no-cache", *options, context, environ=environ).stdout.strip()
        layers = one.call("inspect", "--type", "image", "--format", "{{range .RootFS.Layers}}{{.}} {{end}}", image)
        found.append(layers.stdout.split()[1:])
    assert len(found[0]) == 3
    assert found[0] == found[1]
