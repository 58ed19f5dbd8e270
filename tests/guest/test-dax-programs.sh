#!/usr/bin/env bash
# A root file system through the DAX window on QEMU 11.1: Debian's programs and their shared libraries are executed
# from mappings of the host's files, by chroot; fio, one of these programs, verifies what it stores through mappings
# and by write().
#
# Each mode has a virtual machine of its own, and the window is large: without KVM, QEMU goes on executing what it
# translated from a mapping that is gone (see docs/dax.md), so no place of the window may be used twice.
GUEST_KERNEL=${GUEST_KERNEL:-x86_64-7}
. "$(dirname "$0")/lib.sh"
for p in fio readelf; do type -P $p >/dev/null || skip "no program $p"; done
setup

MIB=1048576
ODD=$((3 * MIB + 777))
root=$T/share

programs=(dash ls cat sed grep sort wc sha256sum fio)
debian=$("$GUEST/mk-rootfs" "${GUEST_KERNEL%-*}" dash coreutils sed grep fio) || exit

# Where each library is, by its name.
declare -A place=()
while read -r p; do place[${p##*/}]=/lib/$p; done < <(find "$debian/usr/lib" -name '*.so*' -printf '%P\n')

# add PATH…: these files of Debian, and what they are linked with, where the loader looks for it.
add() {
    local f lib
    for f in "$@"; do
        [ ! -e "$root$f" ] || continue
        install -D "$debian$f" "$root$f"
        for lib in $(readelf -ld "$debian$f" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p; s/.*interpreter: \(.*\)\]/\1/p'); do
            case $lib in
            /*) add "$lib" ;;
            *) add "${place[$lib]}" ;;
            esac
        done
    done
}
mkdir -p "$root"/{proc,dev,tmp,work,usr/bin,usr/lib,usr/lib64}
for d in bin lib lib64; do ln -s usr/$d "$root/$d"; done
add "${programs[@]/#//bin/}"
(cd "$root" && find . -type f | sort | xargs sha256sum) >"$T/sums"
cp "$T/sums" "$root/sums"
cp "$GUEST/guest-lib.sh" "$root/words"
# Files that fio finds, so that dax=inode maps them; one does not end at a page.
for mode in always inode; do
    mkdir "$root/work/$mode"
    for f in psync mmap; do head -c $((8 * MIB)) /dev/zero >"$root/work/$mode/$f"; done
    head -c $ODD /dev/zero >"$root/work/$mode/odd"
done

cat >"$root/programs" <<'END'
. /words
mode=$1
equal "$mode: a pipeline of programs" "$(wc -l </sums)" "$(cat /sums | sort -r | grep -c .)"
check "$mode: every program and library is right" sha256sum --status -c /sums
equal "$mode: ls finds its libraries" "/bin/ls" "$(ls /bin/ls)"
check "$mode: the libraries are the share's" grep -q ' /[^ ]*/libc\.so' /proc/self/maps
verify() {
    name=$1
    shift
    check "$mode: fio, $name" fio --output-format=terse --directory="/work/$mode" --name="$name" --filename="$name" \
        --verify=crc32c --verify_fatal=1 --randrepeat=0 --allow_file_create=0 "$@"
}
verify psync --ioengine=psync --rw=randwrite --bs=4k --size=8M
verify mmap --ioengine=mmap --rw=randwrite --bs=4k --size=8M
verify odd --ioengine=psync --rw=write --bsrange=512-100k --bs_unaligned=1 --filesize=$2
END

requests() { grep -c " $1 nodeid .*: ok" "$T/$mode.log"; }
# What fio left, without a guest between.
again() {
    fio --output-format=terse --directory="$root/work/$1" --name="$2" --filename="$2" --verify=crc32c --verify_only=1 \
        --verify_state_save=0 --rw=randwrite --bs=4k --size=8M --verify_fatal=1 --allow_file_create=0 --randrepeat=0
}

for mode in always inode; do
    daemon $mode "$root" --dax-window=512M --log-level=debug
    boot $mode -m 512M -t 400 $mode <<END
check "mount, dax=$mode" mount -t virtiofs -o dax=$mode $mode /mnt
mount -t proc proc /mnt/proc
mount -t devtmpfs dev /mnt/dev
mount -t tmpfs tmp /mnt/tmp
chroot /mnt /bin/dash /programs $mode $ODD || not_ok "$mode: chroot"
for d in tmp dev proc; do umount /mnt/\$d; done
check "umount" umount /mnt
END
    guest_wait $mode || not_ok "guest $mode: exit code $?"
    n=$(requests SETUPMAPPING)
    if [ "$n" -gt 60 ]; then ok "$mode: the window was used, $n mappings"; else not_ok "$mode: only $n mappings"; fi
    equal "$mode: no place was used twice" 0 "$(requests REMOVEMAPPING)"
    for f in psync mmap; do check "host: $mode: fio, $f" again $mode $f; done
    equal "host: $mode: size" $ODD "$(stat -c %s "$root/work/$mode/odd")"
    check "the daemon ends with its guest, code 0" daemon_wait $mode
done
check "host: the programs are what they were" env -C "$root" sha256sum --status -c "$T/sums"
finish
