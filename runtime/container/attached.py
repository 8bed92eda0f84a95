"""How a container is on its networks, as its monitor sees to it: from the texts in its /etc to names while it runs.

Root's containers are on bridges, an ordinary user's behind pasta or slirp4netns. Whatever serves them is imported when
it is needed: many containers are on no network of ours.
"""

from runtime.container import network
from runtime.container.config import Config
from runtime.container.record import Container
from runtime.errors import Refusal


def texts(container: Container, config: Config, *, is_root: bool) -> tuple[bytes, bytes]:
    """Those of /etc/hosts and /etc/resolv.conf. What is to be had of a network of ours is taken. Raises Refusal."""
    if network.is_ours(config) and is_root:
        from runtime.network import attach, wanted

        return attach.prepare(container.places, container.id, config.name, config.hostname, wanted.read(config))
    if network.is_ours(config):
        from runtime.network import userland, wanted

        return userland.prepare(config.hostname, config.network, wanted.read(config))
    if config.network.startswith("container:"):
        from runtime.network import attach, wanted

        other = Container(container.places, config.network.removeprefix("container:"))
        names = (other.config().hostname, config.hostname)
        return attach.shared(other.places, other.id, names, wanted.read(other.config()))
    if config.networks:
        from runtime.network import files, wanted

        return files.plain(config.hostname, wanted.read(config))
    return network.hosts(config.hostname), network.resolv_conf()


def connect(container: Container, config: Config, pid: int, namespace: int | None) -> None:
    """Connect the network namespace of the first process, `pid`. Raises Refusal.

    An ordinary user's is given by its descriptor, `namespace`, as it can't be opened by its process.
    """
    from runtime.network import attach, userland, wanted

    asked = wanted.read(config)
    if namespace is None:
        attach.attach(container.places, container.id, asked, pid)
    else:
        userland.attach(container.places, container.id, config.network, asked, namespace)


def follow(container: Container, config: Config, pid: int, pidfd: int) -> str:
    """The container is on other networks now: have it know its addresses, and find names. Nothing, or why not."""
    from runtime.container import ownfile
    from runtime.network import attach, wanted

    asked = wanted.read(config)
    try:
        own_lines = attach.own_lines(container.places, container.id, config.hostname, asked)
        ownfile.rewrite(pidfd, b"hosts", own_lines)
        text = attach.serve_names(container.places, container.id, asked, pid)
        if text:
            ownfile.rewrite(pidfd, b"resolv.conf", lambda _: text)
    except Refusal as error:
        return str(error)
    return ""
