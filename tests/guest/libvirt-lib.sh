# shellcheck shell=bash
# A libvirtd of a test's own, in a world of its own (see world-lib.sh). Sourced after lib.sh. A test calls libvirt_ready and
# setup, then `world "$0" "$@"`, and in there libvirt_start.

# shellcheck source=tests/guest/world-lib.sh
. "$GUEST/world-lib.sh"
# What libvirt and QEMU write to.
WORLD_TMPFS=(/run /etc/libvirt /var/lib/libvirt /var/cache/libvirt /var/log/libvirt /dev/shm)
WORLD_OF=libvirt-daemon
# Of the daemons that it starts with a domain libvirt cares for in the groups of cpu and cpuset alone.
WORLD_GROUPS=cpu
WORLD_SUITE=${LIBVIRT:-}

# libvirt_ready: what is needed is there, or is made.
libvirt_ready() {
    local f
    tools_of attr setfattr getfattr
    tools_of util-linux unshare flock
    for f in subuid subgid; do [ -f /etc/$f ] || lacks "file /etc/$f" passwd; done
    "$GUEST/qemu-root" "$GUEST_KERNEL" || lacks "kernel $GUEST_KERNEL" linux-image-amd64
    if [ "${LIBVIRT:-}" = sid ]; then
        sid_ready
        return
    fi
    tools_of libvirt-daemon libvirtd
    tools_of libvirt-daemon-driver-qemu /usr/lib/x86_64-linux-gnu/libvirt/connection-driver/libvirt_driver_qemu.so
    tools_of libvirt-clients virsh
    tools_of qemu-system-x86 qemu-system-x86_64
}

SESSION=virtiofs-tester
# The user that Debian's libvirt is built for, which libvirt-daemon-system makes, in files of our own.
world_more() {
    local f
    cp /etc/passwd /etc/group "$T"
    grep -q '^libvirt-qemu:' "$T/passwd" || echo 'libvirt-qemu:x:64055:64055::/var/lib/libvirt:/bin/false' >>"$T/passwd"
    grep -q '^libvirt-qemu:' "$T/group" || echo 'libvirt-qemu:x:64055:' >>"$T/group"
    # And one who starts a libvirtd of his own.
    echo "$SESSION:x:1999:1999::/nonexistent:/bin/sh" >>"$T/passwd"
    echo "$SESSION:x:1999:" >>"$T/group"
    for f in subuid subgid; do echo "$SESSION:200000:65536" >"$T/$f"; done
    for f in passwd group subuid subgid; do mount --bind "$T/$f" /etc/$f && mount -o remount,bind,ro /etc/$f || return; done
    WORLD_LOGS=(/var/log/libvirt/qemu "$T/user/.cache/libvirt/qemu/log")
}

# ---- libvirtd ----

# libvirt_start: the daemon, and virsh as `v`. Only the driver that is wanted: the others look for dbus and udev.
libvirt_start() {
    local drivers=/usr/lib/x86_64-linux-gnu/libvirt/connection-driver
    mkdir "$T/drivers" "$T/home"
    ln -s $drivers/libvirt_driver_qemu.so "$T/drivers"
    cat >/etc/libvirt/qemu.conf <<'CONF'
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
namespaces = []
stdio_handler = "file"
CONF
    printf '%s\n' 'auth_unix_rw = "none"' 'auth_unix_ro = "none"' "log_outputs = \"3:file:$T/libvirtd.log\"" >"$T/libvirtd.conf"
    export HOME=$T/home XDG_RUNTIME_DIR=$T/home LIBVIRT_DRIVER_DIR=$T/drivers
    libvirtd --config "$T/libvirtd.conf" >"$T/libvirtd.out" 2>&1 &
    if ! await_host "libvirtd" 60 v uri >/dev/null; then
        not_ok "libvirtd starts"
        sed 's/^/# /' "$T/libvirtd.out" "$T/libvirtd.log"
        finish
    fi
}
v() { virsh --quiet --connect qemu:///system "$@"; }

# The same of the session user; session_start first, which gives him a home.
u() {
    setpriv --reuid 1999 --regid 1999 --clear-groups env HOME="$T/user" XDG_RUNTIME_DIR="$T/user/run" \
        virsh --quiet --connect qemu:///session "$@"
}
session_start() {
    mkdir -p "$T/user/run"
    chown -R 1999:1999 "$T/user"
    check "an ordinary user's libvirtd" u uri
}

# descriptions [NAME=BINARY]…: what libvirt finds in /usr/share/qemu/vhost-user: QEMU's of Debian 12, and these,
# each ours with another binary.
descriptions() {
    local d
    mkdir -p "$T/vhost-user"
    printf '{ "description": "QEMU virtiofsd vhost-user-fs", "type": "fs", "binary": "/usr/lib/qemu/virtiofsd" }\n' \
        >"$T/vhost-user/50-qemu-virtiofsd.json"
    for d in "$@"; do
        sed "s|@BINARY@|${d#*=}|" "$TOP/docs/40-virtiofsd.json.in" >"$T/vhost-user/${d%%=*}"
    done
    mount --bind "$T/vhost-user" /usr/share/qemu/vhost-user && mount -o remount,bind,ro /usr/share/qemu/vhost-user
}

# ---- domains ----

# domain NAME: its XML, with the file systems on stdin. The initramfs is the outer test's. Four ports for what is plugged
# in later.
domain() {
    local kernel=$QEMU_CACHE/kernels/$GUEST_KERNEL
    cat <<XML
<domain type='qemu'>
  <name>$1</name>
  <memory unit='MiB'>512</memory>
  <vcpu>1</vcpu>
  <memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
    <kernel>$kernel/vmlinuz</kernel>
    <initrd>$WORLD_TEST/initramfs</initrd>
    <cmdline>console=ttyS0 quiet loglevel=1 panic=-1 no_timer_check ctl=9p</cmdline>
  </os>
  <cpu mode='maximum'/>
  <features><acpi/></features>
  <on_reboot>restart</on_reboot>
  <on_crash>destroy</on_crash>
  <devices>
    <emulator>${EMULATOR:-/usr/bin/qemu-system-x86_64}</emulator>
    <controller type='usb' model='none'/>
    $(for p in 1 2 3 4 5 6 7 8; do echo "<controller type='pci' index='$p' model='pcie-root-port'/>"; done)
    <memballoon model='none'/>
    <serial type='file'><source path='$CTL/console'/></serial>
    <filesystem type='mount' accessmode='squash'><source dir='$CTL'/><target dir='ctl'/></filesystem>
    $(cat)
  </devices>
</domain>
XML
}

# guest_shell DIR: the folder between us and the guest, from here on; in the guest a shell that runs what the host writes, one file after the other, also after a reset.
guest_shell() {
    CTL=$1
    mkdir "$CTL"
    { cat "$GUEST/guest-lib.sh" - <<'LIB'; } >"$CTL/lib"
# mounts TAG DIR: as soon as the device is there, which was plugged in just now.
mounts() {
    mkdir -p "$2"
    for i in $(seq 100); do
        ! mount -t virtiofs "$1" "$2" 2>/dev/null || return 0
        sleep 0.1
    done
    return 1
}
# lost TAG DIR: it was unplugged just now, and soon cannot be mounted any more.
lost() {
    for i in $(seq 100); do
        umount -l "$2" 2>/dev/null
        mount -t virtiofs "$1" "$2" 2>/dev/null || return 0
        sleep 0.1
    done
    return 1
}
LIB
    echo 0 >"$CTL/next"
    cat >"$CTL/job" <<'JOB'
n=$(cat /ctl/next)
: >/ctl/up
while :; do
    if [ -e "/ctl/do.$n" ]; then
        { cat /ctl/lib "/ctl/do.$n"; } >/tmp/do
        sh /tmp/do </dev/null >"/ctl/out.$n" 2>&1
        echo $? >"/ctl/code.$n"
        n=$((n + 1))
    else
        sleep 0.02
    fi
done
JOB
}
# guest_up [SECONDS]: it has booted (again). The file is the guest's to remove: until its shell listens it may not have done
# with making it, and a shell that cannot is at its end.
guest_up() { rm -f "$CTL/mute"; await_host "the guest" "${1:-120}" test -e "$CTL/up" && g rm /ctl/up; }
# g COMMAND…, or g <<script: in the guest; what it says and its code.
g() {
    local n
    n=$(cat "$CTL/next")
    echo $((n + 1)) >"$CTL/next"
    if [ $# -gt 0 ]; then echo "$*"; else cat; fi >"$CTL/do.tmp"
    mv "$CTL/do.tmp" "$CTL/do.$n"
    # Whoever did not answer once is asked no more.
    [ ! -e "$CTL/mute" ] && await_host "the guest's answer" 60 test -s "$CTL/code.$n" || { : >"$CTL/mute"; return 124; }
    cat "$CTL/out.$n"
    return "$(cat "$CTL/code.$n")"
}

# ---- what became of it ----

# daemons DIR: the process ids of whatever serves DIR, the one that libvirt started first.
daemons() {
    local p line
    for p in $(cd /proc && echo [0-9]*); do
        line=$({ tr '\0' '\n' <"/proc/$p/cmdline"; } 2>/dev/null) || continue
        case $line in
        *virtiofsd*source="${1//,/,,}"[,$'\n']* | *virtiofsd*source="${1//,/,,}" | *virtiofsd*--shared-dir$'\n'"$1"[$'\n']* | *virtiofsd*--shared-dir$'\n'"$1") echo "$p" ;;
        esac
    done | sort -n
}
# arguments DIR: its daemon's, on one line, without the program's name and the descriptor's number.
arguments() {
    local pid
    pid=$(daemons "$1" | head -n 1)
    [ -z "$pid" ] || tail -z -n +2 "/proc/$pid/cmdline" | tr '\0' ' ' | sed 's/--fd=[0-9]*/--fd=N/; s/ $//'
}
no_daemon() { [ -z "$(daemons "$1")" ]; }
# in_group DIR GROUP: all that serve DIR are in that group of processes.
in_group() {
    local p
    for p in $(daemons "$1"); do
        grep -H ':/machine/' "/proc/$p/cgroup" || echo "/proc/$p: outside"
        grep -q ":/machine/$2" "/proc/$p/cgroup" || return
    done
}
