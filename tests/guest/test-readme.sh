#!/usr/bin/env bash
# README.md's quick starts, run as they are written there: each block of commands is taken from the text, and only /srv
# and /run become folders of the test, `virtiofsd` the daemon of this build, and the dots at a hypervisor's line what boots
# a guest. In QEMU and User-Mode Linux a guest really mounts, by the text's own words; of hypervisors that need KVM the
# daemon's line is run, and theirs must name the socket that it listens on. Parts: see the end; the first argument chooses.
[ "${1:-uml}" = uml ] || GUEST_KERNEL=${GUEST_KERNEL:-x86_64-7}
. "$(dirname "$0")/lib.sh"
setup

readme=$TOP/README.md
mkdir -p "$T/bin" "$T/srv/share" "$T/run" "$T/g/uml"
ln -s "$VIRTIOFSD" "$T/bin/virtiofsd"
echo "from the host" >"$T/srv/share/host"

# block HEADING N: the Nth block of code below the first such heading, with our folders.
block() {
    awk -v heading="$1" -v n="$2" '
        /^#/ { below = !found && $0 ~ "^#+ " heading; found = found || below; block = 0; inside = 0; next }
        below && /^    / { if (!inside) { block++; inside = 1 } if (block == n) { print substr($0, 5) } next }
        below && NF { inside = 0 }' "$readme" | sed "s,/srv/,$T/srv/,g; s,/run/,$T/run/,g"
}
# start HEADING N: run it as a user does who types it. The daemon in the background should end with its guest, within so many
# turns of 50 ms; then it is sent away.
start() {
    block "$1" "$2" | sed '/^guest# /d' >"$T/block"
    check "README has commands for $1" grep -q virtiofsd "$T/block"
    rm -f "$T"/g/{exit,out,dmesg}
    cat >"$T/run-block" <<'RUN'
stop() {
    for ((; patience > 0; patience--)); do
        [ -n "$(jobs -pr)" ] || return
        sleep 0.05
    done
    echo "the daemon is still there"
    kill $(jobs -pr)
    wait
}
patience=$2
trap stop EXIT
set -e
. "$1"
RUN
    REST=$T/rest TESTED=$T PATH=$T/bin:$PATH timeout "$((150 * ${GUEST_TIMES:-1}))" \
        bash "$T/run-block" "$T/block" "${PATIENCE:-200}" >"$T/log" 2>&1 &
    DAEMON[readme]=$!
}
# ended: the hypervisor is done, and the daemon too.
ended() {
    local code=0
    wait "${DAEMON[readme]}" || code=$?
    unset "DAEMON[readme]"
    rm -f "$T"/run/*
    return "$code"
}
# shown WHAT: the guest has ended well and said so.
shown() {
    count_lines "$T/g/out"
    equal "$1: its guest" 0 "$(cat "$T/g/exit" 2>/dev/null)"
    equal "$1: the daemon ends with its guest" 0 "$(grep -c 'still there' "$T/log")"
    [ "$(cat "$T/g/exit" 2>/dev/null)" = 0 ] || { tail -n 10 "$T/log" "$T/g/dmesg" 2>/dev/null | sed 's/^/# /'; }
}
# job COMMAND…: what the guest does: each of these commands of the text mounts the share at /mnt.
job() {
    local command
    # shellcheck disable=SC2016 # the guest's
    {
        cat "$GUEST/guest-lib.sh"
        for command in "$@"; do
            echo "check '$command' $command"
            echo 'equal "the host'\''s file" "from the host" "$(cat /mnt/host)"'
            echo 'check "a file is made" sh -c "echo from the guest >/mnt/guest"'
            echo 'check "umount" umount /mnt'
        done
    } >"$T/g/job"
}

# The hypervisors: in place of the dots, what is in the file $REST, a word a line. A front-end comes when the daemon listens.
wrapper() {
    cat >"$T/bin/$1" <<'WRAPPER'
#!/usr/bin/env bash
socket=$(printf '%s\n' "$@" | sed -n 's/.*\(socket=\|path=\|device=\)\(\/[^:,]*\.sock\).*/\2/p' | tail -n 1)
for ((i = 0; i < 500; i++)); do [ -S "$socket" ] && break; sleep 0.02; done
[ -S "$socket" ] || { echo "nobody listens on '$socket'"; exit 3; }
mapfile -t rest <"$REST"
words=() dots=
for w in "$@"; do if [ "$w" = ... ]; then words+=("${rest[@]}") dots=1; else words+=("$w"); fi; done
[ "$dots" ] || { echo "no dots"; exit 3; }
WRAPPER
    cat >>"$T/bin/$1"
    chmod +x "$T/bin/$1"
}

first_mount=$(block virtiofsd 1)
equal "the first command of README mounts" "mount -t virtiofs share /mnt" "$first_mount"

uml() {
    local shim=$GUEST_PROGS/libuml-xstate.so
    [ ! -e "$shim" ] || export SHIM=$shim
    printf '%s\n' "initrd=$T/initramfs" rdinit=/init con=null con0=null,fd:1 quiet loglevel=0 panic=-1 "uml_dir=$T/g/uml/" \
        umid=g "ctl=$T/g" >"$T/rest"
    wrapper linux.uml <<END
LD_PRELOAD=\${SHIM:-} exec "$(type -P linux.uml)" "\${words[@]}" </dev/null > >(exec cat >"\$TESTED/g/out") 2>&1
END
    job "$first_mount"
    start 'User-Mode Linux' 1
    check "User-Mode Linux ends" ended
    shown "User-Mode Linux"
}

qemu_words() {
    local root=$QEMU_CACHE/root kernel=$QEMU_CACHE/kernels/$GUEST_KERNEL lib
    lib=$root/usr/lib/x86_64-linux-gnu
    printf '%s\n' -L "$root/usr/share/qemu" -L "$root/usr/share/seabios" -cpu max -accel tcg,thread=multi -nodefaults \
        -no-user-config -display none -no-reboot -chardev "file,id=out,path=$T/g/out" -serial chardev:out \
        -kernel "$kernel/vmlinuz" -initrd "$T/initramfs" -append "console=ttyS0 no_timer_check quiet loglevel=1 panic=-1 ctl=9p" \
        -fsdev "local,id=ctl,path=$T/g,security_model=passthrough" -device virtio-9p-pci,fsdev=ctl,mount_tag=ctl >"$T/rest"
    wrapper qemu-system-x86_64 <<END
QEMU_MODULE_DIR="$lib/qemu" exec "$lib/ld-linux-x86-64.so.2" --library-path "$lib" "$root/usr/bin/qemu-system-x86_64" "\${words[@]}" </dev/null
END
}
# in_qemu WHAT HEADING N: its commands, and the guest that job has got ready.
in_qemu() {
    start "$2" "$3"
    check "$1: QEMU ends" ended
    tr -d '\r' <"$T/g/out" >"$T/g/lines"
    mv "$T/g/lines" "$T/g/out"
    shown "$1"
}
# guest_commands HEADING N: the words behind "guest#".
guest_commands() { block "$1" "$2" | sed -n 's/^guest# //p' | sed 's/ *#.*//'; }

qemu() {
    local commands
    qemu_words
    job "$first_mount"
    in_qemu QEMU QEMU 1
    mapfile -t commands < <(guest_commands DAX 1)
    equal "DAX: two commands for the guest" 2 "${#commands[@]}"
    job "${commands[@]}"
    in_qemu DAX DAX 1
    check "DAX: files were mapped" grep -q 'DAX:.* mapp' "$T/log"
    mapfile -t commands < <(guest_commands 9P 1)
    equal "9P: one command for the guest" 1 "${#commands[@]}"
    job "${commands[@]}" "$first_mount"
    in_qemu 9P 9P 1
}

# What needs KVM, or is no command line.
words() {
    local name PATIENCE=1
    echo >"$T/rest"
    # shellcheck disable=SC2016 # the wrapper's
    for name in cloud-hypervisor crosvm; do wrapper "$name" <<<'echo "as front-end: ${words[*]}"'; done
    start 'Cloud Hypervisor' 1
    check "Cloud Hypervisor: its socket is the daemon's" ended
    check "and guest memory is shared" grep -q '^as front-end: --memory .*shared=on .*--fs tag=.*socket=' "$T/log"
    start crosvm 1
    check "crosvm: its socket is the daemon's" ended
    check "and it is a file system" grep -q '^as front-end: run .*--vhost-user fs,socket=' "$T/log"

    block 'Kata Containers' 1 >"$T/kata.toml"
    check "Kata's words are TOML, and the daemon takes its arguments" python3 - "$T/kata.toml" "$VIRTIOFSD" <<'PYTHON'
import subprocess, sys, tomllib
with open(sys.argv[1], 'rb') as f:
    kata = tomllib.load(f)
assert kata['virtio_fs_daemon'] in kata['valid_virtio_fs_daemon_paths']
# The last one ends the walk through all before it.
subprocess.run([sys.argv[2], f'--cache={kata["virtio_fs_cache"]}', *kata['virtio_fs_extra_args'], '--version'], check=True)
PYTHON
    block libvirt 1 >"$T/libvirt.xml"
    check "libvirt's are XML, of memory that is shared and a daemon" python3 - "$T/libvirt.xml" <<'PYTHON'
import sys, xml.etree.ElementTree as tree
domain = tree.parse(sys.argv[1]).getroot()
assert domain.find('memoryBacking/access').get('mode') == 'shared'
share = domain.find('devices/filesystem')
assert share.find('driver').get('type') == 'virtiofs' and share.find('binary').get('path') == '/usr/local/libexec/virtiofsd'
assert share.find('source').get('dir').endswith('/srv/share') and share.find('target').get('dir') == 'share'
PYTHON
}

case ${1:-uml} in
uml) uml && words ;;
qemu) qemu ;;
*) echo "usage: ${0##*/} [uml | qemu]" >&2; exit 2 ;;
esac
finish
