#!/usr/bin/env bash
# The walk through every file operation, from guest user space, with the results checked on the host
# (prog/walk/), under three cache policies, and by a guest that opens nothing.
. "$(dirname "$0")/lib.sh"
setup posix-walk

for cache in auto always rootfs never; do
    mkdir "$T/$cache"
    how=--cache=$cache
    [ "$cache" != rootfs ] || how=--profile=rootfs
    daemon "$cache" "$T/$cache" "$how" --posix-acl=auto --allow-direct-io --modcaps=+sys_admin
    check "$cache: prepared on the host" "$GUEST_PROGS/posix-walk" prepare "$T/$cache"
done

guest g auto always rootfs never <<'END'
for cache in auto always rootfs; do
    share $cache /mnt
    echo "# cache=$cache"
    posix-walk guest /mnt
    umount /mnt
done
# Without a page cache there is nothing to map shared (a guest kernel of 6.6 or later can be asked to).
share never /mnt
echo "# cache=never"
posix-walk guest /mnt -mmap
umount /mnt
END

check "rootfs: nothing was opened by messages" grep -q "guest mounted: .*no_open_support no_opendir_support" "$T/rootfs.log"
for cache in auto always rootfs never; do
    words=()
    [ "$cache" != never ] || words=(-mmap)
    echo "# cache=$cache, seen from the host"
    "$GUEST_PROGS/posix-walk" host "$T/$cache" ${words[@]+"${words[@]}"} >"$T/host.out"
    count_lines "$T/host.out"
done
finish
