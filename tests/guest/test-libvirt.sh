#!/usr/bin/env bash
# libvirt starts the daemon: Debian's libvirtd, the system's kind, started by this test in a world of its own (see
# libvirt-lib.sh), QEMU of the same Debian without KVM. Its XML, the arguments that come of it, and what the daemon then
# does.
GUEST_KERNEL=${GUEST_KERNEL:-x86_64-6.1}
. "$(dirname "$0")/lib.sh"
. "$GUEST/libvirt-lib.sh"
if [ -z "${LIBVIRT_WORLD:-}" ]; then
    libvirt_tools libvirt-daemon libvirtd
    libvirt_tools libvirt-daemon-driver-qemu /usr/lib/x86_64-linux-gnu/libvirt/connection-driver/libvirt_driver_qemu.so
    libvirt_tools libvirt-clients virsh
    libvirt_tools qemu-system-x86 qemu-system-x86_64
    libvirt_tools attr setfattr getfattr
    setup setfattr getfattr
fi
libvirt_world "$0" "$@"
QEMU_CACHE=${QEMU_CACHE:-$TOP/.cache/qemu}
descriptions "40-virtiofsd.json=$VIRTIOFSD"
guest_shell
libvirt_start

mkdir "$T/plain"
echo "from the host" >"$T/plain/host"
domain one >"$T/one.xml" <<XML
<filesystem type='mount' accessmode='passthrough'>
  <driver type='virtiofs'/>
  <source dir='$T/plain'/>
  <target dir='plain'/>
</filesystem>
XML
check "define" v define "$T/one.xml"
check "start" v start one
check "the guest is up" guest_up
check "mount" g mount -t virtiofs plain /mnt
equal "a host's file is read in the guest" "from the host" "$(g cat /mnt/host)"
g "echo from the guest >/mnt/guest"
equal "a guest's file is read on the host" "from the guest" "$(cat "$T/plain/guest")"
check "destroy" v destroy one
finish
