#!/usr/bin/env bash
# POSIX ACLs, renamed extended attributes (file capabilities and an overlay's upper layer on them) and
# translated ids, from guest user space, with the results checked on the host.
. "$(dirname "$0")/lib.sh"
setup setfattr getfattr
type -P setfattr >/dev/null || skip "no setfattr (Debian package attr)"
mkdir "$T/acl" "$T/map" "$T/ids"

# u::rwx u:alice:rwx g::--- m::rwx o::--- as the kernel keeps it: a version, then tag, permissions and id.
none=ffffffff
ACL=0x0200000001000700${none}02000700e803000004000000${none}10000700${none}20000000$none

daemon acl "$T/acl" --posix-acl=always
daemon map "$T/map" --xattrmap=:map::user.virtiofs.:
daemon ids "$T/ids" --translate-uid=map:1000:70000:2 --translate-gid=map:1000:71000:2 \
    --translate-uid=forbid-guest:3000:1
chmod 777 "$T/ids"
echo "the host's bob" >"$T/ids/bobs"
chown 70001:71001 "$T/ids/bobs"

guest g -m 512M acl map ids <<END
as() { # USER COMMAND: through a shell of that user
    su "\$1" -s /bin/sh -c "\$2"
}
refused() { ! "\$@"; }
value() { getfattr --absolute-names --only-values -n "\$1" "\$2" 2>/dev/null; }

chmod 755 /
check "an ordinary user runs programs" as alice true
check "and another" as bob true

echo "# POSIX ACLs"
share acl /mnt
mkdir /mnt/d
chmod 700 /mnt/d
check "nobody else may enter yet" refused as alice "ls /mnt/d"
check "an ACL is set" setfattr -n system.posix_acl_access -v $ACL /mnt/d
check "the user it names may make a file" as alice "echo hers >/mnt/d/alices"
check "others may not" refused as bob "ls /mnt/d"
equal "the mode shows its mask" 770 "\$(stat -c %a /mnt/d)"
check "a default ACL is set" setfattr -n system.posix_acl_default -v $ACL /mnt/d
(umask 077 && touch /mnt/d/by-default && mkdir /mnt/d/sub)
check "what is made below is hers too" as alice "echo more >>/mnt/d/by-default && touch /mnt/d/sub/x"
echo x >/mnt/sgid
chown bob:team /mnt/sgid
chmod 2755 /mnt/sgid
check "an owner outside the group sets an ACL" as bob "setfattr -n system.posix_acl_access -v $ACL /mnt/sgid"
equal "and the set-group-id bit goes" 770 "\$(stat -c %a /mnt/sgid)"
check "removed again" setfattr -x system.posix_acl_access /mnt/sgid
umount /mnt

echo "# renamed attributes"
share map /mnt
echo text >/mnt/f
check "a trusted attribute" setfattr -n trusted.test -v yes /mnt/f
equal "comes back" yes "\$(value trusted.test /mnt/f)"
equal "and is listed by its name" trusted.test "\$(getfattr --absolute-names -m - /mnt/f | grep -v '^#' | tr -d '\n')"
for how in "echo x >>/mnt/prog" "echo x >/mnt/prog" "truncate -s 1 /mnt/prog"; do
    printf 'a program' >/mnt/prog
    chmod 777 /mnt/prog
    check "a file gets capabilities" setfattr -n security.capability \
        -v 0x0100000200200000000000000000000000000000 /mnt/prog
    as alice "\$how"
    check "they are gone after: \$how" refused getfattr --absolute-names -n security.capability /mnt/prog
done
setfattr -n security.capability -v 0x0100000200200000000000000000000000000000 /mnt/prog
chown 1001 /mnt/prog
check "and after a change of the owner" refused getfattr --absolute-names -n security.capability /mnt/prog

echo "# an overlay with its upper layer on the share"
[ ! -f /lib/modules/overlay.ko ] || insmod /lib/modules/overlay.ko
if grep -q overlay /proc/filesystems; then
    mkdir -p /tmp/lower/dir /mnt/upper /mnt/work /tmp/merged
    echo lower >/tmp/lower/file
    echo lower >/tmp/lower/gone
    echo lower >/tmp/lower/dir/inside
    check "it mounts" mount -t overlay -o lowerdir=/tmp/lower,upperdir=/mnt/upper,workdir=/mnt/work o /tmp/merged
    echo upper >>/tmp/merged/file
    rm /tmp/merged/gone
    rm -r /tmp/merged/dir
    mkdir /tmp/merged/dir
    echo new >/tmp/merged/dir/new
    check "remounting" sh -c "umount /tmp/merged && mount -t overlay \
        -o lowerdir=/tmp/lower,upperdir=/mnt/upper,workdir=/mnt/work o /tmp/merged"
    equal "a file that was copied up" "lower upper" "\$(tr '\n' ' ' </tmp/merged/file | sed 's/ \$//')"
    equal "what was removed stays so" "dir file" "\$(ls /tmp/merged | tr '\n' ' ' | sed 's/ \$//')"
    equal "a directory made again is opaque" new "\$(ls /tmp/merged/dir)"
    umount /tmp/merged
    touch /ctl/overlay
else
    echo "# this guest kernel has no overlayfs: skipped"
fi
umount /mnt

echo "# translated ids"
share ids /mnt
equal "a host's user is seen as the guest's" 1001:1001 "\$(stat -c %u:%g /mnt/bobs)"
check "and may write" as bob "echo more >>/mnt/bobs"
check "others may not" refused as alice "echo no >>/mnt/bobs"
check "a file made by another" as alice "echo hers >/mnt/alices"
equal "is hers in the guest" 1000:1000 "\$(stat -c %u:%g /mnt/alices)"
check "given away" chown bob:bob /mnt/alices
equal "it is bob's" 1001:1001 "\$(stat -c %u:%g /mnt/alices)"
check "a forbidden id is refused" refused chown 3000 /mnt/alices
umount /mnt
END

host_value() { getfattr --absolute-names --only-values -n "$1" "$2" 2>/dev/null; }
equal "the host has the ACL" "$ACL" \
    "$(getfattr --absolute-names -e hex -n system.posix_acl_access "$T/acl/d" | sed -n 's/.*=//p')"
equal "and handed it on instead of the umask" 660 "$(stat -c %a "$T/acl/d/by-default")"
equal "to directories too" 770 "$(stat -c %a "$T/acl/d/sub")"
equal "a trusted attribute has its other name" yes "$(host_value user.virtiofs.trusted.test "$T/map/f")"
equal "and no other" "" "$(host_value trusted.test "$T/map/f")"
equal "capabilities are gone on the host" "" "$(host_value user.virtiofs.security.capability "$T/map/prog")"
if [ -e "$T/g/overlay" ]; then
    equal "the whiteout is a device" "character special file 0:0" "$(stat -c '%F %t:%T' "$T/map/upper/gone")"
    equal "the opaque mark has its other name" y \
        "$(host_value user.virtiofs.trusted.overlay.opaque "$T/map/upper/dir")"
fi
equal "translated on the host" 70001:71001 "$(stat -c %u:%g "$T/ids/alices")"
equal "more was written" 2 "$(wc -l <"$T/ids/bobs")"
finish
