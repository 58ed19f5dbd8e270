#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# A share on btrfs: subvolumes in it, all of which begin with inode number 256, and the space of a file that the host
# deletes while the guest knows it.
[ -n "${BTRFS_NS:-}" ] || BTRFS_NS=1 exec unshare -m --propagation private "$0" "$@"
. "$(dirname "$0")/lib.sh"
setup_bridge mkfs.btrfs btrfs find du
truncate -s 512M "$T/image"
mkfs.btrfs -q "$T/image" || skip "mkfs.btrfs does not work here"
mkdir "$T/share"
mount -o loop "$T/image" "$T/share" 2>"$T/mount.err" || skip "no btrfs: $(cat "$T/mount.err")"
for sub in a a/dir/b a/dir/b/dir/c d; do # every "dir" has number 257
    btrfs subvolume create "$T/share/$sub" >/dev/null
    mkdir "$T/share/$sub/dir"
    echo "$sub" >"$T/share/$sub/dir/file"
done
(cd "$T/share" && find . | sort) >"$T/wanted"

for submounts in --announce-submounts --no-announce-submounts; do
    serve share $submounts
    over share 60 <<END
find . >"$T/found" 2>"$T/find.err"
equal "$submounts: find complains of nothing" "" "\$(cat "$T/find.err")"
equal "$submounts: and finds all" "\$(cat "$T/wanted")" "\$(sort "$T/found")"
equal "$submounts: du complains of nothing" "" "\$(du . 2>&1 >/dev/null)"
END
    served share
done

serve share
over share 60 <<END
head -c 100000000 /dev/zero >large
sync
free() { stat -f -c %f "$T/share"; }
full=\$(free)
exec 3<large
cat large >/dev/null
exec 3<&-
rm "$T/share/large"
for ((i = 0; i < 200; i++)); do
    sync -f "$T/share"
    [ \$(((\$(free) - full) * 4096)) -gt 90000000 ] && break
    sleep 0.1
done
check "the host gets the space of what it deletes" test "\$i" -lt 200
echo "# after about \$((i / 10)) s"
END
served share
umount "$T/share"
finish
