#!/usr/bin/env bash
# mkosi starts the daemon: Debian sid's, as it is, boots a folder as if it had built it, and one more folder beside. With sid's
# QEMU, without KVM (see world-lib.sh and sid-root). VIRTIOFSD must run on sid's libraries: one that was built with
# -Dprefer_static=true.
GUEST_KERNEL=${GUEST_KERNEL:-x86_64-7} # virtio-fs and PCI are built in: the root is mounted without an initramfs
. "$(dirname "$0")/lib.sh"
. "$GUEST/world-lib.sh"
WORLD_TMPFS=(/run /dev/shm /var/tmp) WORLD_SUITE=sid
if [ -z "${WORLD_INSIDE:-}" ]; then
    tools_of util-linux unshare
    sid_ready
    setup
    chmod 755 "$T" # another user looks in
fi
world "$0" "$@"

# Its sandbox shows the daemon this folder and the share, and nothing else of ours; and there is nothing to write to but stderr.
mkdir "$T/bin"
cp "$VIRTIOFSD" "$T/bin/ours"
cat >"$T/bin/virtiofsd" <<SH
#!/bin/sh
echo "started: \$(id -u) \$*" >&2
exec "$T/bin/ours" "\$@"
SH
chmod 755 "$T/bin/virtiofsd"
mkdir "$T/tmp" "$T/image" "$T/other"
chmod 1777 "$T/tmp"
chown 65534:65534 "$T/other"
export HOME=$T TMPDIR=$T/tmp TERM=dumb
echo "from the host" >"$T/other/host"
chown 65534:65534 "$T/other/host"
root_folder "$T/image/mkosi.output/image" <<'SH'
#!/bin/sh
mount -t proc none /proc
mount -t sysfs none /sys
echo "first: $(sed 1q /proc/mounts)"
echo "tags:" $(cat /sys/fs/virtiofs/*/tag)
echo "from the guest" >/etc/made && chown 1:2 /etc/made
for t in $(cat /sys/fs/virtiofs/*/tag); do
    [ "$t" = root ] || mount -t virtiofs $t /tmp
done
echo "host: $(cat /tmp/host) $(stat -c %u:%g /tmp/host)"
echo more >/tmp/made
poweroff -f
SH
cat >"$T/image/mkosi.conf" <<CONF
[Distribution]
Distribution=debian
[Output]
Format=directory
[Build]
ExtraSearchPaths=$T/bin
[Runtime]
KVM=no
VSock=no
TPM=no
Firmware=linux
Linux=$QEMU_CACHE/kernels/$GUEST_KERNEL/vmlinuz
KernelCommandLineExtra=init=/bin/init panic=-1 quiet
Console=native
RAM=512M
CPUs=1
RuntimeTrees=$T/other:/mnt/other
CONF
cd "$T/image" || exit
echo "# $(mkosi --version), $(qemu-system-x86_64 --version | head -n 1)"
started() { sed -n "s|/work$T/||; s|--fd [0-9]*|--fd N|; s/^started: //p" "$T/vm.out" | sort; }
all_gone() { ! readlink /proc/[0-9]*/exe | grep -x "$T/bin/ours" && [ -z "$(ls "$T/tmp")" ]; }
WORDS="--xattr --no-announce-submounts --sandbox=chroot --inode-file-handles=HOW --log-level=error --modcaps=-mknod --fd N"

timeout $((180 * ${GUEST_TIMES:-1})) mkosi --debug vm </dev/null >"$T/vm.out" 2>&1
equal "mkosi runs a machine to its end" 0 $?
equal "by these daemons" "0 --shared-dir image/mkosi.output/image ${WORDS/HOW/prefer}
0 --shared-dir other ${WORDS/HOW/never}" "$(started)"
equal "the guest's root is the share" "root / virtiofs rw,relatime 0 0" "$(said vm.out first)"
equal "and the other is there, too" "/mnt/other root" "$(said vm.out tags | tr ' ' '\n' | sort | tr '\n' ' ' | sed 's/ $//')"
equal "a file that it made and gave away" "from the guest 1:2" "$(stat -c "$(cat "$T/image/mkosi.output/image/etc/made") %u:%g" "$T/image/mkosi.output/image/etc/made")"
equal "the other's files are the host's, and root's as mkosi means it" "from the host 0:0" "$(said vm.out host)"
equal "what the guest made there is its owner's" "more 65534:65534" "$(stat -c "$(cat "$T/other/made") %u:%g" "$T/other/made")"
check "no daemon and no socket stays" await_host "the end" 10 all_gone
finish
