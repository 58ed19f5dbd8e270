# shellcheck shell=bash
# The part of test-libvirt.sh for what libvirt knows since 9.0, sourced there while domain `one` runs: readonly, idmap, save,
# and the libvirtd of an ordinary user.

echo "# readonly and idmap"
mkdir "$T/ro" "$T/ids"
echo "from the host" >"$T/ro/host"
chown 100000:100000 "$T/ids"
share_xml ro "$T/ro" <<<"<driver type='virtiofs'/><readonly/>" >"$T/ro.xml"
share_xml ids "$T/ids" <<<"<driver type='virtiofs'/><idmap><uid start='0' target='100000' count='65536'/>
    <gid start='0' target='100000' count='65536'/></idmap>" >"$T/ids.xml"
check "plug: readonly" v attach-device one "$T/ro.xml" --live
equal "its arguments" "--fd=N --shared-dir $T/ro --readonly" "$(arguments "$T/ro")"
check "the guest mounts it" g mounts ro /mnt/ro
equal "and reads" "from the host" "$(g cat /mnt/ro/host)"
check "but writes nothing" refused "read-only file system" g touch /mnt/ro/new
check "nor changes" refused "read-only file system" g rm /mnt/ro/host
check "plug: idmap" v attach-device one "$T/ids.xml" --live
equal "its arguments" "--fd=N --shared-dir $T/ids --uid-map=:0:100000:65536: --gid-map=:0:100000:65536:" "$(arguments "$T/ids")"
check "the guest mounts it" g mounts ids /mnt/ids
check "and writes" g "echo x >/mnt/ids/file && chown 1000:1001 /mnt/ids/file"
equal "the guest sees its own ids" 1000:1001 "$(g stat -c %u:%g /mnt/ids/file)"
equal "the host those of the map" 101000:101001 "$(stat -c %u:%g "$T/ids/file")"
for d in ro ids; do
    check "unplug" v detach-device one "$T/$d.xml" --live
    check "its daemon ends" await_host "the end" 20 no_daemon "$T/$d"
done

echo "# save and restore, of a guest whose only device is the share; what has no name would end with the first daemon"
mkdir "$T/moved"
share_xml myfs "$T/moved" <<<"<driver type='virtiofs'/>" | domain moves |
    sed "s|ctl=9p|rdinit=/bin/mover-init mover=named|; /accessmode='squash'/d; s|$CTL/console|$T/moves.serial|; s|path='$T/moves.serial'/>|path='$T/moves.serial' append='on'/>|" >"$T/moves.xml"
rounds() { tr -d '\r' <"$T/moves.serial" | sed -n 's/^round //p' | tail -n 1; }
rounds_past() { [ "$(rounds)" -gt "$1" ]; }
check "define" v define "$T/moves.xml"
check "start" v start moves
check "its program works in the share" await_host "a first round" 120 rounds_past 1
check "save" v save moves "$T/moves.saved"
check "its daemon ends" await_host "its end" 10 no_daemon "$T/moved"
at=$(rounds)
check "restore" v restore "$T/moves.saved"
check "the program goes on, with what it had open" await_host "more rounds" 60 rounds_past $((at + 2))
equal "and finds nothing wrong" "" "$(grep -a FAIL "$T/moves.serial")"
check "destroy" v destroy moves
check "its daemon ends" await_host "its end" 10 no_daemon "$T/moved"

echo "# an ordinary user's"
check "destroy the other" v destroy one
mkdir "$T/users"
echo "from the host" >"$T/users/host"
chown 1999:1999 "$T/users" "$T/users/host"
session_start
guest_shell "$T/user/ctl"
chown -R 1999:1999 "$T/user/ctl"
share_xml users "$T/users" <<<"<driver type='virtiofs'/>" | domain mine >"$T/mine.xml"
check "define" u define "$T/mine.xml"
check "start" u start mine
equal "its arguments: he is root, and his sub-ids the others" "--fd=N --shared-dir $T/users --uid-map=:0:1999:1: --uid-map=:1:200000:65536: --gid-map=:0:1999:1: --gid-map=:1:200000:65536:" \
    "$(arguments "$T/users")"
check "the guest is up" guest_up
check "mount" g mount -t virtiofs users /mnt
equal "a host's file is read in the guest" "from the host" "$(g cat /mnt/host)"
equal "it is root's there" 0:0 "$(g stat -c %u:%g /mnt/host)"
check "the guest writes" g "echo x >/mnt/file && mkdir /mnt/dir && chown 5:6 /mnt/dir"
equal "the user's files on the host" 1999:1999 "$(stat -c %u:%g "$T/users/file")"
equal "other ids are of his range" 200004:200005 "$(stat -c %u:%g "$T/users/dir")"
check "save, which the mounted 9P device forbids" refused "VirtFS" u save mine "$T/user/saved"
check "destroy" u destroy mine
check "its daemon ends" await_host "its end" 10 no_daemon "$T/users"
check "start the other" v start one
