#!/usr/bin/env bash
# Programs that live by fcntl's locks, over the bridge, where locks are the client's own (the default) and where they
# are shared: fcntl's cases, QEMU's images (locks of open files) and SQLite (ranges, read and then written). With
# shared ones the host's programs are kept out, too.
. "$(dirname "$0")/lib.sh"
setup_bridge qemu-img qemu-io sqlite3
WRITERS=4 ROWS=${BRIDGE_LONG:+5}25

# programs HOST: what a client runs; HOST is the share as the host sees it.
programs() {
    cat <<END
# again COMMAND…: the FUSE client does not wait for the end of a file when a program closes it, so that its locks
# go a moment later than the program.
again() {
    for i in {1..200}; do "\$@" && return; sleep 0.1; done
    return 1
}
chattr +a "$1/append-only"
lockcases "\$MNT"
chattr -a "$1/append-only"
for i in 1 2 3; do
    check "qemu-img makes an image" again qemu-img create -q -f qcow2 disk.qcow2 64M
    check "qemu-io writes it" again qemu-io -c 'write -q -P 7 0 2M' disk.qcow2
    check "qemu-img checks it" again qemu-img check -q disk.qcow2
done
mkfifo "$T/commands"
exec 8<>"$T/commands"
# The one before may not have let go yet: a file ends after its close has returned.
(for i in {1..100}; do qemu-io disk.qcow2 <"$T/commands" >/dev/null 2>&1 8>&- && break; sleep 0.1; done) 8>&- &
in_use() { ! qemu-img info disk.qcow2 >/dev/null 2>&1; }
for i in {1..50}; do in_use && sleep 1 && in_use && break; sleep 0.1; done
qemu-img resize -q disk.qcow2 +1M 2>"$T/refused"
check "an image in use is refused" grep -q 'lock' "$T/refused"
qemu-img resize -q "$1/disk.qcow2" +1M && echo host >"$T/host-resized"
exec 8>&-
wait
check "an image out of use is not" again qemu-img resize -q disk.qcow2 +1M
check "what was written is there" again qemu-io -c 'read -q -P 7 0 2M' disk.qcow2
rm "$T/commands"

sqlite3 rows.db 'create table t(who, n); pragma journal_mode=delete' >/dev/null
for who in {1..$WRITERS}; do
    (for n in {1..$ROWS}; do sqlite3 -cmd '.timeout 50000' rows.db "insert into t values(\$who, \$n)" || exit; done) &
done
wait
equal "SQLite: no row of several writers is lost" $((WRITERS * ROWS)) "\$(sqlite3 rows.db 'select count(distinct who * 1000000 + n) from t')"
equal "SQLite: nothing is broken" ok "\$(sqlite3 rows.db 'pragma integrity_check')"
END
}

for kind in local shared; do
    options=()
    [ $kind = local ] || options=(--posix-lock --flock)
    echo "# $kind"
    rm -f "$T/host-resized"
    mkdir -p "$T/$kind"
    : >"$T/$kind/append-only"
    serve $kind ${options[@]+"${options[@]}"}
    over $kind 100 <<<"$(programs "$T/$kind")"
    chattr -a "$T/$kind/append-only"
    if [ $kind = local ]; then
        equal "the host is not kept out" host "$(cat "$T/host-resized" 2>/dev/null)"
    else
        equal "the host is kept out" "" "$(cat "$T/host-resized" 2>/dev/null)"
    fi
    served $kind
done
finish
