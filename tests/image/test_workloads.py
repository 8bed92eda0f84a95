"""What people do in containers, done on a real Debian of five layers through our mount."""

import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.image.conftest import Debian
from tests.support import needs
from tests.support.tree import assert_same_tree, snapshot, with_plain_links

Remount = Callable[[Debian, Path], Debian]

C_PROGRAM = r"""
mkdir -p /src && cd /src
for n in 1 2 3 4; do echo "int part$n(void) { return $n; }" > part$n.c; done
cat > main.c <<'C'
#include <math.h>
#include <stdio.h>
int part1(void), part2(void), part3(void), part4(void);
int main(void) { printf("%d %.3f\n", part1() + part2() + part3() + part4(), sqrt(2)); return 0; }
C
cat > Makefile <<'MAKE'
program: main.o part1.o part2.o part3.o part4.o
	gcc -o $@ $^ -lm
MAKE
"""


def test_a_c_program_is_compiled_and_runs(debian: Debian) -> None:
    assert debian.run(C_PROGRAM + "make -s -j4 && ./program") == "10 1.414"
    assert debian.run("cd /src && make") == "make: 'program' is up to date."
    # a header of the compiler's layer is changed: all that includes it sees the change
    assert debian.run("echo '#define M_PI 3' >> /usr/include/math.h; cd /src && rm main.o && make -s && ./program") == (
        "10 1.414"
    )


def test_a_running_program_may_be_replaced_but_not_written(debian: Debian) -> None:
    script = """
        cp /bin/sleep /opt/snooze; /opt/snooze 60 & sleep 0.2
        (echo x >> /opt/snooze) 2>&1 | grep -o 'Text file busy'
        cp /bin/true /opt/new && mv /opt/new /opt/snooze && /opt/snooze
        kill $!
    """
    assert debian.run(script) == "Text file busy"


def test_python_imports_its_library_and_compiles_it(debian: Debian) -> None:
    names = "asyncio, ctypes, decimal, email, json, sqlite3, ssl, unittest, xml.dom, sys"
    assert debian.run(f"python3 -c 'import {names}; print(sys.version_info[:2])'") == "(3, 11)"
    debian.run("python3 -m compileall -q -j2 /opt/app")
    code = "import json, json.decoder; print(json.__file__, json.decoder.__cached__)"
    assert debian.run(f"cd /opt/app && python3 -c '{code}'").split() == [
        "/opt/app/json/__init__.py", "/opt/app/json/__pycache__/decoder.cpython-311.pyc",
    ]
    # pdb.py is deleted by an upper layer
    assert debian.run("python3 -c 'import pdb' 2>&1 || true").endswith("ModuleNotFoundError: No module named 'pdb'")


def test_a_package_is_installed_and_purged(debian: Debian) -> None:
    debian.run("apt-get -y -qq --no-install-recommends --no-download -o Dpkg::Use-Pty=0 install bc")
    assert debian.run("echo '2^100' | bc") == "1267650600228229401496703205376"
    assert debian.run("dpkg -s bc | grep ^Status") == "Status: install ok installed"
    assert debian.run("dpkg --verify bc | grep -v /usr/share/doc || true") == ""
    debian.run("apt-get -y -qq -o Dpkg::Use-Pty=0 purge bc")
    assert debian.run("command -v bc || echo gone") == "gone"
    assert debian.run("dpkg --audit") == ""


def test_a_tree_goes_out_and_in_through_tar(debian: Debian, tmp_path: Path) -> None:
    keep_all = "--xattrs --xattrs-include=* --acls --sparse --numeric-owner"
    out = tmp_path / "out"
    out.mkdir()
    subprocess.run(
        f"tar -C {debian.root}/opt {keep_all} -cf - . | tar -C {out} {keep_all} -xpf -", shell=True, check=True
    )
    expected = with_plain_links(snapshot(debian.root / "opt"))
    assert_same_tree(expected, with_plain_links(snapshot(out)))
    debian.run(f"mkdir /srv/in && tar -C /opt {keep_all} -cf - . | tar -C /srv/in {keep_all} -xpf -")
    assert_same_tree(expected, with_plain_links(snapshot(debian.root / "srv/in")))
    # a second unpacking over the first replaces every file
    debian.run(f"tar -C /opt {keep_all} -cf - . | tar -C /srv/in {keep_all} -xpf -")
    assert_same_tree(expected, with_plain_links(snapshot(debian.root / "srv/in")))


GIT = "git -C /opt/app -c user.name=a -c user.email=a@b.c -c init.defaultBranch=main"


def test_git_keeps_a_repository_in_a_lower_tree(debian: Debian) -> None:
    debian.run(f"{GIT} init -q && {GIT} add . && {GIT} commit -q -m first && {GIT} fsck --strict")
    assert debian.run(f"{GIT} status --porcelain") == ""
    debian.run(f"{GIT} mv email post && rm -r /opt/app/json && {GIT} add -A && {GIT} commit -q -m second")
    debian.run(f"{GIT} checkout -q HEAD~ && {GIT} checkout -q main && {GIT} gc -q && {GIT} fsck --strict")
    assert debian.run(f"{GIT} status --porcelain") == ""


def test_git_sees_nothing_changed_after_a_remount(debian: Debian) -> None:
    """git takes a file for changed when its inode number or ctime is another one."""
    debian.run(f"{GIT} init -q && {GIT} add . && {GIT} commit -q -m first")
    debian.mounted.remount()
    # diff-files trusts the index alone, where `status` would read the files and forgive
    assert debian.run(f"{GIT} diff-files | wc -l") == "0"


WAL = """
import sqlite3, sys
base, worker = int(sys.argv[1]), sys.argv[2]
db = sqlite3.connect("/srv/test.db", timeout=60, isolation_level=None)
assert db.execute("pragma journal_mode").fetchone() == ("wal",)
for n in range(base, base + 100):
    db.execute("insert into t values (?, ?)", (n, worker))
assert db.execute("select count(*) from t where n between ? and ?", (base, base + 99)).fetchone() == (100,)
"""


def test_two_processes_share_an_sqlite_database_with_wal(debian: Debian, commit: Remount, tmp_path: Path) -> None:
    (debian.root / "srv/wal.py").write_text(WAL)
    debian.run("sqlite3 /srv/test.db 'pragma journal_mode=wal; create table t (n integer primary key, worker text)'")
    debian.run("python3 /srv/wal.py 0 a & one=$!; python3 /srv/wal.py 100 b; wait $one")
    assert debian.run("sqlite3 /srv/test.db 'pragma integrity_check; select count(*) from t'") == "ok\n200"
    # the database becomes a lower file and goes on
    again = commit(debian, tmp_path / "upper2")
    again.run("python3 /srv/wal.py 200 a & one=$!; python3 /srv/wal.py 300 b; wait $one")
    assert again.run("sqlite3 /srv/test.db 'pragma integrity_check; select count(*) from t'") == "ok\n400"


def test_dpkg_finds_the_packages_as_they_are_on_kernel_overlayfs(debian: Debian, oracle: Debian) -> None:
    expected = oracle.run("dpkg --verify || true")
    assert "missing     /usr/lib/python3.11/pdb.py" in expected
    assert debian.run("dpkg --verify || true") == expected


def test_a_committed_layer_is_worked_on(debian: Debian, commit: Remount, tmp_path: Path) -> None:
    debian.run("rm -r /opt/app/email && mkdir /opt/app/email && echo new > /opt/app/email/only")
    debian.run("mv /opt/app/json /opt/js")
    before = snapshot(debian.root / "opt")
    again = commit(debian, tmp_path / "upper2")
    assert_same_tree(before, snapshot(again.root / "opt"))
    again.run("rm /opt/js/decoder.py && mv /opt/js /opt/app/json && rm -r /opt/app/email")
    assert not (again.root / "opt/app/email").exists()
    third = commit(again, tmp_path / "upper3")
    assert sorted(path.name for path in (third.root / "opt/app/json").glob("*.py")) == [
        "__init__.py", "encoder.py", "scanner.py", "tool.py",
    ]


def test_a_whole_tree_is_removed_and_made_again(debian: Debian) -> None:
    debian.run("rm -r /usr/lib/python3.11 && mkdir /usr/lib/python3.11 && cp -a /opt/app/. /usr/lib/python3.11/")
    assert debian.run("python3 -c 'import json; print(json.dumps([1]))'") == "[1]"


def test_ownership_of_a_tree_is_changed(debian: Debian, tmp_path: Path) -> None:
    before = with_plain_links(snapshot(debian.root / "opt/app"))
    debian.run("chown -R 1000:1000 /opt/app")
    after = with_plain_links(snapshot(debian.root / "opt/app"))
    assert {(entry.uid, entry.gid) for entry in after.values()} == {(1000, 1000)}
    assert_same_tree(before, after, ignore={"uid", "gid"})


def test_the_mount_becomes_a_root_directory(debian: Debian) -> None:
    """By pivot_root as a container's does, for a user without privileges."""
    needs.commands("unshare", "setpriv")
    script = """
        cd "$0"; mount -t proc proc proc; pivot_root . mnt; umount -l /mnt
        exec chroot . setpriv --reuid 1000 --regid 1000 --clear-groups \\
            sh -c 'id -u; touch /tmp/mine; touch /mine || true'
    """
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", script, str(debian.root)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout == "1000\n"
    assert result.stderr == "touch: cannot touch '/mine': Permission denied\n"
    assert (debian.root / "tmp/mine").stat().st_uid == 1000


def test_many_processes_work_on_the_same_lower_files(debian: Debian) -> None:
    """Each appends to the same files, changes the same tree's modes and makes a copy of it."""
    script = """
        worker() {
            for n in $(seq 50); do echo "$1 $n" >> /etc/services; echo "$1 $n" >> /opt/app/os.py; done
            chmod -R g+w /opt/app/asyncio; cp -a /opt/app/xml /srv/xml$1; mv /srv/xml$1 /srv/done$1
            while read -r file; do mv "$file" "$file.moved" 2> /dev/null || true; done < /srv/list
        }
        find /opt/app/email -type f > /srv/list
        for n in 1 2 3 4 5 6; do worker $n & done; wait
        grep -cE '^[1-6] [0-9]+$' /etc/services; grep -cE '^[1-6] [0-9]+$' /opt/app/os.py
        ls /srv; wc -l < /srv/list; find /opt/app/email -type f -name '*.moved' | wc -l
        find /opt/app/asyncio ! -perm -g+w | wc -l
    """
    lines = debian.run(script).split()
    copies = [f"done{n}" for n in range(1, 7)]
    assert lines[:2] == ["300", "300"]
    assert lines[2:9] == [*copies, "list"]
    assert lines[9] == lines[10]
    assert lines[11] == "0"
    one, *others = [with_plain_links(snapshot(debian.root / "srv" / copy)) for copy in copies]
    for other in others:
        assert_same_tree(one, other)
