#!/usr/bin/env bash
# A Debian root file system on the share is the guest's own root (root=TAG rootfstype=virtiofs): the kernel's first program
# is the share's /sbin/init (sysvinit), and everything that runs from there on, and writes, and switches the machine off, is
# the share's too. Where the kernel has virtio-fs built in (QEMU's 7.x) it mounts by itself, with no initramfs at all;
# where that is a module (6.1, User-Mode Linux) a small initramfs loads it, mounts the same words of the command line, and
# does switch_root. With QEMU's 7.x once more by a DAX window.
. "$(dirname "$0")/lib.sh"
arch=${GUEST_KERNEL:-}
case $arch in
x86_64-* | aarch64-*) arch=${arch%-*} ;;
*) arch=x86_64 ;;
esac
setup
# Programs in a window: no place of it may be used twice without KVM (docs/dax.md), so it is large, small files stay off it,
# and not all programs are read.
modes=(plain)
case ${GUEST_KERNEL:-} in
uml-7) ;;
*-7) NO_INITRAMFS=1 modes+=(window) ;;
esac

debian=$("$GUEST/mk-rootfs" "$arch" sysvinit-core mount '?essential' python3 dpkg) || exit
root=$T/share
cp -a "$debian/." "$root"
mkdir -p "$root"/{ctl,run,root,home}
# What Debian's packages leave to their scripts. The console is there before devtmpfs is.
printf '%s\n' 'id:2:initdefault:' 'si::sysinit:/bin/sh /etc/boot' >"$root/etc/inittab"
mknod -m 600 "$root/dev/console" c 5 1
mknod -m 666 "$root/dev/null" c 1 3
cat >"$root/etc/boot" <<'END'
mountpoint -q /proc || mount -t proc proc /proc
mountpoint -q /sys || mount -t sysfs sysfs /sys
mountpoint -q /dev || mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
stty raw -echo </dev/console
export PATH=/usr/sbin:/usr/bin HOME=/root
cd /root
sh /ctl/job </dev/null
code=$?
dmesg >/ctl/dmesg
echo $code >/ctl/exit
sync
poweroff -f
END
(cd "$root" && find usr/bin usr/sbin -type f | sort | xargs sha256sum) >"$root/sums"
packages=$(grep -c '^Package: ' "$root/var/lib/dpkg/status")

for mode in "${modes[@]}"; do
    options=() flags=''
    if [ "$mode" = window ]; then options=(--dax-window=1G --log-level=debug) flags=,dax=inode; fi
    daemon "$mode" "$root" ${options[@]+"${options[@]}"}
    # The guest finds its directory as /ctl, which is the share's.
    mkdir "$root/work.$mode"
    rm -f "$root"/ctl/{exit,job,dmesg}
    ln -s "$root/ctl" "$T/$mode"
    guest "$mode" -m 1G -t 240 -r "$mode$flags" "$mode" <<END
mode=$mode flags=${flags#,} packages=$packages arch=$arch direct=${NO_INITRAMFS:-}
$(cat <<'JOB'
equal "the root file system" "$mode virtiofs" "$(sed -n 's|^\([^ ]*\) / \(virtiofs\) .*|\1 \2|p' /proc/mounts)"
if [ -n "$flags" ]; then check "mounted with $flags" grep -q " / virtiofs .*$flags" /proc/mounts; fi
if [ -n "$direct" ]; then check "the kernel mounted it" sh -c "dmesg | grep 'VFS: Mounted root (virtiofs filesystem)'"; fi
equal "process 1 is the share's init" /usr/sbin/init "$(readlink -f /proc/1/exe)"
check "and has the share's libraries" grep -q ' /usr/lib/.*/libc\.so\.6' /proc/1/maps
equal "the processor" "$arch" "$(uname -m)"
[ -n "$flags" ] || check "all programs of the root are right" sh -c 'cd / && sha256sum --status -c /sums'
equal "dpkg knows all packages" "$packages" "$(dpkg-query -W | wc -l)"
equal "perl" 5040 "$(perl -MList::Util=product -e 'print product(1 .. 7)')"
equal "python" '{"a": [1, 2]}' "$(python3 -c 'import json; print(json.dumps({"a": [1, 2]}))')"

cd "/work.$mode"
check "a directory" mkdir -m 750 dir
echo "from the root" >dir/file
echo "and more" >>dir/file
check "a mode" chmod 640 dir/file
check "an owner" chown 1000:2000 dir/file
check "a link" ln dir/file dir/other
check "a symbolic link" ln -s dir/file link
check "a fifo" mkfifo fifo
check "a device" mknod null c 1 3
echo gone >removed
check "removed" rm removed
echo old >name
check "renamed" mv name renamed
check "a copy" cp -r /etc/default default
check "an archive" tar -cf etc.tar -C / etc
check "a database of dpkg's kind" sh -c 'dpkg --print-architecture >arch && sync arch'
if [ -z "$flags" ]; then # this forgets files, and their places in a window are used again
    check "made read-only" mount -o remount,ro /
    check "nothing is written then" sh -c '! touch no'
    check "and again" mount -o remount,rw /
fi
JOB
)
END
    check "$mode: the daemon ends with its guest, code 0" daemon_wait "$mode"
    equal "$mode: and has not complained" "" \
        "$(grep -E ' (WARN|ERROR) ' "$T/$mode.log" | grep -v 'hard limit of open descriptors\|truncates a mapped')"
    if [ "$mode" = window ]; then
        check "$mode: files were mapped" grep -q ' SETUPMAPPING nodeid .*: ok' "$T/$mode.log"
        equal "$mode: no place was used twice" 0 "$(grep -c ' REMOVEMAPPING nodeid .*: ok' "$T/$mode.log")"
    fi
    check "$mode: and took its guest for Linux" linux_known "$mode"
    dir=$root/work.$mode
    equal "$mode: host: contents" "from the root/and more" "$(paste -s -d/ "$dir/dir/file")"
    equal "$mode: host: mode, owner, names" "640 1000 2000 2" "$(stat -c '%a %u %g %h' "$dir/dir/file")"
    equal "$mode: host: directory" 750 "$(stat -c %a "$dir/dir")"
    equal "$mode: host: what there is" "arch default dir etc.tar fifo link null renamed" \
        "$(find "$dir" -mindepth 1 -maxdepth 1 -printf '%f\n' | sort | paste -s -d' ')"
    equal "$mode: host: renamed" old "$(cat "$dir/renamed")"
    equal "$mode: host: types" "fifo/character special file/symbolic link" \
        "$(stat -c %F "$dir/fifo" "$dir/null" "$dir/link" | paste -s -d/)"
    check "$mode: host: the copy" diff -r "$root/etc/default" "$dir/default"
    check "$mode: host: the archive" tar -df "$dir/etc.tar" -C "$root"
done
check "host: the programs are what they were" env -C "$root" sha256sum --status -c sums
finish
