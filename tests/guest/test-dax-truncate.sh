#!/usr/bin/env bash
# Files cut under a mapping, on QEMU 11.1. By the guest itself: SIGBUS for its program, as on any file system. By the
# host or by another guest: QEMU dies, which nothing outside it can prevent; the daemon does not, and serves the next
# guest; a guest that cut the file goes on.
GUEST_KERNEL=${GUEST_KERNEL:-x86_64-7}
. "$(dirname "$0")/lib.sh"
setup mapcheck

HOST_MAPCHECK=${HOST_MAPCHECK:-$GUEST_PROGS/mapcheck}
MIB=1048576
ODD=$((3 * MIB + 1234))
for f in whole odd nothing host other; do "$HOST_MAPCHECK" write "$T/share/$f" $ODD 1 0; done
truncate -s $((3 * MIB)) "$T/share/whole"
for tag in one two; do daemon $tag "$T/share" --dax-window=64M --relisten; done
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

# The same with two guests, each with a daemon of its own, that map the file at the same time.
map="tell ready
await map
mapcheck await /mnt/other $ODD 99 $((2 * MIB)) 2>/dev/null &
sleep 0.5
tell mapped"
boot third -m 512M -t 300 one <<END
mount -t virtiofs -o dax=always one /mnt && check "third guest: maps" mapcheck map /mnt/other $ODD 1 0
$map
sleep 60
not_ok "the machine survived: is QEMU's defect gone?"
END
boot fourth -m 512M -t 300 two <<END
check "fourth guest: mount" mount -t virtiofs -o dax=always two /mnt
$map
await cut
check "fourth guest: cuts it under both mappings" truncate -s $MIB /mnt/other
wait \$!
equal "fourth guest: SIGBUS for its own program" 135 \$?
tell cut
await over
check "fourth guest: what is left, in a mapping" mapcheck map /mnt/other $MIB 1 0
check "fourth guest: stores" mapcheck store /mnt/other $MIB 4 0
check "fourth guest: umount" umount /mnt
END
for g in third fourth; do hear $g ready 200 || not_ok "the $g guest mounts"; done
for g in third fourth; do tell $g map; done
for g in third fourth; do hear $g mapped || not_ok "the $g guest maps"; done
tell fourth cut
guest_wait third
equal "cut by another guest: QEMU is gone" 125 $?
hear fourth cut || not_ok "the fourth guest cuts"
tell fourth over
guest_wait fourth || not_ok "fourth guest: exit code $?"
check "host: its stores" "$HOST_MAPCHECK" read "$T/share/other" $MIB 4 0
check "the daemon still runs" kill -0 "$pid"
finish
