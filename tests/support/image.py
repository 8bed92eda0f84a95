"""A real image for the tests: Debian in five layers, as directories in kernel overlayfs's format.

    image.layers                # paths, uppermost first, ready for lowerdir=; never write into them
    debian_image()              # the same outside pytest; builds it when this machine has none yet

| layer    | made by                                                                          |
| base     | mmdebstrap, variant minbase, bookworm; apt's lists kept                           |
| python   | apt-get install python3 git sqlite3                                               |
| compiler | apt-get install gcc libc6-dev make                                                |
| removed  | files and a directory deleted, a directory replaced by an opaque one              |
| app      | the standard library copied to /opt/app; hard links, a FIFO, devices, a sparse    |
|          | file, ACLs, a capability, xattrs, a renamed directory (a redirect) in /opt/odd;   |
|          | bc's package in apt's cache, to be installed without a network                    |

Built once (a minute or two), then kept; see tests/support/debian.py.
"""

import functools
from dataclasses import dataclass
from pathlib import Path

from tests.support.debian import INSTALL, BuildError, debian_stack, stack_folder

SCRIPTS = {
    "python": f"{INSTALL} python3 git sqlite3; apt-get clean",
    "compiler": f"{INSTALL} gcc libc6-dev make; apt-get clean",
    "removed": """
        rm -r /usr/share/doc /etc/terminfo
        rm /usr/bin/perl5* /usr/share/common-licenses/GPL /etc/motd /usr/lib/python3.11/pdb.py
        rm -r /usr/share/locale; mkdir -m 2751 /usr/share/locale; echo new > /usr/share/locale/only
    """,
    "app": f"""
        mkdir -p /opt/app; cp -a /usr/lib/python3.11/. /opt/app/; rm -rf /opt/app/test
        cd /opt; mkdir odd; cd odd
        echo one > name; ln name second; mkdir deep; ln name deep/third; ln -s ../app/os.py link
        mkfifo -m 640 fifo; mknod -m 620 null c 1 3; mknod -m 660 disk b 7 200
        echo data > owned; chown 1234:4321 owned; chmod 6754 owned; touch -d 2001-02-03T04:05:06.7 owned
        dd if=/dev/zero of=sparse bs=1 count=1 seek=8M status=none; echo end >> sparse
        mkdir sticky; chmod 3777 sticky
        printf 'x' > "$(printf 'colon:comma,back\\\\slash new\\nline \\377')"
        python3 - <<'PYTHON'
import os, struct
entry = lambda tag, perm, who=0xFFFFFFFF: struct.pack('<HHI', tag, perm, who)
acl = struct.pack('<I', 2) + entry(1, 7) + entry(2, 5, 1234) + entry(4, 5) + entry(16, 7) + entry(32, 0)
os.mkdir('acl')
os.setxattr('acl', 'system.posix_acl_access', acl)
os.setxattr('acl', 'system.posix_acl_default', acl)
os.setxattr('owned', 'user.note', b'\\x00binary\\xff')
os.setxattr('name', 'security.capability', struct.pack('<IIIII', 0x02000001, 1 << 10, 0, 0, 0))
PYTHON
        mv /usr/lib/python3.11/xmlrpc /opt/odd/moved; echo new > /opt/odd/moved/added
        {INSTALL} --download-only bc
    """,
}
"""Layer name to the shell script that makes it, bottom first; part of the cache's key as it stands."""


@dataclass(frozen=True)
class Image:
    """A stack of layers on disk."""

    layers: tuple[Path, ...]    # uppermost first

    def layer(self, name: str) -> Path:
        """The directory of one layer by its name in the table above."""
        return next(layer for layer in self.layers if layer.name.endswith(name))


@functools.cache
def debian_image() -> Image:
    """Find the stack in the cache, or build it there. Raises BuildError."""
    return Image(debian_stack(SCRIPTS))


def main() -> None:
    """Build the stack unless it is there, with a word to whoever waits (`python -m tests.support.image`)."""
    if not stack_folder(SCRIPTS).is_dir():
        print("Building the tests' Debian image (once on a machine)", flush=True)
    try:
        debian_image()
    except BuildError as error:
        print(f"The tests that need the image will not run: {error}", flush=True)


if __name__ == "__main__":
    main()
