#!/usr/bin/env bash
# Programs that people run on file systems, over the bridge, each judging its own result: sqlite in each journal mode
# with three writers, rsync with links, ACLs and attributes compared by checksum, cp and diff, tar, Python's venv, an
# image with a file system of its own, an overlay; and, in the long form, dbench, bonnie++ and postmark, under several
# cache policies. What is not installed is left out, with a word.
# shellcheck disable=SC2016,SC2154 # the inner shells' own; from is the script's
. "$(dirname "$0")/lib.sh"
setup_bridge sqlite3 tar python3
source=$TOP/tests # a tree of some hundred files; the long form has some thousand
[ -z "${BRIDGE_LONG:-}" ] || source=/usr/lib/python3

# programs NAME [DAEMON OPTION]…
programs() {
    local name=$1
    shift
    serve "$name" --modcaps=+sys_admin "$@"
    over "$name" 900 <<END || return
name=$name long=${BRIDGE_LONG:-} from=$source
$(declare -f with copied trees databases image overlay venv benchmarks)
with "" databases
with "" trees
with rsync copied
with mkfs.ext4 image
with "" overlay
with "" venv
[ -z "\$long" ] || benchmarks
END
    served "$name"
}

# with PROGRAM FUNCTION: in a directory of its own, if the machine has that program.
with() {
    if [ -n "$1" ] && ! type -P "$1" >/dev/null; then
        echo "# $2 left out: no $1"
        return
    fi
    mkdir "$MNT/$2" && cd "$MNT/$2" && "$2"
    cd "$MNT" && check "$name: $2 is removed" rm -r "$2"
}

databases() {
    local mode
    for mode in delete truncate persist wal; do
        sqlite3 "$mode.db" "pragma journal_mode=$mode; create table t(a integer primary key, b text);" >/dev/null
        for _ in 1 2 3; do
            yes 'insert into t(b) values(hex(randomblob(200)));' | head -n 40 | sqlite3 -cmd '.timeout 60000' "$mode.db" &
        done
        wait
        equal "$name: sqlite, journal mode $mode" "ok 120" \
            "$(sqlite3 "$mode.db" 'pragma integrity_check; select count(*) from t' | tr '\n' ' ' | sed 's/ $//')"
    done
}

trees() {
    check "$name: cp -a" cp -a "$from" cp
    check "$name: diff -r" diff -r --no-dereference "$from" cp
    check "$name: tar, out and in" sh -c "mkdir tar && tar -C $from -c . | tar -C tar -x && diff -r --no-dereference $from tar"
    check "$name: find and hard links" sh -c 'cp -al cp links && [ "$(find links -type f -links 1 | wc -l)" = 0 ]'
}

copied() {
    mkdir from && cp -a "$from" from/p && ln from/p/meson.build from/hard 2>/dev/null
    setfacl -m u:1234:rw from/p 2>/dev/null
    check "$name: rsync" rsync -aHAX --numeric-ids from/ to/
    check "$name: rsync finds nothing to do" sh -c '[ -z "$(rsync -aHAXn --itemize-changes --checksum --numeric-ids from/ to/)" ]'
}

image() {
    mkdir at
    check "$name: an image with ext4" sh -c "truncate -s $(($(du -sm "$from" | cut -f 1) * 2 + 48))M file && mkfs.ext4 -q -F file"
    mount -o loop file at 2>/dev/null || { echo "# $name: no loop device"; return; }
    check "$name: files in it" sh -c "cp -r '$from' at/files && diff -r --no-dereference '$from' at/files"
    umount at
    check "$name: it is whole" e2fsck -fn file
}

overlay() {
    mkdir upper lower work at
    echo low >lower/file && mkdir lower/dir && echo text >lower/dir/gone
    mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work at 2>/dev/null || { echo "# $name: no overlay"; return; }
    check "$name: an overlay with its upper layer here" \
        sh -c 'echo up >>at/file && rm -r at/dir && mkdir at/dir && [ "$(cat at/file | tr "\n" " ")" = "low up " ] && [ -z "$(ls at/dir)" ]'
    umount at
}

venv() {
    python3 -c 'import venv, ensurepip' 2>/dev/null || { echo "# $name: no venv"; return; }
    check "$name: venv" sh -c 'python3 -m venv v && v/bin/python -c "import json, ssl"'
}

benchmarks() {
    mkdir "$MNT/b" && cd "$MNT/b" || return
    ! type -P dbench >/dev/null || check "$name: dbench" dbench -D . -t 20 -c /usr/share/dbench/client.txt 4
    ! type -P bonnie++ >/dev/null || check "$name: bonnie++" bonnie++ -q -d . -s 64M -r 32M -n 4:4096:16:4 -u root -f
    ! type -P postmark >/dev/null || check "$name: postmark" \
        sh -c 'printf "set location .\nset number 1000\nset transactions 3000\nset size 500 20000\nrun\nquit\n" | postmark'
    cd "$MNT" && rm -r b
}

programs auto --posix-acl=auto
if [ -n "${BRIDGE_LONG:-}" ]; then
    programs writeback --writeback --cache=always --posix-acl=auto
    programs shared --posix-lock --flock --xattr
    programs never --cache=never --allow-mmap --posix-acl=auto
fi
finish
