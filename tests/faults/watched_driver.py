"""Becomes the mount program with every system call handed to the test: `watched_driver.py SOCKET ARGUMENTS…`."""

import os
import socket
import sys

from tests.support import syscalls


def main() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.connect(sys.argv[1])
        socket.send_fds(connection, [b"watched"], [syscalls.watch()])
    os.execv(sys.executable, [sys.executable, "-m", "unionfs", *sys.argv[2:]])


if __name__ == "__main__":
    main()
