"""What goes wrong with registries, by what can be done about it."""

from runtime.image.errors import ImageError


class RegistryError(ImageError):
    """A registry can't be used, or doesn't do what was asked."""


class Unreachable(RegistryError):
    """No answer, or an answer that means `later`: another mirror may do better."""


class NoConnection(Unreachable):
    """No connection came about: a wrong name, more often than not, if none ever did."""


class NoTls(NoConnection):
    """Somebody is there, but doesn't speak TLS."""


class Absent(RegistryError):
    """The registry answered that it has no such thing."""


class Denied(RegistryError):
    """The registry wants to know who asks, or knows and refuses."""


class Mismatch(RegistryError):
    """A registry sent what it should not have: it is broken, or somebody is in the middle."""
