#!/usr/bin/env bash
# Id-mapped mounts, as tests/guest/test-idmap.sh has them in a guest, with this machine's own client: ids that the
# daemon translates on top, file handles and descriptors.
. "$(dirname "$0")/lib.sh"
[ "$(printf '%s\n' 6.12 "$(uname -r)" | sort -V | head -n 1)" = 6.12 ] ||
    skip "this machine's Linux $(uname -r) maps no ids of FUSE mounts (6.12 does)"
setup_bridge
idmap=$GUEST_PROGS/idmap
[ -x "$idmap" ] || skip "no $idmap"

# tried NAME [OPTION]…
tried() {
    local name=$1
    mkdir -p "$T/$name" "$T/mapped"
    [ "$name" != translated ] || chown 50000:60000 "$T/$name"
    serve "$@" --xattr --posix-acl
    over "$name" 60 <<END
"$idmap" "\$MNT" "$T/mapped" || not_ok "idmap on $name"
umount "$T/mapped"
END
    served "$name"
}
tried handles
tried descriptors --inode-file-handles=never
tried translated --translate-uid=map:0:50000:10000 --translate-gid=map:0:60000:10000
equal "a translated owner on the host" 51000:61000 "$(stat -c %u:%g "$T/translated/dir" 2>&1)"
finish
