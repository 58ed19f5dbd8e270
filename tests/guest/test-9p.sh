#!/usr/bin/env bash
# One daemon, one directory, two devices: a guest mounts it over virtio-fs and over 9P at once (our virtio-9p behind
# QEMU's generic vhost-user device). GUEST_KERNEL says which guest.
GUEST_KERNEL=${GUEST_KERNEL:-x86_64-7}
. "$(dirname "$0")/lib.sh"
setup

echo "from the host" >"$T/share/host"
seq 1 60000 >"$T/share/numbers"
daemon both "$T/share" --protocol=both --p9-socket-path="$T/nine.sock"

guest g -t 280 -g "9:1:6=$T/nine.sock" both <<'END'
share both /mnt
nine() { mount -t 9p -o "trans=virtio,version=9p2000.L,$1" both /share; }
for how in msize=4096,cache=none msize=131072,cache=none msize=512000,cache=loose msize=512000,cache=mmap; do
    check "$how: mounted" nine "$how"
    equal "$how: a host's file" "from the host" "$(cat /share/host)"
    check "$how: a large file is the same by both" cmp /mnt/numbers /share/numbers
    echo "over 9p" >/share/nine
    equal "$how: made over 9P, read over virtio-fs" "over 9p" "$(cat /mnt/nine)"
    mkdir /share/d
    cp /mnt/numbers /share/d/copy
    check "$how: a copy over 9P is the same" cmp /mnt/numbers /mnt/d/copy
    mv /share/d/copy /share/d/moved
    ln -s moved /share/d/link
    equal "$how: a symbolic link" "moved" "$(readlink /share/d/link)"
    check "$how: removed" rm -r /share/d /share/nine
    check "$how: umount" umount /share
done
echo "over virtio-fs" >/mnt/fuse
check "mounted again" nine msize=131072,cache=none
equal "made over virtio-fs, read over 9P" "over virtio-fs" "$(cat /share/fuse)"
check "umount of virtio-fs" umount /mnt
equal "9P goes on without it" "over virtio-fs" "$(cat /share/fuse)"
check "umount of 9P" umount /share
END
equal "the host sees what the guest made" "over virtio-fs" "$(cat "$T/share/fuse")"
check "the daemon ends with its guest, code 0" daemon_wait both
finish
