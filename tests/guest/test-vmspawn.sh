#!/usr/bin/env bash
# systemd-vmspawn starts the daemon: Debian sid's, as it is, boots a folder as a machine's root, and one more folder beside.
# With sid's QEMU, without KVM (see world-lib.sh and sid-root) and without systemd: in a control group with a unit's name, and
# with a bus of nobody. VIRTIOFSD must run on sid's libraries: one that was built with -Dprefer_static=true.
GUEST_KERNEL=${GUEST_KERNEL:-x86_64-7} # virtio-fs and PCI are built in: the root is mounted without an initramfs
. "$(dirname "$0")/lib.sh"
. "$GUEST/world-lib.sh"
WORLD_TMPFS=(/run /dev/shm /var/tmp) WORLD_SUITE=sid WORLD_GROUPS=unified
if [ -z "${WORLD_INSIDE:-}" ]; then
    tools_of util-linux unshare
    sid_ready
    setup
fi
world "$0" "$@"
[ -n "$WORLD_CGROUP" ] || skip "no hierarchy of cgroup v2 in which a group can be made: vmspawn asks for its unit's name"
group=/sys/fs/cgroup/$(basename "${WORLD_CGROUP%/*}")/system.slice/vmspawn.service
mkdir -p "$group" && echo $$ >"$group/cgroup.procs" || { not_ok "a unit's group"; finish; }

daemon_told "$T/bin"
export HOME=$T PATH=$T/bin:$PATH TERM=dumb
mkdir "$T/other"
echo "from the host" >"$T/other/host"
root_folder "$T/root" <<'SH'
#!/bin/sh
mount -t proc none /proc
mount -t sysfs none /sys
echo "first: $(sed 1q /proc/mounts)"
echo "tags:" $(cat /sys/fs/virtiofs/*/tag)
echo "from the guest" >/etc/made && chown 1:2 /etc/made
echo "owners: $(stat -c %u:%g /etc/host)"
mkdir /tmp/m && mount -t virtiofs mnt0 /tmp/m && echo "host: $(cat /tmp/m/host)" && echo more >/tmp/m/made
poweroff -f
SH
echo "from the host" >"$T/root/etc/host"

# Whoever starts it talks to the system's bus, and wants nothing there when it registers nothing.
mkdir -p /run/dbus
cat >"$T/bus.conf" <<XML
<busconfig><type>system</type><listen>unix:path=/run/dbus/system_bus_socket</listen>
<policy context="default"><allow user="*"/></policy></busconfig>
XML
dbus-daemon --config-file="$T/bus.conf" --fork --nopidfile >"$T/bus.log" 2>&1 || { not_ok "a bus"; finish; }
echo "# $(systemd-vmspawn --version | head -n 1), $(qemu-system-x86_64 --version | head -n 1)"

# spawns FILE [OPTION…]: what the machine said is in FILE.
spawns() {
    local file=$1
    shift
    timeout $((180 * ${GUEST_TIMES:-1})) systemd-vmspawn --directory="$T/root" --linux="$QEMU_CACHE/kernels/$GUEST_KERNEL/vmlinuz" \
        --kvm=no --vsock=no --tpm=no --firmware=none --register=no --keep-unit --notify-ready=no --pass-ssh-key=no \
        --console=read-only "$@" init=/bin/init console=hvc0 panic=-1 quiet </dev/null >"$T/$file" 2>&1
}
started() { sed "s|--fd [0-9]*|--fd N|; s|$T/||" "$T/started" | sort; }
all_gone() { daemons_gone && [ -z "$(find /run/systemd/vmspawn -name 'sock-*' 2>/dev/null)" ]; }
WORDS="--xattr --fd N --no-announce-submounts --log-level=error --modcaps=-mknod"

echo "# a folder as the root, owners as they are, and one more folder"
check "vmspawn runs a machine to its end" spawns one.out --bind="$T/other:/mnt/other"
equal "by these daemons" "--shared-dir other $WORDS
--shared-dir root $WORDS --translate-uid map:0:0:65536 --translate-gid map:0:0:65536" "$(started)"
equal "the guest's root is the share" "root / virtiofs rw,relatime 0 0" "$(said one.out first)"
equal "and the other is there, too" "root mnt0" "$(said one.out tags | tr ' ' '\n' | sort -r | tr '\n' ' ' | sed 's/ $//')"
equal "a file that it made" "from the guest 1:2" "$(cat "$T/root/etc/made") $(stat -c %u:%g "$T/root/etc/made")"
equal "the other's files are the host's" "from the host" "$(said one.out host)"
equal "and its own are there" more "$(cat "$T/other/made")"
check "no daemon and no socket stays" await_host "the end" 10 all_gone

echo "# the same for a range of ids of its own"
: >"$T/started"
rm "$T/root/etc/made" "$T/other/made"
rmdir "$T/root/tmp/m"
chown -R 100000:100000 "$T/root"
check "vmspawn runs a machine to its end" spawns two.out --private-users=100000
equal "by this daemon" "--shared-dir root $WORDS --translate-uid map:0:100000:65536 --translate-gid map:0:100000:65536" "$(started)"
equal "what is the range's first is the guest's root's" 0:0 "$(said two.out owners)"
equal "a file that it gave away" "from the guest 100001:100002" "$(cat "$T/root/etc/made") $(stat -c %u:%g "$T/root/etc/made")"
check "no daemon and no socket stays" await_host "the end" 10 all_gone
finish
