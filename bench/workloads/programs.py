"""Programs that start and work inside the union: an interpreter, a compiler, git, a database."""

import sqlite3
from contextlib import closing

from bench.stacks import APP, image
from bench.workload import Place, Row, workload

_IMPORTS = (
    "import asyncio, argparse, csv, ctypes, decimal, difflib, email.mime.multipart, http.client, http.server, inspect, "
    "json, logging.handlers, multiprocessing.pool, pydoc, sqlite3, ssl, statistics, tarfile, unittest, urllib.request, "
    "xml.dom.minidom, xmlrpc.client, zipfile; import sys; print(len(sys.modules) > 200)"
)
_SOURCES = 8
_SOURCE = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/stat.h>
int part%(number)d(int argument) { struct stat status; return stat("/", &status) + argument + (int) strlen("text"); }
"""
_GIT = f"""
    cd /{APP}; git init -q .; git add -A .
    git -c user.name=n -c user.email=e commit -q -m all; git ls-files
"""


@workload(image, Row("start of python3, cold", 1.4), Row("start of python3, warm", 1.1), shared=True)
def python_start(place: Place) -> object:
    """The image's python3 with 25 imports of the standard library."""
    command = ("/usr/bin/python3", "-B", "-c", _IMPORTS)
    with place.timed("start of python3, cold", cold=True):
        said = place.inside(*command)
    with place.timed("start of python3, warm"):
        assert place.inside(*command) == said
    return said


@workload(image, Row("gcc, 8 small files", 1.05), writes=True)
def gcc(place: Place) -> object:
    """Compile eight sources by the image's gcc, one process each, and link them; the second time."""
    folder = place.merged / "root"
    for number in range(_SOURCES):
        (folder / f"part{number}.c").write_text(_SOURCE % {"number": number})
    (folder / "main.c").write_text("int main(void) { return 0; }\n")
    parts = " ".join(f"part{number}" for number in range(_SOURCES))
    script = f"cd /root; for part in {parts} main; do gcc -O1 -c $part.c; done; gcc -o all *.o; ./all; ls"
    place.inside("/bin/sh", "-ec", script)
    with place.timed("gcc, 8 small files"):
        return place.inside("/bin/sh", "-ec", script)


@workload(image, Row("git add + commit of that tree", 1.2), writes=True)
def git(place: Place) -> object:
    """git init, add and commit of the application by the image's git; the repository is in the union."""
    with place.timed("git add + commit of that tree"):
        said = place.inside("/bin/sh", "-ec", _GIT)
    return said.count(b"\n")


@workload(image, Row("SQLite, 100 transactions", 1.1), writes=True)
def sqlite(place: Place) -> object:
    """Insert a row in a transaction of its own, each synced, in a new database."""
    with closing(sqlite3.connect(place.merged / "root/data.db", isolation_level=None)) as connection:
        connection.execute("create table numbers (number integer primary key, text text)")
        with place.timed("SQLite, 100 transactions"):
            for number in range(100):
                connection.execute("insert into numbers values (?, ?)", (number, "x" * 100))
        return connection.execute("select sum(number), count(*) from numbers").fetchone()
