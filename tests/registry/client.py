"""The `pyunion` command with a state directory, a home and a registries.conf of its own."""

import os
import subprocess
import sys
from pathlib import Path

from runtime.image.store import Image, ImageStore
from runtime.places import Places

_DEADLINE_S = 60
_OF_THE_TESTER = ("REGISTRY_AUTH_FILE", "XDG_CONFIG_HOME", "DOCKER_CONFIG", "SSL_CERT_FILE")
_HASTE = ("--retry-delay", "0.01")
_USUAL = {"pull": _HASTE, "push": _HASTE, "run": ("--network=none",)}


class Client:
    """One user of one machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.home.mkdir()
        self.configuration = folder / "registries.conf"
        self.configuration.write_text("")
        self.places = Places(str(folder / "root"), str(folder / "run"))
        self.store = ImageStore(self.places)
        self.store.prepare()

    def argv(self, verb: str, *arguments: object) -> list[str]:
        program = Path(sys.executable).with_name("pyunion")
        state = [f"--root={self.places.root}", f"--runroot={self.places.runroot}"]
        return [str(program), *state, verb, *_USUAL.get(verb, ()), *map(str, arguments)]

    def environ(self, **more: str) -> dict[str, str]:
        environ = {name: value for name, value in os.environ.items() if name not in _OF_THE_TESTER}
        own = {"HOME": self.home, "XDG_RUNTIME_DIR": self.folder, "CONTAINERS_REGISTRIES_CONF": self.configuration}
        return {**environ, **{name: str(path) for name, path in own.items()}, **more}

    def __call__(
        self, verb: str, *arguments: object, stdin: str = "", environ: dict[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """Run a verb to its end."""
        return subprocess.run(
            self.argv(verb, *arguments), env=self.environ(**(environ or {})),
            input=stdin, capture_output=True, text=True, timeout=_DEADLINE_S, check=False,
        )  # fmt: skip

    def succeeds(self, verb: str, *arguments: object, **keywords: str) -> str:
        """Run a verb that must end well; all it said."""
        done = self(verb, *arguments, **keywords)  # type: ignore[arg-type]
        assert done.returncode == 0, done.stderr
        return done.stderr + done.stdout

    def fails(self, verb: str, *arguments: object, **keywords: object) -> str:
        """Run a verb that must be refused, in one line that is the last; the line."""
        done = self(verb, *arguments, **keywords)  # type: ignore[arg-type]
        assert done.returncode == 1, done.stderr
        lines = [line for line in done.stderr.splitlines() if line.startswith("pyunion ")]
        assert lines == done.stderr.splitlines()[-1:], done.stderr
        return lines[0]

    def files(self, image: Image) -> set[str]:
        """Names of all that its layers hold, paths from their roots."""
        return {
            os.path.relpath(f"{where}/{name}", layer)
            for layer in self.store.layers_of(image)
            for where, _, names in os.walk(layer)
            for name in names
        }
