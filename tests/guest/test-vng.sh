#!/usr/bin/env bash
# virtme-ng starts the daemon: Debian sid's vng, as it is, boots a kernel with the root of the world that it runs in, and
# runs commands there. With sid's QEMU, without KVM (see world-lib.sh and sid-root). VIRTIOFSD must run on sid's
# libraries: one that was built with -Dprefer_static=true.
GUEST_KERNEL=${GUEST_KERNEL:-x86_64-7} # virtio-fs and PCI are built in: vng finds no modules
. "$(dirname "$0")/lib.sh"
. "$GUEST/world-lib.sh"
WORLD_TMPFS=(/run /dev/shm) WORLD_SUITE=sid
if [ -z "${WORLD_INSIDE:-}" ]; then
    tools_of util-linux unshare setpriv
    sid_ready
    setup
    chmod 755 "$T" # another user looks in
fi
world "$0" "$@"

mkdir "$T/tmp" "$T/home" "$T/data"
chmod 1777 "$T/tmp" "$T/home" "$T/data"
daemon_told "$T/bin" # which vng finds first
export HOME=$T/home TMPDIR=$T/tmp PATH=$T/bin:$PATH TERM=dumb
cd "$T" || exit
echo "# $(vng --version), $(qemu-system-x86_64 --version | head -n 1)"

# vng_runs FILE [OPTION…] COMMAND: in a guest, by $AS; what it and vng said is in FILE. A microvm would want other drivers.
AS=()
vng_runs() {
    local file=$1
    shift
    timeout $((180 * ${GUEST_TIMES:-1})) ${AS[@]+"${AS[@]}"} vng --run "$QEMU_CACHE/kernels/$GUEST_KERNEL/vmlinuz" --disable-kvm \
        --disable-microvm --verbose "${@:1:$#-1}" --exec "${@: -1}" >"$T/$file" 2>&1 </dev/null
}
# How often it looked for the daemon's file with its number, and whether it went on without the daemon.
waits() { [ "$(grep -c 'waiting for virtiofsd to start' "$T/$1")" -lt 5 ] && ! grep 'fallback to 9p' "$T/$1"; }
started() { sed "s|--socket-path $T/tmp/virtme[^ ]*|--socket-path P|" "$T/started"; }
all_gone() { daemons_gone && [ -z "$(find "$T/tmp" -name 'virtme*')" ]; } # nor a socket, or a file with its number
WORDS="--syslog --no-announce-submounts --socket-path P --shared-dir / --sandbox none -o cache"

echo "# root; nothing of the world may be written to"
echo "from the host" >"$T/data/host"
echo secret >"$T/data/secret"
chmod 600 "$T/data/secret"
cat >"$T/data/look" <<SH
echo "first: \$(head -n 1 /proc/mounts)"
echo "host: \$(cat $T/data/host)"
echo "secret: \$(cat $T/data/secret 2>&1)"
echo "vng: \$(sha256sum </usr/bin/vng)"
touch $T/data/no 2>&1 | sed 's/^/write: /'
SH
check "vng runs a command" vng_runs look.out "sh $T/data/look"
equal "by this daemon, with these arguments" "$WORDS=always" "$(started)"
check "whose file it sees in time" waits look.out
equal "the guest's root is the share" "ROOTFS / virtiofs ro,relatime 0 0" "$(said look.out first)"
equal "its files are the host's" "from the host" "$(said look.out host)"
equal "root reads what is root's" secret "$(said look.out secret)"
equal "programs are whole" "$(sha256sum </usr/bin/vng)" "$(said look.out vng)"
check "nothing is written" eval "said look.out write | grep 'Read-only file system'"
check "no daemon and no file of it stays" await_host "the end" 10 all_gone

echo "# an ordinary user, with the right to write"
AS=(setpriv --reuid 65534 --regid 65534 --clear-groups env USER=nobody LOGNAME=nobody)
: >"$T/started"
cat >"$T/data/work" <<SH
echo "first: \$(head -n 1 /proc/mounts)"
cat $T/data/secret 2>&1 | sed 's/^/secret: /'
mkdir $T/data/dir && echo "from the guest" >$T/data/dir/made && ln -s made $T/data/dir/link
mv $T/data/dir/made $T/data/dir/moved
touch $T/data/host 2>&1 | sed 's/^/touch: /'
exit 3
SH
vng_runs work.out --rw "sh $T/data/work"
equal "its command's exit code is vng's" 3 $?
equal "by this daemon, with these arguments" "$WORDS=auto" "$(started)"
check "whose file it sees in time" waits work.out
equal "the guest's root is the share" "ROOTFS / virtiofs rw,relatime 0 0" "$(said work.out first)"
equal "a file, moved, and a link are on the host" "from the guest made" "$(cat "$T/data/dir/moved") $(readlink "$T/data/dir/link")"
equal "they are this user's" "65534:65534 65534:65534" "$(stat -c %u:%g "$T/data/dir" "$T/data/dir/moved" | tr '\n' ' ' | sed 's/ $//')"
check "what is root's is not read" eval "said work.out secret | grep 'Permission denied'"
check "nor changed" eval "said work.out touch | grep 'Permission denied'"
check "no daemon and no file of it stays" await_host "the end" 10 all_gone
finish
