#!/usr/bin/env bash
# fio writes and verifies checksums over the bridge: sequential, random, through mappings, direct, many jobs, delayed
# writes; then the host's own fio verifies what is there, with nobody between. Long form: ten times the data.
. "$(dirname "$0")/lib.sh"
setup_bridge fio
M=${BRIDGE_LONG:+0}M # 16$M: 16M, in the long form 160M

# jobs NAME: the script that fio writes with, and the one that verifies later.
words=(--output-format=terse --verify=crc32c --verify_fatal=1 --randrepeat=0 --invalidate=1)
jobs() {
    cat <<END
verify() { _name=\$1; shift; check "$1: \$_name" fio ${words[*]} --directory=\$MNT --name="\$_name" "\$@"; }
verify seq-write --rw=write --bs=1M --size=32$M
verify odd-sizes --rw=write --bsrange=512-1m --bs_unaligned=1 --size=16$M
verify random-4k --rw=randwrite --bs=4k --size=8$M
verify random-mixed --rw=randrw --bsrange=4k-64k --size=16$M
verify mapped --ioengine=mmap --rw=randwrite --bs=4k --size=8$M
verify jobs --numjobs=4 --rw=randwrite --bs=8k --size=4$M
verify synced --rw=randwrite --bsrange=1k-40k --bs_unaligned=1 --size=8$M --fsync=100
verify falloc --fallocate=keep --rw=randwrite --bs=64k --size=16$M
END
}
direct='
verify direct --direct=1 --rw=randwrite --bs=16k --size=16M
verify direct-aio --direct=1 --ioengine=libaio --iodepth=32 --rw=randrw --bs=32k --size=16M
verify direct-1m --direct=1 --ioengine=libaio --iodepth=4 --rw=write --bs=1M --size=32M
'
again() {
    fio --output-format=terse --directory="$T/$1" --name="$2" "--size=32$M" --verify=crc32c --verify_only=1 \
        --verify_state_save=0 --rw=write --verify_fatal=1 --bs=1M --allow_file_create=0
}
# fio_over NAME [DAEMON OPTION]…
fio_over() {
    local name=$1
    shift
    serve "$name" "$@"
    over "$name" ${BRIDGE_LONG:+1}200 <<<"$(jobs "$name")$direct" || return
    served "$name"
    check "$name: verified on the host" again "$name" seq-write
}
fio_over auto --allow-direct-io
fio_over writeback --writeback --cache=always
direct='' # no page cache, no shared mappings there but by --allow-mmap, which direct-io-allow-mmap is about
fio_over never --cache=never --allow-mmap
finish
