#!/usr/bin/env bash
# A guest mounts a host directory: both see each other's files; the daemon ends with its guest.
. "$(dirname "$0")/lib.sh"
setup

echo "from the host" >"$T/share/host"
mkdir -p "$T/second"
echo "another share" >"$T/second/name"
daemon first "$T/share"
# A share may show another file system's size: a mount that is made as large as the guest is to think.
daemon second "$T/second" --statfs-from=/dev/shm
total() { df -k "$1" | tail -n 1 | awk '{ print $2 }'; }

guest g first second <<END
total() { df -k "\$1" | tail -n 1 | awk '{ print \$2 }'; }
share first /mnt
share second /share
equal "df shows the size of the share's file system" "$(total "$T/share")" "\$(total /mnt)"
equal "or of that of --statfs-from" "$(total /dev/shm)" "\$(total /share)"
equal "a host's file is read in the guest" "from the host" "\$(cat /mnt/host)"
echo "from the guest" >/mnt/guest
equal "the second device has its own tree" "name" "\$(ls /share)"
check "umount" umount /mnt
share first /mnt
equal "it can be mounted again" "from the guest" "\$(cat /mnt/guest)"
check "umount" umount /mnt
check "umount of the second" umount /share
END
equal "a guest's file is read on the host" "from the guest" "$(cat "$T/share/guest")"
check "the daemon knows its guest for Linux" linux_known first
check "the daemon ends with its guest, code 0" daemon_wait first
check "and so does the second" daemon_wait second
equal "memory is shared, and nobody said that it is not" 0 "$(cat "$T"/*.log | grep -c 'memory is not shared')"
finish
