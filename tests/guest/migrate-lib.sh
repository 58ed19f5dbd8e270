# shellcheck shell=bash
# Words for tests that move a guest between QEMU 11.1's machines; after lib.sh.

declare -A MACHINE=()

# migrate_setup: as setup, with the guest that moves.
migrate_setup() {
    type -P python3 >/dev/null || skip "no python3, which speaks to QEMU"
    setup mover "$GUEST/mover-init=bin/mover-init"
    trap 'kill_machines; teardown' EXIT
}

kill_machines() {
    local name
    for name in "${!MACHINE[@]}"; do kill_machine "$name"; done
}

# machine NAME [ARGUMENT…]: a machine with the daemon of that name. Its console is $T/NAME.serial, its monitor
# $T/NAME.qmp.
machine() {
    local name=$1 lib=$QEMU_CACHE/root/usr/lib/x86_64-linux-gnu kernel=$QEMU_CACHE/kernels/$GUEST_KERNEL
    local arch=${GUEST_KERNEL%-*} console=ttyS0 model=("-M" "q35,memory-backend=mem" "-cpu" max)
    shift
    if [ "$arch" = aarch64 ]; then
        console=ttyAMA0
        model=("-M" "virt,memory-backend=mem" "-cpu" cortex-a57)
    fi
    [ ! -e "$T/$name.serial" ] || mv "$T/$name.serial" "$T/serial.$name.$SECONDS"
    rm -f "$T/$name.qmp"
    QEMU_MODULE_DIR="$lib/qemu" "$lib/ld-linux-x86-64.so.2" --library-path "$lib" \
        "$QEMU_CACHE/root/usr/bin/qemu-system-$arch" -L "$QEMU_CACHE/root/usr/share/qemu" -L "$QEMU_CACHE/root/usr/share/seabios" \
        "${model[@]}" -accel tcg,thread=multi -smp 1 -m 256M -object memory-backend-memfd,id=mem,size=256M,share=on \
        -nodefaults -no-user-config -display none -no-reboot -serial "file:$T/$name.serial" \
        -kernel "$kernel/vmlinuz" -initrd "$T/initramfs" \
        -append "console=$console quiet loglevel=1 panic=-1 no_timer_check rdinit=/bin/mover-init" \
        -chardev "socket,id=c0,path=$T/$name.sock" -device vhost-user-fs-pci,chardev=c0,tag=myfs,queue-size=128 \
        -qmp "unix:$T/$name.qmp,server=on,wait=off" "$@" </dev/null >"$T/$name.qemu" 2>&1 &
    MACHINE[$name]=$!
    await_host "the machine's monitor" 30 test -S "$T/$name.qmp"
}

# rust_daemon NAME DIR [OPTION…]: the Rust daemon in place of ours.
# shellcheck disable=SC2034,SC2004 # lib.sh's array
rust_daemon() {
    local name=$1 dir=$2
    shift 2
    "$TOP/tests/bench/rivals" "$TOP/.cache/rivals" rust >/dev/null 2>"$T/rivals" || skip "no Rust daemon: $(tail -n 1 "$T/rivals")"
    "$TOP/.cache/rivals/rust" --sandbox=none --socket-path="$T/$name.sock" --shared-dir="$dir" "$@" >>"$T/$name.log" 2>&1 &
    DAEMON[$name]=$!
    await_host "the Rust daemon's socket" 10 test -S "$T/$name.sock"
}

# moves FROM TO
moves() {
    local said
    await_host "$2 to listen" 60 test -S "$T/$2.mig"
    said=$("$GUEST/qmp" "$T/$1.qmp" migrate "unix:$T/$2.mig" 2>&1)
    equal "the guest moves from $1 to $2" "completed " "$said"
    [ "$said" = "completed " ] || { cat "$T/$1.qemu" "$T/$2.qemu"; tail -n 5 "$T/$1.log" "$T/$2.log"; } | sed 's/^/# /'
}

wait_machine() {
    wait "${MACHINE[$1]}" 2>/dev/null
    unset "MACHINE[$1]"
}
end_machine() {
    "$GUEST/qmp" "$T/$1.qmp" quit >/dev/null 2>&1
    wait_machine "$1"
}
kill_machine() {
    kill -KILL "${MACHINE[$1]}" 2>/dev/null
    wait_machine "$1"
}

round_of() { tr -d '\r' 2>/dev/null <"$T/$1.serial" | sed -n 's/^round //p' | tail -n 1; }
past_round() { [ "$(round_of "$1")" -ge "$2" ]; }
# await_round NAME N: the program in the guest has come that far.
await_round() {
    await_host "round $2 in $1" 120 past_round "$1" "$2" || {
        not_ok "the program comes to round $2"
        tail -n 5 "$T/$1.serial" "$T/$1.qemu" "$T/$1.log" | sed 's/^/# /'
        return 1
    }
}
# await_more NAME N: so many rounds more.
await_more() {
    local now
    await_host "a first round in $1" 60 past_round "$1" 1
    now=$(round_of "$1")
    await_round "$1" $((${now:-0} + $2)) && ok "the program goes on in $1"
}
