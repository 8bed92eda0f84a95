"""Credential helpers: programs `docker-credential-NAME` that keep secrets for Docker and Podman.

They take a verb, a server on standard input, and answer in JSON. A user name of `<token>` marks an identity token.
"""

import json
import re
import subprocess

from runtime.image.registry.errors import RegistryError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_MOST_S = 60
TOKEN_USER = "<token>"


def get(name: str, server: str) -> tuple[str, str] | None:
    """User and secret for `server`, or None if the helper has none. Raises RegistryError."""
    status, output = _call(name, "get", server)
    if status != 0:
        if "not found" in output.lower():
            return None
        raise RegistryError(f"credential helper docker-credential-{name}: {_first_line(output) or f'status {status}'}")
    try:
        answer = json.loads(output)
        user, secret = answer["Username"], answer["Secret"]
    except (ValueError, KeyError, TypeError):
        raise RegistryError(f"credential helper docker-credential-{name}: it answered what it should not") from None
    return str(user), str(secret)


def store(name: str, server: str, user: str, secret: str) -> None:
    """Have the helper keep a secret. Raises RegistryError."""
    text = json.dumps({"ServerURL": server, "Username": user, "Secret": secret})
    _must(name, "store", text)


def erase(name: str, server: str) -> None:
    """Have the helper forget a secret. Raises RegistryError."""
    _must(name, "erase", server)


def _must(name: str, verb: str, text: str) -> None:
    status, output = _call(name, verb, text)
    if status != 0:
        raise RegistryError(f"credential helper docker-credential-{name}: {_first_line(output) or f'status {status}'}")


def _call(name: str, verb: str, text: str) -> tuple[int, str]:
    if not _NAME.fullmatch(name):
        raise RegistryError(f"credential helper {name!r}: that is no name of a program")
    program = f"docker-credential-{name}"
    try:
        done = subprocess.run([program, verb], input=text, capture_output=True, text=True, timeout=_MOST_S, check=False)
    except FileNotFoundError:
        raise RegistryError(f"credential helper {program} is not installed, but a login file names it") from None
    except subprocess.TimeoutExpired:
        raise RegistryError(f"credential helper {program} did not answer in {_MOST_S} seconds") from None
    except OSError as error:
        raise RegistryError(f"credential helper {program}: {error.strerror}") from None
    return done.returncode, done.stdout or done.stderr


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0]
