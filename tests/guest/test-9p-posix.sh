#!/usr/bin/env bash
# The walk through every file operation (prog/walk/), and fio with checksums, by the guest kernel's 9P client over our virtio-9p device, under its
# cache modes. What v9fs or 9P itself cannot do is named; there the walk expects the right error. GUEST_KERNEL says
# which guest. The longest steps come once; test-9p-net.sh has them in each mode.
GUEST_KERNEL=${GUEST_KERNEL:-x86_64-7}
. "$(dirname "$0")/lib.sh"
setup posix-walk fio

plain=--without=rename-flags,tmpfile,fallocate,seek-hole,fine-times
short='-read-write -copy-range -readdir-while-deleting'
declare -A words=([none]="$plain,shared-mmap $short" [loose]="$plain" [mmap]="$plain $short")
for cache in "${!words[@]}"; do
    mkdir "$T/share/$cache"
    check "$cache: prepared on the host" "$GUEST_PROGS/posix-walk" prepare "$T/share/$cache"
done
daemon nine "$T/share" --protocol=9p --posix-acl=auto --allow-direct-io --modcaps=+sys_admin

# Each mode has its own subtree as the root.
guest g -m 768M -t 280 -g "9:1:6=$T/nine.sock" <<END
walk() {
    check "\$1: mounted" mount -t 9p -o "trans=virtio,version=9p2000.L,msize=512000,access=client,posixacl,cache=\$1,aname=/\$1" \
        nine /mnt
    shift
    posix-walk guest /mnt "\$@" || [ \$? = 1 ] || not_ok posix-walk
    for rw in write randrw; do
        check "fio \$rw" fio --output-format=terse --directory=/mnt --name=\$rw --rw=\$rw --size=2M --bsrange=512-200k \\
            --bs_unaligned=1 --verify=crc32c --verify_fatal=1 --randrepeat=0 --invalidate=1 --verify_state_save=0
    done
    check "umount" umount /mnt
}
walk none ${words[none]}
walk loose ${words[loose]}
walk mmap ${words[mmap]}
END

for cache in "${!words[@]}"; do
    echo "# cache=$cache, seen from the host"
    # shellcheck disable=SC2086 # words
    "$GUEST_PROGS/posix-walk" host "$T/share/$cache" ${words[$cache]} >"$T/host.out" || [ $? = 1 ] || not_ok posix-walk
    count_lines "$T/host.out"
done
check "the daemon ends with its guest, code 0" daemon_wait nine
finish
