#!/usr/bin/env bash
# tar in and out: owners, modes, times, hard links, symlinks, devices and xattrs come back byte by byte.
. "$(dirname "$0")/lib.sh"
setup tar
type -P setfattr >/dev/null || skip "no setfattr (Debian package attr)"
mkdir "$T/source" "$T/out"

# A tree with one of everything, and some real files.
make_tree() {
    local i
    set -e
    cd "$T/source"
    for i in $(seq 1 300); do
        mkdir -p "d$((i % 7))/e$((i % 3))"
        head -c $((i * 97)) /dev/urandom >"d$((i % 7))/e$((i % 3))/f$i"
        chown "$((i % 5 * 1000)):$((i % 4 * 1000))" "d$((i % 7))/e$((i % 3))/f$i"
        chmod "$(printf %o $((i * 31 % 4096 | 256)))" "d$((i % 7))/e$((i % 3))/f$i"
        touch -d "@$((i * 4000000)).$(printf %09d $((i * 3331111)))" "d$((i % 7))/e$((i % 3))/f$i"
    done
    ln d1/e1/f1 hard-link
    ln d1/e1/f1 d2/hard-link
    ln -s ../nowhere/at/all dangling
    ln -s d1/e1/f1 link
    chown -h 1234:4321 link
    mkfifo -m 640 fifo
    mknod -m 600 whiteout c 0 0
    mknod -m 660 disk b 8 17
    truncate -s 10M sparse
    printf x | dd of=sparse bs=1 seek=5000000 conv=notrunc 2>/dev/null
    setfattr -n user.text -v "some text" d1
    setfattr -n user.binary -v 0x00ff10 hard-link
    setfattr -n security.capability -v 0x0100000200200000000000000000000000000000 d1/e2/f8
    mkdir sticky
    chmod 3775 sticky
    printf '%s\n' "caf\303\251" >"$(printf 'n\303\244me with spaces\nand a line')"
    find . -type d -exec touch -d "@1234567890.123456789" {} +
}

# pack DIR FILE: an archive that depends on the tree alone.
pack() {
    /bin/tar -C "$1" --create --format=pax --sort=name --xattrs --xattrs-include='*' --numeric-owner \
        --pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime --file="$2" .
}

(make_tree) || not_ok "the tree is made"
check "the host packs it" pack "$T/source" "$T/host.tar"
mkdir "$T/share/in"
cp -a "$T/host.tar" "$T/share/host.tar"
daemon auto "$T/share" --xattr --modcaps=+sys_admin:+setfcap
cp -a --preserve=all "$T/source" "$T/share/source"

guest g -m 512M auto <<END
$(declare -f pack)
share auto /mnt
check "the guest unpacks it" /bin/tar -C /mnt/in --extract --preserve-permissions --same-owner --numeric-owner \
    --xattrs --xattrs-include='*' --file=/mnt/host.tar
check "the guest packs the host's tree" pack /mnt/source /mnt/guest-packs-host.tar
check "the guest packs its own tree" pack /mnt/in /mnt/guest-packs-guest.tar
umount /mnt
END

check "the host packs what the guest unpacked" pack "$T/share/in" "$T/in.tar"
check "unpacked by the guest, the same byte by byte" cmp "$T/host.tar" "$T/in.tar"
check "packed by the guest from the host's tree, the same" cmp "$T/host.tar" "$T/share/guest-packs-host.tar"
check "packed by the guest from its own tree, the same" cmp "$T/host.tar" "$T/share/guest-packs-guest.tar"
finish
