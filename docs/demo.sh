#!/bin/sh
# `make demo`: a container whose root filesystem is this machine's own, with a writable layer on top; what it changes,
# and that the machine's own files stay as they are. Needs root. Takes its container away again, however it ends.
set -eu
cd "$(dirname "$0")/.."
[ "$(id -u)" = 0 ] || { echo "The demo makes namespaces and mounts: run it as root (sudo make demo)." >&2; exit 1; }

name="demo-$$"
pyunion=.venv/bin/pyunion
files="/etc/passwd /etc/group"
trap '$pyunion rm "$name" > /dev/null 2>&1 || true' EXIT

say() { printf '\n%s\n' "$*"; }
count_processes() { set -- /proc/[0-9]*; echo $#; }
before=$(cksum $files)

say "This machine is $(uname -n); it runs $(count_processes) processes in $(readlink /proc/self/ns/pid)."
say "$ pyunion run --host --network none --name $name --hostname paradise sh -c '…'"
# shellcheck disable=SC2016
"$pyunion" run --host --network none --name "$name" --hostname paradise sh -ec '
    set -- /proc/[0-9]*
    echo "  hostname        $(uname -n)"
    echo "  root            $(while read -r device place type rest; do
                                [ "$place" = / ] && echo "$type, mounted from $device"; done < /proc/mounts)"
    echo "  processes       $# in $(readlink /proc/self/ns/pid)"
    echo "  this command    pid $$, child of pid $PPID ($(tr -d "\0" < /proc/$PPID/cmdline))"
    echo "eve::1000:1000::/:/bin/sh" >> /etc/passwd
    echo "  changed         /etc/passwd: the last line is now $(tail -n 1 /etc/passwd)"
    rm /etc/group
    echo "  deleted         /etc/group: $(cat /etc/group 2>&1 || true)"
'
say "Out again. This machine's own files:"
[ "$(cksum $files)" = "$before" ] || { echo "CHANGED: this must not happen" >&2; exit 1; }
for file in $files; do
    echo "  $file: as it was, $(wc -l < "$file") lines, the last one is $(tail -n 1 "$file")"
done
say "$ pyunion diff $name        (A added, C changed, D deleted)"
"$pyunion" diff "$name" | sed 's/^/  /'
say "$ pyunion rm $name"
"$pyunion" rm "$name" | sed 's/^/  /'
