#!/usr/bin/env bash
# Id-mapped mounts in the guest (FUSE_ALLOW_IDMAP, Linux 6.12), as Kubernetes' user namespaces need them: with
# POSIX ACLs and without, and with ids that the daemon translates between guest and host on top.
GUEST_KERNEL=${GUEST_KERNEL:-x86_64-7}
. "$(dirname "$0")/lib.sh"
setup idmap
type -P getfattr >/dev/null || skip "no getfattr (Debian package attr)"

mkdir "$T/plain" "$T/acl" "$T/translated"
chown 50000:60000 "$T/translated"
daemon plain "$T/plain" --xattr
daemon acl "$T/acl" --xattr --posix-acl
daemon translated "$T/translated" --xattr --posix-acl --translate-uid=map:0:50000:10000 \
    --translate-gid=map:0:60000:10000

guest g plain acl translated <<'END'
chmod 755 / # the users below come from there
mkdir /mapped
for tag in plain acl translated; do
    share $tag /mnt
    noacl=
    [ $tag != plain ] || noacl=noacl
    echo "# $tag"
    idmap /mnt /mapped $noacl || not_ok "idmap on $tag"
    umount /mapped
    check "umount" umount /mnt
done
END

owner() { equal "$1: owner of $2 on the host" "$3" "$(stat -c %u:%g "$T/$1/$2" 2>&1)"; }
for f in dir link fifo unnamed; do
    owner plain "$f" 1000:1000
    owner translated "$f" 51000:61000
done
owner plain file 7:8
owner translated file 50007:60008
owner translated group/f 51000:60050

# has SHARE FILE BYTES: in the file's ACL. A user's entry is 0200, rights, and the id, in little-endian order.
has() {
    local acl
    acl=$(getfattr -n system.posix_acl_access -e hex --absolute-names "$T/$1/$2" 2>&1)
    [[ $acl = *"$3"* ]] || { echo "$acl" && false; }
}
check "the ACL's user on the host is 2000" has acl file 02000600d0070000
check "translated, it is 52000" has translated file 0200060020cb0000
check "in an inherited one too" has translated dir/heir 0200070020cb0000
finish
