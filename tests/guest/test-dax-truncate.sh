#!/usr/bin/env bash
# Files cut under a mapping, on QEMU 11.1. By the guest itself: SIGBUS for its program, as on any file system. By the
# host: QEMU dies, which nothing outside it can prevent; the daemon does not, and serves the next guest.
GUEST_KERNEL=${GUEST_KERNEL:-x86_64-7}
. "$(dirname "$0")/lib.sh"
setup mapcheck

HOST_MAPCHECK=${HOST_MAPCHECK:-$GUEST_PROGS/mapcheck}
MIB=1048576
ODD=$((3 * MIB + 1234))
for f in whole odd nothing host; do "$HOST_MAPCHECK" write "$T/share/$f" $ODD 1 0; done
truncate -s $((3 * MIB)) "$T/share/whole"
daemon one "$T/share" --dax-window=64M --relisten
pid=$(daemon_pid one)

boot first -m 512M -t 300 one <<END
check "mount" mount -t virtiofs -o dax=always one /mnt
cd /mnt
check "cut by the guest: SIGBUS behind the end, whole pages" mapcheck cut whole $((3 * MIB)) 1 $MIB
check "the same, a partial page at the end" mapcheck cut odd $ODD 1 $MIB
check "the same, to nothing" mapcheck cut nothing $ODD 1 0
check "the machine goes on" mapcheck map host $ODD 1 0
mapcheck await host $ODD 99 0 2>/dev/null &
sleep 0.5
tell mapped
sleep 30
not_ok "the machine survived: is QEMU's defect gone?"
END
hear first mapped 200 || not_ok "the guest maps"
truncate -s 0 "$T/share/host"
guest_wait first
equal "cut by the host: QEMU is gone" 125 $?
check "the daemon is not" kill -0 "$pid"
equal "it still is the same" "$pid" "$(daemon_pid one)"
equal "host: the guest's own work is there" $ODD "$(stat -c %s "$T/share/odd")"

"$HOST_MAPCHECK" write "$T/share/host" $ODD 2 0
guest second -m 512M -t 300 one <<END
check "the next guest mounts" mount -t virtiofs -o dax=always one /mnt
check "and maps" mapcheck map /mnt/host $ODD 2 0
check "and stores" mapcheck store /mnt/host $ODD 3 0
check "umount" umount /mnt
END
check "host: its stores" "$HOST_MAPCHECK" read "$T/share/host" $ODD 3 0
check "it still runs" kill -0 "$pid"
finish
