#!/usr/bin/env bash
# The DAX window on QEMU 11.1: host, guest and a second guest change files under each other's mappings; a guest
# that reboots with live mappings; umount and mount; more files than the window has places, each mapped.
GUEST_KERNEL=${GUEST_KERNEL:-x86_64-7}
. "$(dirname "$0")/lib.sh"
setup mapcheck ops

HOST_MAPCHECK=${HOST_MAPCHECK:-$GUEST_PROGS/mapcheck}
MIB=1048576
ODD=$((MIB + 1234))
GROWN=$((3 * MIB + 77))
mapcheck() { "$HOST_MAPCHECK" "$@"; }

for f in exact guest-exact; do mapcheck write "$T/share/$f" $MIB 1 0; done
for f in odd guest-odd grows replaced; do mapcheck write "$T/share/$f" $ODD 1 0; done
# 10,000 files with the newest kernel; the others need not take so long.
FILES=${FILES:-$([ "$GUEST_KERNEL" = x86_64-7 ] && echo 10000 || echo 1000)}
"$GUEST_PROGS/ops" make "$T/share" 0 "$FILES" || exit 1
requests() { grep -c " $1 nodeid .*: ok" "$T/one.log"; }

for tag in one two; do daemon $tag "$T/share" --dax-window=64M --log-level=debug; done

boot first -m 512M -t 400 -R one <<END
MIB=$MIB ODD=$ODD GROWN=$GROWN
m="mount -t virtiofs -o dax=always one /mnt"
if [ ! -e /ctl/word.rebooted ]; then
    check "mount" \$m
    check "mapped" mapcheck map /mnt/exact \$MIB 1 0
    # Live mappings when the machine goes down.
    mapcheck await /mnt/odd \$ODD 99 0 >/dev/null 2>&1 &
    sleep 0.3
    tell rebooted
    reboot -f
    sleep 100
fi
check "mount after a reboot" \$m
check "mapped after a reboot" mapcheck map /mnt/exact \$MIB 1 0
check "umount" umount /mnt
check "mount again" \$m
cd /mnt || exit 1

for f in exact grows replaced; do check "known: \$f" mapcheck map \$f \$(stat -c %s \$f) 1 0; done
mapcheck await exact \$MIB 2 0 >/tmp/await 2>&1 &
exact=\$!
mapcheck await odd \$ODD 2 0 >/tmp/await 2>&1 &
odd=\$!
sleep 0.5
tell mapped
await changed
check "the host's bytes, whole pages, in a mapping made before" wait \$exact
check "the host's bytes, partial page, in a mapping made before" wait \$odd
sleep 1.2
check "the host's bytes by read()" mapcheck read odd \$ODD 2 0
check "a file that the host appended to" mapcheck map grows \$GROWN 1 0
check "a file that the host replaced by rename" mapcheck map replaced \$ODD 3 0

check "stores, whole pages" mapcheck store guest-exact \$MIB 4 0
check "stores, partial page" mapcheck store guest-odd \$ODD 4 0
tell stored
await seen
cd /
check "umount" umount /mnt
check "mount, dax=inode" mount -t virtiofs -o dax=inode one /mnt
check "200 files, dax=inode" ops read /mnt 0 200
check "umount" umount /mnt
check "mount, dax=always" \$m
tell ready
await go
start=\$(cut -d. -f1 /proc/uptime)
check "$FILES files, dax=always" ops read /mnt 0 $FILES
echo "# in \$((\$(cut -d. -f1 /proc/uptime) - start)) s"
check "umount" umount /mnt
END
hear first mapped 200 || not_ok "the guest maps"
mapcheck write "$T/share/exact" $MIB 2 0
mapcheck write "$T/share/odd" $ODD 2 0
mapcheck append "$T/share/grows" $GROWN 1 $ODD
mapcheck write "$T/share/new" $ODD 3 0 && mv "$T/share/new" "$T/share/replaced"
tell first changed
hear first stored 120 || not_ok "the guest stores"
check "host: whole pages" mapcheck read "$T/share/guest-exact" $MIB 4 0
check "host: partial page" mapcheck read "$T/share/guest-odd" $ODD 4 0

# Another guest with a window of its own, while the first has its mappings.
boot second -m 512M -t 300 two <<END
check "second guest: mount" mount -t virtiofs -o dax=always two /mnt
check "second guest: the first one's stores, whole pages" mapcheck map /mnt/guest-exact $MIB 4 0
check "second guest: the first one's stores, partial page" mapcheck map /mnt/guest-odd $ODD 4 0
check "second guest: stores" mapcheck store /mnt/guest-odd $ODD 5 0
check "second guest: umount" umount /mnt
END
guest_wait second || not_ok "second guest: exit code $?"
check "host: the second guest's stores" mapcheck read "$T/share/guest-odd" $ODD 5 0
tell first seen
hear first ready 120 || not_ok "the guest mounts once more"
mapped=$(requests SETUPMAPPING) removed=$(requests REMOVEMAPPING)
tell first go
guest_wait first || not_ok "guest: exit code $?"
equal "each of the files was mapped" "$FILES" $(($(requests SETUPMAPPING) - mapped))
if [ $(($(requests REMOVEMAPPING) - removed)) -ge $((FILES - 32)) ]; then ok "in 32 places"; else not_ok "not in 32 places"; fi
check "the daemons end with their guests, code 0" daemon_wait one
check "the second too" daemon_wait two
finish
