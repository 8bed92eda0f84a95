"""What instructions make of an image's configuration, as `commit --change` and `import --change` use them, too."""

from typing import Any

import pytest

from runtime.build.errors import BuildError
from runtime.build.settings import changing

CASES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("CMD ls /", {}, {"Cmd": ["/bin/sh", "-c", "ls /"]}),
    ('cmd ["ls", "/"]', {}, {"Cmd": ["ls", "/"]}),
    ("CMD x", {"Shell": ["bash", "-c"]}, {"Cmd": ["bash", "-c", "x"]}),
    ("ENTRYPOINT []", {"Entrypoint": ["x"]}, {"Entrypoint": []}),
    ("ENV A=1 B='2 3'", {"Env": ["B=0", "C=4"]}, {"Env": ["B=2 3", "C=4", "A=1"]}),
    ("ENV A one $B", {"Env": ["B=x"]}, {"Env": ["B=x", "A=one x"]}),
    ("ENV A=1 B=$A", {"Env": ["A=0"]}, {"Env": ["A=1", "B=0"]}),
    ("LABEL a=b c=", {"Labels": {"x": "y"}}, {"Labels": {"x": "y", "a": "b", "c": ""}}),
    ("EXPOSE 80 53/UDP 8-9", {}, {"ExposedPorts": {"80/tcp": {}, "53/udp": {}, "8/tcp": {}, "9/tcp": {}}}),
    ('VOLUME ["/a b", "/c"]', {"Volumes": {"/d": {}}}, {"Volumes": {"/d": {}, "/a b": {}, "/c": {}}}),
    ("VOLUME /a /c", {}, {"Volumes": {"/a": {}, "/c": {}}}),
    ("USER $WHO", {"Env": ["WHO=alice"]}, {"User": "alice"}),
    ("WORKDIR b/../c", {"WorkingDir": "/a"}, {"WorkingDir": "/a/c"}),
    ("WORKDIR /b", {"WorkingDir": "/a"}, {"WorkingDir": "/b"}),
    ("STOPSIGNAL SIGRTMIN+3", {}, {"StopSignal": "SIGRTMIN+3"}),
    ("HEALTHCHECK NONE", {}, {"Healthcheck": {"Test": ["NONE"]}}),
    ("HEALTHCHECK --timeout=1.5s CMD [\"a\"]", {}, {"Healthcheck": {"Test": ["CMD", "a"], "Timeout": 1_500_000_000}}),
    ("HEALTHCHECK CMD\ttest -f /x", {}, {"Healthcheck": {"Test": ["CMD-SHELL", "test -f /x"]}}),
    ("ONBUILD RUN x", {"OnBuild": ["ADD . /"]}, {"OnBuild": ["ADD . /", "RUN x"]}),
]  # fmt: skip


@pytest.mark.parametrize(("text", "before", "changed"), CASES)
def test_an_instruction_changes_what_it_is_about(
    text: str, before: dict[str, Any], changed: dict[str, Any]
) -> None:
    run = {**before, "Kept": 1}
    changing([text])(run)
    env = {"Env": before["Env"]} if "Env" in before else {}
    assert run == {**env, **before, "Kept": 1, **changed}


@pytest.mark.parametrize(
    "text",
    [
        "", "RUN x", "COPY a b", "FROM x", "ENV a=b c", "ENV a", "LABEL =x", "EXPOSE 0", "EXPOSE 1/x", "STOPSIGNAL -1",
        "HEALTHCHECK CMD", "HEALTHCHECK --interval=5 CMD x", "HEALTHCHECK --retries=x CMD x", "SHELL sh", "ONBUILD",
        "USER $NO",
    ],
)  # fmt: skip
def test_what_is_no_change_is_refused(text: str) -> None:
    with pytest.raises(BuildError, match=r"change .*: "):
        changing([text])({})
