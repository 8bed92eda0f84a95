"""What goes wrong with a build, as a refusal for the person at the terminal."""

from runtime.errors import Refusal


class BuildError(Refusal):
    """A Dockerfile or one of its instructions can't be carried out; 1 is the status with which `docker build` fails."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message, status)
