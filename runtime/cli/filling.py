"""New volumes get what the image has in their place, as Docker's do."""

import errno
import os
import stat

from runtime.container import copy
from runtime.container.carry import Target, packed
from runtime.container.config import Config, Volume
from runtime.container.record import Container
from runtime.container.roots import mounted
from runtime.errors import Refusal, describe
from runtime.trees import copy_attributes


def fill(container: Container, config: Config, lock: int) -> None:
    """Fill the empty ones of a container that was never started; `config` is written. Raises Refusal."""
    empty = [volume for volume in config.volumes if volume.name and volume.copies and not os.listdir(volume.source)]
    if not empty:
        return
    with mounted(container, lock) as root:
        for volume in empty:
            try:
                _fill(root, volume)
            except OSError as error:
                raise Refusal(f"volume at {volume.target}: {describe(error)}") from None


def _fill(root: int, volume: Volume) -> None:
    """The content of a directory, and what the directory itself is like; where the image has none, nothing."""
    try:
        source = copy.resolve(root, os.fsencode(volume.target), follow=True)
    except (FileNotFoundError, NotADirectoryError):
        return
    target = os.open(volume.source, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if not stat.S_ISDIR(os.fstat(source).st_mode):
            raise NotADirectoryError(errno.ENOTDIR, "the image has something there that is no directory")
        with packed(lambda: source) as stream:
            stream.unpack(Target(copy.below(target), b""), None)
        copy_attributes(f"/proc/self/fd/{source}/.", volume.source)
    finally:
        os.close(source)
        os.close(target)
