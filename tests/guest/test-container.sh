#!/usr/bin/env bash
# What container engines ask of a share: an overlay's upper layer on it, that works for longer than names are
# remembered; and the root of a container that is an ordinary user of the guest.
. "$(dirname "$0")/lib.sh"
setup
mkdir "$T/upper" "$T/rootless"
daemon upper "$T/upper" --xattrmap=:map::user.virtiofs.:
daemon rootless "$T/rootless"
chmod 777 "$T/rootless"

guest g -m 512M upper rootless <<'END'
as() { su "$1" -s /bin/sh -c "$2"; }
refused() { ! "$@"; }
chmod 755 /

echo "# an overlay with its upper layer on the share: files copied up, and looked at again later"
[ ! -f /lib/modules/overlay.ko ] || insmod /lib/modules/overlay.ko 2>/dev/null
if grep -q overlay /proc/filesystems; then
    share upper /mnt
    mkdir -p /mnt/upper /mnt/work /tmp/lower/dir /tmp/merged
    for f in file copied renamed linked gone mapped dir/inside; do echo lower >/tmp/lower/$f; done
    chmod 600 /tmp/lower/copied
    check "it mounts" mount -t overlay -o lowerdir=/tmp/lower,upperdir=/mnt/upper,workdir=/mnt/work o /tmp/merged
    cd /tmp/merged
    echo upper >>file # each of these is copied up by a file without a name
    chmod 640 copied
    echo upper >>mapped
    echo upper >>dir/inside
    mv renamed moved
    ln linked link
    rm gone
    echo new >new
    exec 5>>file 6<mapped
    sleep 2.5 # the share's names are remembered for one second
    look() {
        equal "$1: what was written" "lower upper" "$(tr '\n' ' ' <file | sed 's/ $//')"
        equal "$1: below" "lower upper" "$(tr '\n' ' ' <dir/inside | sed 's/ $//')"
        equal "$1: the mode" 640 "$(stat -c %a copied)"
        equal "$1: renamed" lower "$(cat moved)"
        equal "$1: two names" 2:2 "$(stat -c %h linked):$(stat -c %h link)"
        equal "$1: new" new "$(cat new)"
        equal "$1: the list" "copied dir file link linked mapped moved new" "$(ls | tr '\n' ' ' | sed 's/ $//')"
    }
    look "after two seconds"
    check "written to an open file" sh -c 'echo more >&5'
    equal "and read from one" "lower" "$(head -n 1 <&6)"
    check "appended by name" sh -c 'echo again >>file'
    check "its mode" chmod 600 file
    check "its time" touch -d '2001-01-01 00:00:00' mapped
    check "renamed" mv file file2
    check "and back" mv file2 file
    check "removed" rm copied
    check "a directory too" rm -r dir
    exec 5>&- 6<&-
    equal "all of it" "lower upper more again" "$(tr '\n' ' ' <file | sed 's/ $//')"
    cd /
    check "unmounted" umount /tmp/merged
    check "and mounted again" mount -t overlay -o lowerdir=/tmp/lower,upperdir=/mnt/upper,workdir=/mnt/work o /tmp/merged
    equal "all is there" "file link linked mapped moved new" "$(ls /tmp/merged | tr '\n' ' ' | sed 's/ $//')"
    umount /tmp/merged
    umount /mnt
else
    echo "# this guest kernel has no overlayfs: skipped"
fi

echo "# root of a user namespace: below directories that nobody may write to"
share rootless /mnt
as alice "mkdir /mnt/layer && chmod 555 /mnt/layer"
check "alice may not" refused as alice "echo no >/mnt/layer/no"
if as alice "unshare -U -r true" 2>/dev/null; then
    root() { as alice "unshare -U -r sh -c '$1'"; }
    check "her container's root may make a file" root "echo hers >/mnt/layer/file"
    equal "which is hers" 1000:1000 "$(stat -c %u:%g /mnt/layer/file)"
    check "a directory" root "mkdir -m 555 /mnt/layer/dir && mkdir /mnt/layer/dir/dir"
    check "a link, a FIFO" root "ln -s x /mnt/layer/dir/link && mkfifo /mnt/layer/dir/fifo"
    check "other names" root "ln /mnt/layer/file /mnt/layer/dir/two && mv /mnt/layer/dir/two /mnt/layer/two"
    check "and remove them" root "rm -r /mnt/layer/dir /mnt/layer/two"
    equal "what is left" file "$(ls /mnt/layer)"
    check "no device" refused root "mknod /mnt/layer/null c 1 3"
    mkdir /mnt/other
    check "nothing in another user's directory" refused root "echo no >/mnt/other/no"
else
    echo "# this guest kernel has no user namespaces: skipped"
fi
umount /mnt
END
equal "the host has it" 1000:1000 "$(stat -c %u:%g "$T/rootless/layer/file")"
finish
