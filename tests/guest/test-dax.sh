#!/usr/bin/env bash
# The DAX window on QEMU 11.1, with the sandbox as it is by default: what the guest maps is the host's file. Every
# check of contents compares with a pattern, byte by byte. The window is smaller than the largest file.
GUEST_KERNEL=${GUEST_KERNEL:-x86_64-7}
. "$(dirname "$0")/lib.sh"
setup mapcheck ops

HOST_MAPCHECK=${HOST_MAPCHECK:-$GUEST_PROGS/mapcheck}
MIB=1048576
ODD=$((3 * MIB + 1234))
LARGE=$((96 * MIB))
mapcheck() { "$HOST_MAPCHECK" "$@"; }
requests() { grep -c " $1 nodeid .*: \(ok\|[0-9]* bytes\)" "$T/myfs.log"; }

# The words of every mode: whole pages, a partial page at the end, a small file; a program.
for mode in always inode default; do
    dir=$T/share/$mode
    mkdir -p "$dir"
    mapcheck write "$dir/exact" $((4 * MIB)) 1 0
    mapcheck write "$dir/odd" $ODD 2 0
    mapcheck write "$dir/small" 29 3 0
    mapcheck write "$dir/private" $ODD 4 0
    mapcheck write "$dir/grows" $ODD 5 0
    mapcheck write "$dir/blocks" $((2 * MIB)) 6 0
    mapcheck write "$dir/read-only" $ODD 7 0
    : >"$dir/empty"
    cp "${BUSYBOX:-$(type -P busybox)}" "$dir/busybox"
done
mapcheck write "$T/share/large" $LARGE 9 0

export DAX_OPTIONS=${DAX_OPTIONS:-}
# shellcheck disable=SC2086 # words
daemon myfs "$T/share" --dax-window=64M --log-level=debug $DAX_OPTIONS

# In the guest: everything a mode must do. The host's part is below.
cat >"$T/mode.sh" <<'END'
mode() {
    case $1 in
    default) mount -t virtiofs myfs /mnt ;;
    *) mount -t virtiofs -o dax=$1 myfs /mnt ;;
    esac || { not_ok "mount, $1"; dmesg | tail -n 3; return 1; }
    case $1 in
    default) check "$1: mount options say nothing" grep -q ' /mnt virtiofs' /proc/mounts ;;
    *) check "$1: mounted with dax=$1" grep -q " /mnt virtiofs .*dax=$1" /proc/mounts ;;
    esac
    cd /mnt/$1 || exit 1
    for verb in map read; do
        check "$1: $verb, whole pages" mapcheck $verb exact $EXACT 1 0
        check "$1: $verb, a partial page at the end" mapcheck $verb odd $ODD 2 0
        check "$1: $verb, 29 bytes" mapcheck $verb small 29 3 0
        check "$1: $verb, 0444" mapcheck $verb read-only $ODD 7 0
    done
    equal "$1: an empty file" "" "$(cat empty)"
    # Once: QEMU without KVM goes on executing what it translated from a mapping that is gone (docs/dax.md).
    [ "$1" != always ] || equal "$1: a program runs from the mount" "it runs" "$(./busybox echo it runs)"
    check "$1: stores in a private mapping" mapcheck private private $ODD 4 5
    check "$1: private stores left the file alone" mapcheck map private $ODD 4 0
    check "$1: stores, whole pages" mapcheck store exact $EXACT 11 0
    check "$1: and read back" mapcheck read exact $EXACT 11 0
    check "$1: stores, partial page" mapcheck store odd $ODD 12 0
    check "$1: and read back" mapcheck read odd $ODD 12 0
    check "$1: stores with msync, 29 bytes" mapcheck sync small 29 13 0
    check "$1: and read back" mapcheck read small 29 13 0
    check "$1: append by write()" mapcheck append grows $GROWN 5 $ODD
    check "$1: mapped after it grew" mapcheck map grows $GROWN 5 0
    check "$1: stores into what it grew by" mapcheck store grows $GROWN 15 $ODD
    check "$1: read back" mapcheck read grows $GROWN 15 $ODD
    check "$1: truncated" truncate -s 5000 grows
    check "$1: mapped after truncation" mapcheck map grows 5000 5 0
    check "$1: extended" truncate -s 9000 grows
    equal "$1: zeroes between" "" "$(tail -c 4000 grows | tr -d '\0')"
    check "$1: written again" mapcheck write grows 20000 16 0
    check "$1: mapped" mapcheck map grows 20000 16 0
    check "$1: made by the guest" mapcheck write new $ODD 17 0
    check "$1: mapped" mapcheck map new $ODD 17 0
    check "$1: blocks by turns, mapping and write()" mapcheck blocks blocks $((2 << 20)) 6 2000
    # Linux 6.1 hangs when the last close of an unlinked, mapped file removes its mapping: see docs/dax.md.
    case $(uname -r) in
    6.*) ;;
    *)
        echo gone >gone
        exec 8<gone
        rm gone
        equal "$1: read after unlink" "gone" "$(cat <&8)"
        exec 8<&-
        ;;
    esac
    cd /
    check "$1: umount" umount /mnt
}
END

guest first -m 768M -t 400 -p "p9=$T/share" myfs <<END
EXACT=$((4 * MIB)) ODD=$ODD GROWN=$((6 * MIB + 77))
$(cat "$T/mode.sh")
if dmesg | grep -q 'Cache len'; then ok "the guest found the window"; else not_ok "no window"; dmesg | grep -i virtiofs; fi
for m in always inode default; do mode \$m; done
check "mount once more" mount -t virtiofs -o dax=always myfs /mnt
check "a file larger than the window, mapped" mapcheck map /mnt/large $LARGE 9 0
check "and stored" mapcheck store /mnt/large $LARGE 19 $((16 * MIB))
check "and read" mapcheck read /mnt/large $LARGE 19 $((16 * MIB))
check "umount" umount /mnt
END
for mode in always inode default; do
    dir=$T/share/$mode
    check "host: $mode: exact" mapcheck read "$dir/exact" $((4 * MIB)) 11 0
    check "host: $mode: odd" mapcheck read "$dir/odd" $ODD 12 0
    check "host: $mode: small" mapcheck read "$dir/small" 29 13 0
    check "host: $mode: private" mapcheck read "$dir/private" $ODD 4 0
    check "host: $mode: read-only" mapcheck read "$dir/read-only" $ODD 7 0
    check "host: $mode: grows" mapcheck read "$dir/grows" 20000 16 0
    check "host: $mode: new" mapcheck read "$dir/new" $ODD 17 0
    check "host: $mode: blocks" mapcheck read "$dir/blocks" $((2 * MIB)) 6 0
    equal "host: $mode: the empty file stayed empty" 0 "$(stat -c %s "$dir/empty")"
done
check "host: large" mapcheck read "$T/share/large" $LARGE 19 $((16 * MIB))
check "the daemon ends with its guest, code 0" daemon_wait myfs
echo "# SETUPMAPPING $(requests SETUPMAPPING), REMOVEMAPPING $(requests REMOVEMAPPING), READ $(requests READ), WRITE $(requests WRITE)"
if [ "$(requests SETUPMAPPING)" -gt 50 ]; then ok "the window was used"; else not_ok "the window was not used"; fi
if [ "$(requests REMOVEMAPPING)" -gt 0 ]; then ok "and reclaimed"; else not_ok "nothing was reclaimed"; fi
finish
