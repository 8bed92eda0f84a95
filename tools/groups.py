"""Docker's longer names of verbs, by what these are about: `container ls` is `ps`."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from runtime.cli.options import SYNONYMS, usage
from runtime.errors import UsageError
from runtime.places import Places


class Group(NamedTuple):
    """The verbs about one thing."""

    name: str
    about: str
    verbs: Mapping[str, str]
    """What to call instead, by the word after the group's name."""

    def short(self, arguments: Sequence[str]) -> list[str]:
        """The words to call instead: the group alone if none follows. Raises UsageError: there is no such verb."""
        word, *rest = arguments or ["--help"]
        if word == "--help":
            return [self.name]
        verb = self.verbs.get(SYNONYMS.get(word, word))
        if verb is None:
            raise UsageError(f"unknown command: {self.name} {word}")
        return [*([verb] if verb.startswith(self.name) else verb.split()), *rest]

    def __call__(self, _arguments: Sequence[str], _places: Places) -> int:
        """Tell what there is."""
        lines = "\n".join(f"  {word:<8}  pyunion {verb}" for word, verb in sorted(self.verbs.items()))
        print(usage(f"pyunion {self.name} COMMAND [ARG...]", f"{self.about}\n\nCommands:\n{lines}", ()))
        return 0


def _alike(words: str) -> dict[str, str]:
    return {word: word for word in words.split()}


builder = Group("builder", "What builds remember.", {"build": "build", "prune": "builder prune"})
container = Group(
    "container",
    "Containers.",
    {
        **_alike("attach commit cp create diff exec export kill logs pause port rename restart rm run start stats"),
        **_alike("stop top unpause update wait"),
        "inspect": "inspect --type=container",
        "ls": "ps",
        "prune": "container prune",
    },
)
image = Group(
    "image",
    "Images.",
    {
        **_alike("build history import load pull push save tag"),
        "inspect": "inspect --type=image",
        "ls": "images",
        "prune": "prune",
        "rm": "rmi",
    },
)
system = Group("system", "All of it.", {**_alike("events info"), "df": "system df", "prune": "system prune"})
