#!/usr/bin/env bash
# The guest kernel's 9P client by TCP (trans=tcp) to a daemon on the host, under v9fs's cache modes: the walk through
# every file operation (prog/walk/), and fio with checksums. What v9fs or 9P itself cannot do is named; there the walk
# expects the right error.
. "$(dirname "$0")/lib.sh"
alone "$0"
export MORE_MODULES='9pnet 9pnet_fd netfs fscache 9p'
setup posix-walk fio
tap

plain=--without=rename-flags,tmpfile,fallocate,seek-hole,fine-times,seekdir
declare -A lacks=([none]="$plain,shared-mmap" [loose]="$plain,default-acl" [mmap]="$plain,mapped-read")
for cache in "${!lacks[@]}"; do
    mkdir "$T/share/$cache" "$T/share/$cache/fio"
    check "$cache: prepared on the host" "$GUEST_PROGS/posix-walk" prepare "$T/share/$cache"
done
# Root in the guest is root here: by default peers on a network are all nobody.
daemon nine "$T/share" --protocol=9p --p9-listen=tcp:10.9.0.1:5640 --p9-squash=none --posix-acl=auto \
    --allow-direct-io --modcaps=+sys_admin

# Each mode has its own subtree as the root.
guest g -m 768M -t 280 -k "$TAP" <<END
modules $MORE_MODULES
network
nine() { mount -t 9p -o "trans=tcp,port=5640,version=9p2000.L,access=client,posixacl,aname=/\$1,cache=\$1,\$2" 10.9.0.1 /mnt; }
walk() {
    check "\$1: mounted by TCP" nine "\$1" msize=512000
    echo "# cache=\$1"
    posix-walk guest /mnt "\$2" || [ \$? = 1 ] || not_ok "\$1: posix-walk"
    check "\$1: umount" umount /mnt
}
# verify NAME OPTION…: written, then read again from the host with the checksums compared
verify() {
    name=\$1
    shift
    check "\$cache: fio \$name" fio --output-format=terse --directory=/mnt/fio --name="\$name" --size=4M \
        --verify=crc32c --verify_fatal=1 --randrepeat=0 --invalidate=1 "\$@"
}
walk none ${lacks[none]}
walk loose ${lacks[loose]}
walk mmap ${lacks[mmap]}
for cache in none loose mmap; do
    check "\$cache: mounted with the largest messages" nine \$cache msize=1048576
    verify seq-write --rw=write --bs=1M
    verify odd-sizes --rw=write --bsrange=512-200k --bs_unaligned=1
    verify random-4k --rw=randwrite --bs=4k --size=2M
    verify random-mixed --rw=randrw --bsrange=4k-64k --norandommap=0
    verify jobs --numjobs=4 --rw=randwrite --bs=8k --size=1M
    [ \$cache = none ] || verify mapped --ioengine=mmap --rw=randwrite --bs=4k --size=2M
    check "\$cache: umount" umount /mnt
done
END

for cache in "${!lacks[@]}"; do
    echo "# cache=$cache, seen from the host"
    "$GUEST_PROGS/posix-walk" host "$T/share/$cache" "${lacks[$cache]}" >"$T/host.out" || [ $? = 1 ] || not_ok "$cache: posix-walk"
    count_lines "$T/host.out"
    # What fio left is verified once more, with no guest between.
    check "$cache: seq-write, verified on the host" fio --output-format=terse --verify_state_save=0 --directory="$T/share/$cache/fio" \
        --name=seq-write --size=4M --verify=crc32c --verify_only=1 --rw=write --verify_fatal=1 --bs=1M --allow_file_create=0
done
finish
