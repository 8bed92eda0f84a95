"""The verbs that speak with registries: `pull`, `push`, `login` and `logout`."""

import os
import sys
from typing import TYPE_CHECKING

from runtime.cli.flags.tables import PLATFORM
from runtime.cli.options import Option, Parsed, verb
from runtime.errors import UsageError
from runtime.places import Places

if TYPE_CHECKING:
    from runtime.image.registry.registries import Access

_ACCESS = (
    Option("authfile", "the login file to use instead of the usual ones", "", "FILE"),
    Option("cert-dir", "where certificates are: *.crt of authorities, *.cert and *.key of ours", "", "DIR"),
    Option("tls-verify", "check who the registry is (the default); =false doesn't, and allows plain HTTP"),
)
_TRANSFER = (
    *_ACCESS,
    Option("creds", "user and password, instead of a login", "", "USER[:PASSWORD]"),
    Option("quiet", "say nothing but what came of it", "q"),
    Option("retry", "how often to try what may pass, in all (default: 5)", "", "TIMES"),
    Option("retry-delay", "seconds until the second time, doubling from then on (default: 1)", "", "SECONDS"),
    Option("stall-timeout", "seconds without a byte until a connection is given up (default: 60)", "", "SECONDS"),
)
_PULL = (*_TRANSFER, PLATFORM)
_LOGIN = (
    *_ACCESS,
    Option("password", "password; better typed, or given on standard input", "p", "PASSWORD"),
    Option("password-stdin", "take the password from standard input"),
    Option("username", "user name", "u", "USER"),
)
_LOGOUT = (Option("all", "forget all logins", "a"), _ACCESS[0])
_HUB = "docker.io"


@verb("pull", "NAME[:TAG|@DIGEST]", "Fetch an image from a registry.", _PULL, least=1, most=1)
def pull(options: Parsed, places: Places) -> int:
    """`pyunion pull`. Raises Refusal."""
    from runtime.cli.flags.platform import read as read_platform
    from runtime.cli.images import open_store
    from runtime.image.reference import parse_reference
    from runtime.image.registry.progress import make_progress
    from runtime.image.registry.pull import pull as pull_image
    from runtime.image.registry.registries import Registries

    reference = parse_reference(options.words[0].removeprefix("docker://"))
    platform = read_platform(options)
    registries = Registries(_access(options))
    image = pull_image(open_store(places), registries, reference, make_progress(options.on("quiet")), platform)
    if not options.on("quiet"):
        print(f"Digest: {image.descriptor.digest}")
    print(reference)
    return 0


@verb(
    "push",
    "IMAGE [NAME[:TAG]]",
    "Send an image to the registry that its name names, or another that is given.",
    _TRANSFER,
    least=1,
    most=2,
)
def push(options: Parsed, places: Places) -> int:
    """`pyunion push`. Raises Refusal."""
    from runtime.cli.images import open_store
    from runtime.image.reference import parse_reference
    from runtime.image.registry.progress import make_progress
    from runtime.image.registry.push import push as push_image
    from runtime.image.registry.registries import Registries

    reference = parse_reference(options.words[-1].removeprefix("docker://"))
    store = open_store(places)
    image = store.resolve(options.words[0])
    sent = push_image(store, Registries(_access(options)), image, reference, make_progress(options.on("quiet")))
    print(sent.digest if not options.on("quiet") else reference)
    return 0


@verb("login", "[REGISTRY]", "Log in to a registry (Docker Hub).", _LOGIN, most=1)
def login(options: Parsed, places: Places) -> int:
    """`pyunion login`. Raises Refusal."""
    from runtime.image.registry.credentials import Credential
    from runtime.image.registry.registries import Registries, check_host

    host = check_host(options.words[0] if options.words else _HUB)
    registries = Registries(_access(options))
    credential = Credential(*_ask(options, host))
    repository, authority = registries.at_login(host, credential)
    repository.ping()
    kept_in = registries.logins.add(host, credential._replace(realm=authority.realm))
    print(f"Login Succeeded (kept in {kept_in})")
    return 0


@verb("logout", "[REGISTRY]", "Forget the login at a registry (Docker Hub).", _LOGOUT, most=1)
def logout(options: Parsed, places: Places) -> int:
    """`pyunion logout`: 1 if there was no such login. Raises Refusal."""
    from runtime.image.registry.credentials import login_files
    from runtime.image.registry.registries import check_host

    logins = login_files(options.one("authfile"))
    hosts = logins.hosts() if options.on("all") else [check_host(options.words[0] if options.words else _HUB)]
    status = 0
    for host in hosts:
        if logins.remove(host):
            print(f"Removing login credentials for {host}")
        else:
            print(f"pyunion logout: not logged in to {host}", file=sys.stderr)
            status = 1
    return status


def _access(options: Parsed) -> "Access":
    from runtime.image.registry.credentials import Credential
    from runtime.image.registry.registries import Access
    from runtime.image.registry.transport import Patience

    user, _, password = options.one("creds").partition(":")
    usual = Patience()
    patience = Patience(
        attempts=max(1, int(_number(options, "retry", usual.attempts))),
        first_wait_s=_number(options, "retry-delay", usual.first_wait_s),
        stall_s=_number(options, "stall-timeout", usual.stall_s) or usual.stall_s,
    )
    return Access(
        tls_verify=options.on("tls-verify") if options.many("tls-verify") else None,
        authfile=options.one("authfile"),
        cert_dir=options.one("cert-dir"),
        credential=Credential(user, password) if user else None,
        patience=patience,
    )


def _number(options: Parsed, name: str, default: float) -> float:
    text = options.one(name)
    if not text:
        return default
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < 1e9:
        raise UsageError(f"invalid --{name} {text!r}: it is no number of that kind")
    return number


def _ask(options: Parsed, host: str) -> tuple[str, str]:
    """User and password, from the options, standard input or the terminal."""
    user, password = options.one("username"), options.one("password")
    if options.on("password-stdin"):
        if not user or password:
            raise UsageError("--password-stdin goes with --username, and not with --password")
        password = sys.stdin.readline().rstrip("\r\n")
    elif not (user and password) and not os.isatty(0):
        raise UsageError("there is no terminal to ask on: give --username and --password-stdin")
    if not user:
        user = input(f"User at {host}: ")
    if not password and not options.on("password-stdin"):
        from getpass import getpass

        password = getpass("Password: ")
    if not user or not password or ":" in user:
        raise UsageError("a login needs a user, in whose name is no colon, and a password")
    return user, password
