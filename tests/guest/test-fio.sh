#!/usr/bin/env bash
# fio writes and verifies checksums: sequential, random, through mappings, past the guest's page cache.
. "$(dirname "$0")/lib.sh"
setup fio
daemon auto "$T/share" --allow-direct-io
mkdir "$T/wb"
daemon wb "$T/wb" --writeback

cat >"$T/fio.sh" <<'END'
# verify NAME OPTION…: 32 MiB written, then read again from the host with the checksums compared
verify() {
    name=$1
    shift
    check "$name" fio --output-format=terse --directory=/mnt --name="$name" --size=32M --verify=crc32c \
        --verify_fatal=1 --randrepeat=0 --invalidate=1 "$@"
}
END
guest g -m 768M -t 200 auto wb <<END
$(cat "$T/fio.sh")
share auto /mnt
verify seq-write --rw=write --bs=1M
verify odd-sizes --rw=write --bsrange=512-200k --bs_unaligned=1
verify random-4k --rw=randwrite --bs=4k --size=8M
verify random-mixed --rw=randrw --bsrange=4k-64k --size=16M --norandommap=0
verify mapped --ioengine=mmap --rw=randwrite --bs=4k --size=8M
verify direct --direct=1 --rw=randwrite --bs=16k --size=16M
verify direct-aio --direct=1 --ioengine=libaio --iodepth=16 --rw=randwrite --bs=16k --size=16M
verify jobs --numjobs=4 --rw=randwrite --bs=8k --size=4M
umount /mnt
share wb /mnt
verify writeback --rw=randwrite --bsrange=1k-40k --bs_unaligned=1 --size=16M --fsync=100
verify writeback-mapped --ioengine=mmap --rw=randwrite --bs=4k --size=8M
umount /mnt
END

# What fio left is verified once more by the host's own fio, with no guest between.
again() {
    fio --output-format=terse --directory="$T/share" --name="$1" --size=32M --verify=crc32c --verify_only=1 \
        --verify_state_save=0 --rw=write --verify_fatal=1 --bs=1M --allow_file_create=0
}
check "seq-write, verified on the host" again seq-write
finish
