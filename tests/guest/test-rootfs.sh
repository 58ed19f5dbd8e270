#!/usr/bin/env bash
# --profile=rootfs in a real guest: what a guest that opens nothing must get right all the same (files that lose
# their names while they are open, O_TRUNC, locks, an overlay on both sides), the share writable and read-only.
# test-posix.sh has every operation, test-flags.sh O_APPEND, O_DIRECT and set-id bits, test-coherence.sh what the
# host changes, test-messages.sh what it is for.
# Overlays are mounted on the host, in a mount namespace of our own.
if [ "$(id -u)" = 0 ] && [ -z "${OWN_MOUNTS:-}" ]; then
    OWN_MOUNTS=1 exec unshare --mount --propagation private "$0" "$@"
fi
. "$(dirname "$0")/lib.sh"
setup flags locker

mkdir -p "$T"/{w/many,w/locks-flock,w/locks-posix,low/bin,over}
for kind in flock posix; do
    : >"$T/w/locks-$kind/lock"
    printf '%15d\n' 0 >"$T/w/locks-$kind/counter"
done
for f in gone replaced cut; do echo "the old $f" >"$T/w/$f"; done
echo new >"$T/w/new"
for ((i = 0; i < 500; i++)); do : >"$T/w/many/name-$i"; done
cp "$GUEST_PROGS/flags" "$T/low/bin/prog"
echo lower >"$T/low/file"
mkdir "$T/low/etc"
for ((i = 0; i < 300; i++)); do echo "$i" >"$T/low/etc/conf-$i"; done
# On the host: an overlay as the share, which has no offsets that last, and one below a share.
overlay=
mkdir -p "$T/o" "$T/w/o"
if [ -n "${OWN_MOUNTS:-}" ] && mount -t tmpfs tmpfs "$T/o"; then
    mkdir "$T"/o/{u,w,u2,w2} && mount -t overlay -o "lowerdir=$T/low,upperdir=$T/o/u,workdir=$T/o/w" overlay "$T/over" &&
        mount -t overlay -o "lowerdir=$T/low,upperdir=$T/o/u2,workdir=$T/o/w2" overlay "$T/w/o" && overlay=yes
fi

daemon w "$T/w" --profile=rootfs --xattr
daemon ro "$T/low" --profile=rootfs --readonly
tags=(w ro)
if [ -n "$overlay" ]; then
    daemon over "$T/over" --profile=rootfs
    tags+=(over)
fi

guest g -t 180 "${tags[@]}" <<END
share w /mnt/w
cd /mnt/w
# ---- names that go ----
exec 3<gone 4<replaced 5<>cut
read -r line <&4
equal "the first line" "the old replaced" "\$line"
exec 4<&- 4<replaced
rm gone
mv new replaced
mkdir dir && cd dir && rmdir ../dir
check "a directory that is gone is empty" test -z "\$(ls)"
cd /mnt/w
sleep 5 # what nobody uses is closed by now
echo 3 >/proc/sys/vm/drop_caches
equal "a file without a name" "the old gone" "\$(cat <&3)"
equal "one that was replaced" "the old replaced" "\$(cat <&4)"
equal "what replaced it" "new" "\$(cat replaced)"
exec 3<&- 4<&-
# ---- truncation: no OPEN has done it ----
: >cut
equal "cut by open(2)" 0 "\$(stat -c %s cut)"
echo again >cut
equal "and written" "again" "\$(cat cut)"
equal "through the descriptor from before" "again" "\$(cat <&5)"
# ---- a file that is made, and written when its mode forbids it ----
( umask 777; exec 6>secret; sleep 3; echo whisper >&6 )
equal "written to a file of mode 0" "whisper" "\$(cat secret)"
# ---- locks are the guest's own, and work there ----
for kind in flock posix; do
    (cd /mnt/w && locker \$kind locks-\$kind 100) &
    one=\$!
    check "\$kind: another" locker \$kind /mnt/w/locks-\$kind 100
    check "\$kind: and the one" wait \$one
    equal "\$kind: each had its turn" 200 "\$(cat locks-\$kind/counter | tr -d ' ')"
done
# ---- a long directory, removed while it is read ----
check "rm -r" rm -r many
check "rm -r is thorough" test ! -e many
# ---- an overlay of the guest on the share ----
modules overlay 2>/dev/null
mkdir -p /tmp/up /tmp/work /mnt/ovl
mount -t tmpfs tmpfs /tmp && mkdir -p /tmp/up /tmp/work
share ro /mnt/ro
if mount -t overlay -o lowerdir=/mnt/ro,upperdir=/tmp/up,workdir=/tmp/work overlay /mnt/ovl; then
    check "a program of the lower layer" sh -c '[ "\$(/mnt/ovl/bin/prog euid)" = 0 ]'
    echo upper >/mnt/ovl/file
    equal "copied up" "upper" "\$(cat /mnt/ovl/file)"
    equal "the layer below stays" "lower" "\$(cat /mnt/ro/file)"
    check "a directory of it is removed" rm -r /mnt/ovl/etc
    check "from above only" test -e /mnt/ro/etc/conf-299
    umount /mnt/ovl
else
    echo "# this guest has no overlayfs"
fi
# ---- read-only: the daemon says so ----
check "no new file" sh -c '! touch /mnt/ro/new'
check "no write" sh -c '! echo x >>/mnt/ro/file'
check "no removal" sh -c '! rm /mnt/ro/file'
equal "nothing has changed" "lower" "\$(cat /mnt/ro/file)"
mount -o remount,ro /mnt/ro
equal "mounted read-only, an open says it" "Read-only file system" "\$(sh -c ': >>/mnt/ro/file' 2>&1 | sed 's/.*: //')"
if [ -n "$overlay" ]; then
    share over /mnt/over
    for dir in /mnt/over /mnt/w/o; do
        echo "# host's overlay at \$dir"
        equal "\$dir: a file" "lower" "\$(cat \$dir/file)"
        echo mine >>\$dir/file
        equal "\$dir: copied up there" "lower mine" "\$(echo \$(cat \$dir/file))"
        for i in 0 1 2 3 4 5 6 7 8 9; do : >\$dir/etc/upper-\$i; done
        equal "\$dir: listed" 310 "\$(ls \$dir/etc | wc -l)"
        check "\$dir: rm -r" rm -r \$dir/etc
        check "\$dir: rm -r is thorough" test ! -e \$dir/etc
    done
fi
cd /
END

for tag in "${tags[@]}"; do daemon_stop "$tag"; done
check "nothing was opened by messages" grep -q 'guest mounted: .*no_open_support no_opendir_support' "$T/w.log"
if [ -n "$overlay" ]; then
    check "but an overlay's directories" grep -q 'directories are opened by messages' "$T/over.log"
fi
equal "the host sees what was written" "again" "$(cat "$T/w/cut")"
check "and what was removed" test ! -e "$T/w/many"
umount "$T/over" "$T/w/o" "$T/o" 2>/dev/null
finish
