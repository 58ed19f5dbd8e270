#!/usr/bin/env bash
# The daemon as an ordinary user's program, with the default sandbox: with the one id that the user
# has, and with the ranges of /etc/subuid and /etc/subgid. What cannot work says so; the rest works.
. "$(dirname "$0")/lib.sh"
setup locker

as_user
user=$(id -u nobody) group=$(id -g nobody)

for share in one many; do
    mkdir "$T/$share"
    echo "from the host" >"$T/$share/host"
    chown -R "$user:$group" "$T/$share"
done
echo "of root" >"$T/one/foreign"
chmod 600 "$T/one/foreign"
mkdir "$T/two"
chown 100000:100000 "$T/many" "$T/many/host"

DAEMON_WRAP=("${AS_NOBODY[@]}")
daemon one "$T/one" --xattr
daemon many "$T/many" --xattr --uid-map=:0:100000:65536: --gid-map=:0:100000:65536:
DAEMON_WRAP=()

guest g one many <<'END'
works() {
    equal "$1: read" "from the host" "$(cat "$2/host")"
    check "$1: mkdir" mkdir "$2/dir"
    echo "of the guest" >"$2/dir/file"
    equal "$1: write and read" "of the guest" "$(cat "$2/dir/file")"
    check "$1: hard link" ln "$2/dir/file" "$2/dir/link"
    check "$1: symbolic link" ln -s file "$2/dir/soft"
    equal "$1: through the link" "of the guest" "$(cat "$2/dir/soft")"
    check "$1: rename" mv "$2/dir/link" "$2/moved"
    check "$1: chmod" chmod 640 "$2/moved"
    check "$1: times" touch -d "2001-02-03 04:05:06" "$2/moved"
    check "$1: fifo" mkfifo "$2/pipe"
    equal "$1: listing" "dir host moved pipe" "$(cd "$2" && echo [dhmp]*)"
    check "$1: unlink" rm "$2/pipe"
    check "$1: 1 MiB" dd if=/dev/zero of="$2/dir/big" bs=64k count=16
    equal "$1: size" 1048576 "$(stat -c %s "$2/dir/big")"
    check "$1: truncate" truncate -s 10 "$2/dir/big"
    check "$1: remove a tree" rm -r "$2/dir"
}
refused() {
    _what=$1
    shift
    if "$@" 2>/tmp/refused; then not_ok "$_what is refused"; else ok "$_what is refused: $(tail -n 1 /tmp/refused)"; fi
}

share one /mnt
works "one id" /mnt
refused "one id: chown to another" chown 1000 /mnt/moved
refused "one id: a device" mknod /mnt/null c 1 3
refused "one id: root's file" cat /mnt/foreign
equal "one id: the user is root here" "0 0" "$(stat -c '%u %g' /mnt/moved)"

share many /share
works "many ids" /share
check "many ids: chown" chown 1000:2000 /share/moved
equal "many ids: it shows" "1000 2000" "$(stat -c '%u %g' /share/moved)"
refused "many ids: chown beyond the range" chown 70000 /share/moved
refused "many ids: a device" mknod /share/null c 1 3
check "many ids: a directory for all" mkdir -m 777 /share/all
END
equal "one id: what the guest made is the user's" "$user $group" "$(stat -c '%u %g' "$T/one/moved")"
equal "many ids: what the guest gave away is a sub-id's" "101000 102000" "$(stat -c '%u %g' "$T/many/moved")"
equal "many ids: what the guest's root made is the first sub-id's" "100000 100000" "$(stat -c '%u %g' "$T/many/all")"
equal "the log says once what is missing" 1 "$(grep -c "only one user id exists" "$T/one.log")"
check "the daemon ends with its guest" daemon_wait one
check "and so does the other" daemon_wait many
finish
