#!/usr/bin/env bash
# QEMU's devices: a daemon behind the generic vhost-user device and one behind vhost-user-fs-pci, beside QEMU's
# own 9p share of the same directory. GUEST_KERNEL says which guest.
GUEST_KERNEL=${GUEST_KERNEL:-x86_64-7}
. "$(dirname "$0")/lib.sh"
setup

echo "from the host" >"$T/share/host"
daemon generic "$T/share"
daemon special "$T/share"

guest g -f "named=$T/special.sock" -p "nine=$T/share" generic <<'END'
share generic /mnt
equal "generic device: a host's file is read in the guest" "from the host" "$(cat /mnt/host)"
echo "from the guest" >/mnt/guest
share named /share
equal "vhost-user-fs-pci: another mount's file is there" "from the guest" "$(cat /share/guest)"
check "umount" umount /mnt
check "umount of the second" umount /share
share generic /mnt
equal "it can be mounted again" "from the guest" "$(cat /mnt/guest)"
check "umount" umount /mnt
check "9p is mounted" mount -t 9p -o trans=virtio,version=9p2000.L,msize=131072 nine /share
equal "9p: the same file" "from the guest" "$(cat /share/guest)"
END
equal "a guest's file is read on the host" "from the guest" "$(cat "$T/share/guest")"
check "the daemon knows its guest for Linux" linux_known special
check "the daemon ends with its guest, code 0" daemon_wait generic
check "and so does the second" daemon_wait special
equal "memory is shared, and nobody said that it is not" 0 "$(cat "$T"/*.log | grep -c 'memory is not shared')"
finish
