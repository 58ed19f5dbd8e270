#!/usr/bin/env bash
# tests/wire/test-wire-statfs.c in a kernel that has project quotas, whatever this machine's has: User-Mode Linux, with this
# machine's files, read-only, as its root.
export MORE_MODULES='loop quota_tree quota_v2'
. "$(dirname "$0")/lib.sh"
setup

mkdir "$T/g"
cp "$VIRTIOFSD" "$GUEST_PROGS/../wire/test-wire-statfs" "$T/g"
guest g -m 512M <<'END'
modules loop quota_tree quota_v2
mkdir /host
mount -t hostfs -o ro none /host || exit 1
for d in tmp run; do mount -t tmpfs -o mode=1777 none /host/$d; done
mount -t proc proc /host/proc
mount -t devtmpfs dev /host/dev
mount -o bind /ctl /host/mnt
check "the tests pass in this kernel" env VIRTIOFSD=/mnt/virtiofsd PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    chroot /host /mnt/test-wire-statfs
sed 's/^/# /' /tmp/check.out
equal "and that of project quotas was not skipped" 1 "$(grep -c 'OK \] of_a_project' /tmp/check.out)"
END
finish
