# shellcheck shell=bash
# What every guest test shares: a private directory, daemons, guests, and lines "ok - …" / "not ok - …".
# A test sources this file, calls setup, and ends with finish. It runs alone (tests/guest/test-….sh) or
# through `meson test -C build --suite guest`. Exit code: 0 all good, 1 a check failed, 77 skipped.
#
#   VIRTIOFSD    the daemon (default build/virtiofsd/virtiofsd)
#   GUEST_PROGS  where meson built the guests' programs (default build/tests/guest)
#   KEEP=1       leave the private directory behind
#   SANDBOX, SECCOMP  how the daemons are started (default namespace, kill)
#   GUEST_KERNEL  boot this kernel in QEMU 11.1 (x86_64-6.1, x86_64-7, aarch64-7: see qemu-root), where shares
#                can have a DAX window; uml-7: sid's User-Mode Linux (see uml-root); default: this machine's
#   AS_USER=1    the daemons run as an ordinary user, nobody, in namespace mode with a range of sub-ids (from
#                100000)
#   WATCH_NAMES=1  the daemons are traced: from the end of the sandbox stage on no absolute name may be found
#                (see absolute-names); slow
#   GUEST_TIMES=N  guests and waits have N times as long
# tests/guest/matrix runs tests in every combination of these.
set -uo pipefail

GUEST=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
TOP=$(readlink -f "$GUEST/../..")
# shellcheck source=tests/remove.sh
. "$TOP/tests/remove.sh"
VIRTIOFSD=$(readlink -f "${VIRTIOFSD:-$TOP/build/virtiofsd/virtiofsd}")
export GUEST_PROGS=${GUEST_PROGS:-$TOP/build/tests/guest}

declare -A DAEMON=() BOOTED=()
T='' FAILED=0 CHECKS=0

skip() { echo "skipped: $*"; exit 77; }

# setup [PROGRAM]...: the private directory $T, the initramfs with these programs (see mk-initramfs;
# ours by name, a path as it is), and everything away again at the end.
setup() {
    local p programs=()
    [ "$(id -u)" = 0 ] || skip "guest tests run as root (owners, devices, privileged attributes)"
    type -P busybox >/dev/null || skip "no busybox (Debian package busybox-static)"
    case ${GUEST_KERNEL:-} in
    '') ;;
    uml-7) setup_uml ;;
    *) setup_qemu ;;
    esac
    if [ "${BOOT[0]}" = "$GUEST/run-guest" ]; then
        type -P "${LINUX_UML:-linux.uml}" >/dev/null || skip "no linux.uml (Debian package user-mode-linux)"
    fi
    [ -x "$VIRTIOFSD" ] || { echo "no daemon at $VIRTIOFSD: build it first"; exit 1; }
    T=$(mktemp -d "${TMPDIR:-/tmp}/guest.XXXXXX")
    trap teardown EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    for p in "$@"; do
        if [[ $p = */* ]]; then
            programs+=("$p")
        elif [[ ${GUEST_KERNEL:-} = aarch64-* ]]; then
            cross_program "$p"
            programs+=("$T/arm64/$p")
        elif [ -x "$GUEST_PROGS/$p" ]; then
            programs+=("$GUEST_PROGS/$p")
        else
            type -P "$p" >/dev/null || skip "no program $p"
            programs+=("$p")
        fi
    done
    "$GUEST/mk-initramfs" "$T/initramfs" ${programs[@]+"${programs[@]}"} || exit 1
    mkdir "$T/share"
}

# sid's User-Mode Linux, made or found; what mk-initramfs and boot want of it.
setup_uml() {
    export UML_CACHE=${UML_CACHE:-$TOP/.cache/uml}
    "$GUEST/uml-root" || exit
    export LINUX_UML=$UML_CACHE/linux.uml MODULES=$UML_CACHE/modules
}
# QEMU and the kernel, made or found; what mk-initramfs and boot want of them.
setup_qemu() {
    local dir
    export QEMU_CACHE=${QEMU_CACHE:-$TOP/.cache/qemu}
    dir=$QEMU_CACHE/kernels/$GUEST_KERNEL
    "$GUEST/qemu-root" "$GUEST_KERNEL" || exit
    export MODULES=$dir/modules
    [ ! -e "$dir/busybox" ] || export BUSYBOX=$dir/busybox
    BOOT=("$GUEST/run-qemu" -a "${GUEST_KERNEL%-*}" -k "${GUEST_KERNEL#*-}")
    DEVICE=-x
}
BOOT=("$GUEST/run-guest") DEVICE=-s

# cross_program NAME: one of ours for an arm64 guest, $T/arm64/NAME.
cross_program() {
    local cc=aarch64-linux-gnu-gcc
    type -P $cc >/dev/null || skip "no $cc (Debian package gcc-aarch64-linux-gnu)"
    "$TOP/cross/sysroot" >"$T/sysroot.log" 2>&1 || skip "no arm64 libraries: $(tail -n 1 "$T/sysroot.log")"
    mkdir -p "$T/arm64"
    $cc --sysroot="$TOP/.cache/arm64-sysroot" -D_GNU_SOURCE -I"$TOP" -O2 -static -o "$T/arm64/$1" "$GUEST/prog/$1.c" || exit 1
}

teardown() {
    local name
    for name in "${!BOOTED[@]}"; do guest_kill "$name"; done
    for name in "${!DAEMON[@]}"; do daemon_stop "$name"; done
    if [ -n "${KEEP:-}" ]; then echo "kept: $T"; else
        # Tests leave such files behind when they are ended.
        [ -z "$T" ] || [ -n "$(mounts_below "$T")" ] || chattr -R -a "$T" 2>/dev/null
        remove_tree "$T"
    fi
}

ok() { CHECKS=$((CHECKS + 1)); echo "ok - $*"; }
not_ok() { CHECKS=$((CHECKS + 1)); FAILED=$((FAILED + 1)); echo "not ok - $*"; }
# check WHAT COMMAND…: one result line; the command's output only when it failed.
check() {
    local what=$1
    shift
    if "$@" >"$T/check.out" 2>&1; then ok "$what"; else not_ok "$what ($*)"; sed 's/^/# /' "$T/check.out"; fi
}
# equal WHAT EXPECTED FOUND
equal() { if [ "$2" = "$3" ]; then ok "$1"; else not_ok "$1: expected '$2', found '$3'"; fi; }
# count_lines FILE: print another program's result lines, and make them ours.
count_lines() {
    local bad
    cat "$1"
    bad=$(grep -c '^not ok ' "$1")
    CHECKS=$((CHECKS + bad + $(grep -c '^ok ' "$1")))
    FAILED=$((FAILED + bad))
}

finish() {
    local name
    [ -z "${WATCH_NAMES:-}" ] || for name in "${!DAEMON[@]}"; do daemon_stop "$name"; done
    [ "$CHECKS" -gt 0 ] || { echo "not ok - nothing was checked"; exit 1; }
    echo "# $((CHECKS - FAILED)) of $CHECKS checks passed"
    [ "$FAILED" = 0 ]
    exit
}

# ---- a network of two ----

# alone "$0" ARGUMENT…: first of all; the test goes on in a network namespace of its own.
alone() {
    [ -z "${ALONE:-}" ] && [ "$(id -u)" = 0 ] || return 0
    type -P unshare >/dev/null || skip "no unshare (Debian package util-linux)"
    ALONE=1 exec unshare --net "$@"
}

# tap: in that namespace, a network of host (10.9.0.1) and one User-Mode Linux guest, booted with -k "$TAP",
# which says `network` (10.9.0.2).
# shellcheck disable=SC2034 # the tests'
TAP=eth0=tuntap,tap0
tap() {
    type -P ip >/dev/null || skip "no ip (Debian package iproute2)"
    { ip link set lo up && ip tuntap add dev tap0 mode tap && ip addr add 10.9.0.1/24 dev tap0 && ip link set tap0 up; } \
        2>"$T/tap.log" || skip "no tap device: $(tail -n 1 "$T/tap.log")"
}

# ---- daemons ----

# as_user: $AS_NOBODY becomes the words that run a command as nobody, with sub-ids of its own: the files
# that list them are replaced in a private mount namespace.
as_user() {
    local p f
    for p in setpriv unshare newuidmap newgidmap; do
        type -P "$p" >/dev/null || skip "no $p (Debian packages util-linux, uidmap)"
    done
    for f in subuid subgid; do echo "nobody:100000:65536" >"$T/$f"; done
    chmod 777 "$T" # the socket is made there
    # shellcheck disable=SC2016 # the inner shell's
    AS_NOBODY=(unshare --mount --propagation private sh -c '
        mount --bind "$0/subuid" /etc/subuid && mount --bind "$0/subgid" /etc/subgid || exit
        exec setpriv --reuid '"$(id -u nobody)"' --regid '"$(id -g nobody)"' --clear-groups -- "$@"' "$T")
}
declare -a AS_NOBODY=()

# daemon NAME DIR [OPTION]…: share DIR as tag NAME; the socket is $T/NAME.sock, the log $T/NAME.log.
# DAEMON_WRAP may hold a command to run it under, as words of an array.
declare -a DAEMON_WRAP=()
daemon() {
    local name=$1 dir=$2
    shift 2
    if [ -n "${AS_USER:-}" ]; then
        [ -n "${AS_NOBODY[*]}" ] || as_user
        DAEMON_WRAP=("${AS_NOBODY[@]}")
        if [ "${SANDBOX:-namespace}" = namespace ]; then
            chown -R 100000:100000 "$dir"
            set -- "$@" --uid-map=:0:100000:65536: --gid-map=:0:100000:65536:
        else
            chown -R nobody: "$dir"
        fi
    fi
    [ -z "${WATCH_NAMES:-}" ] || watch_names "$name"
    ${NAMES_WRAP[@]+"${NAMES_WRAP[@]}"} ${DAEMON_WRAP[@]+"${DAEMON_WRAP[@]}"} "$VIRTIOFSD" --socket-path="$T/$name.sock" --shared-dir="$dir" \
        --tag="$name" --sandbox="${SANDBOX:-namespace}" --seccomp="${SECCOMP:-kill}" "$@" >>"$T/$name.log" 2>&1 &
    DAEMON[$name]=$!
    await_host "the daemon's socket" 10 test -S "$T/$name.sock" || {
        sed 's/^/# /' "$T/$name.log"
        not_ok "the daemon for $name starts"
        finish
    }
}

# watch_names NAME: $NAMES_WRAP becomes the words that trace this daemon, which stays our child. Whoever asked for
# a watch wants it: without strace the test fails.
declare -a NAMES_WRAP=()
declare -A NAMES=()
NAMES_NO=0
exec {NAMES_OUT}>&1
watch_names() {
    NAMES_NO=$((NAMES_NO + 1))
    NAMES[$1]="$T/names.$NAMES_NO"
    NAMES_WRAP=(strace -D -f -q -e signal=none -e "trace=%file,prctl" -o "${NAMES[$1]}" --)
}
# names_watched NAME: this daemon has ended; result lines about its trace.
names_watched() {
    [ -n "${NAMES[$1]:-}" ] || return 0
    await_host "the end of the trace" 10 eval "tail -n 3 '${NAMES[$1]}' | grep -q '+++ '"
    "$GUEST/absolute-names" "${NAMES[$1]}" >"$T/names.out"
    count_lines "$T/names.out" >&"$NAMES_OUT" # also when it is waited for by check
    unset "NAMES[$1]"
}

# The process that serves: in the sandbox a child of the one that was started, process 1 of its namespace. Its socket
# is there before that is: it is waited for.
daemon_pid() {
    local tries child children=()
    for ((tries = 0; tries < 500; tries++)); do
        tr '\0' '\n' <"/proc/${DAEMON[$1]}/cmdline" | grep -qx -- --sandbox=namespace || break
        read -r -a children <"/proc/${DAEMON[$1]}/task/${DAEMON[$1]}/children"
        for child in ${children[@]+"${children[@]}"}; do
            if grep -qs '^NSpid:.*[[:space:]]1$' "/proc/$child/status"; then
                echo "$child"
                return
            fi
        done
        sleep 0.02
    done
    echo "${DAEMON[$1]}"
}

# daemon_wait NAME: it must end by itself (its guest is gone) with code 0.
daemon_wait() {
    local i code
    for ((i = 0; i < 100; i++)); do
        kill -0 "${DAEMON[$1]}" 2>/dev/null || break
        sleep 0.05
    done
    [ "$i" -lt 100 ] || kill -KILL "${DAEMON[$1]}"
    wait "${DAEMON[$1]}" 2>/dev/null
    code=$?
    unset "DAEMON[$1]"
    names_watched "$1"
    return "$code"
}

# linux_known NAME: its daemon took every guest so far for Linux (see virtiofsd/fuse/fuse-guest.c).
linux_known() { grep -q 'guest mounted: ' "$T/$1.log" && ! grep 'guest mounted: .*not Linux' "$T/$1.log"; }

daemon_stop() {
    kill "${DAEMON[$1]}" 2>/dev/null
    wait "${DAEMON[$1]}" 2>/dev/null
    unset "DAEMON[$1]"
    names_watched "$1"
}

# await_host WHAT SECONDS COMMAND…: poll until the command succeeds.
await_host() {
    local what=$1 tries=$(($2 * 50 * ${GUEST_TIMES:-1}))
    shift 2
    while ! "$@" 2>/dev/null; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || { echo "# gave up waiting for $what"; return 1; }
        sleep 0.02
    done
}

# ---- guests ----

# boot GUEST [-m MEM] [-t SECONDS] [run-guest's or run-qemu's other options] TAG… <<script: start a guest with
# these daemons' devices in the background. The script sees $T/GUEST as /ctl and the words of guest-lib.sh.
# With NO_INITRAMFS=1 the kernel has nothing but the devices (-r).
boot() {
    local guest=$1 args=() tag
    [ -n "${NO_INITRAMFS:-}" ] || args=(-i "$T/initramfs")
    shift
    mkdir -p "$T/$guest"
    while [[ ${1-} = -* ]]; do
        if [ "$1" = -R ]; then
            args+=("$1")
            shift
            continue
        fi
        args+=("$1" "$2")
        shift 2
    done
    for tag in "$@"; do args+=("$DEVICE" "$T/$tag.sock"); done
    cat "$GUEST/guest-lib.sh" - >"$T/$guest/job"
    rm -f "$T/$guest/out"
    "${BOOT[@]}" -d "$T/$guest" ${args[@]+"${args[@]}"} "$T/$guest/job" >"$T/$guest/out" 2>&1 &
    BOOTED[$guest]=$!
}

# guest_wait GUEST: until its script ends; its result lines count as ours. Returns the script's code.
guest_wait() {
    local code
    wait "${BOOTED[$1]}"
    code=$?
    unset "BOOTED[$1]"
    count_lines "$T/$1/out"
    if [ "$code" -ge 124 ]; then
        [ ! -s "$T/$1/dmesg" ] || tail -n 20 "$T/$1/dmesg" | sed 's/^/# /'
    fi
    return "$code"
}

# guest GUEST … : boot and wait; a script that fails is a failed check.
guest() {
    local name=$1
    boot "$@"
    guest_wait "$name" || not_ok "guest $name: exit code $?"
}

# guest_kill GUEST: pull the plug.
guest_kill() {
    kill "${BOOTED[$1]}" 2>/dev/null
    wait "${BOOTED[$1]}" 2>/dev/null
    unset "BOOTED[$1]"
}

# tell GUEST WORD: let its `await WORD` go on. hear GUEST WORD [SECONDS]: wait for its `tell WORD`.
tell() { : >"$T/$1/word.$2"; }
hear() { await_host "$1 to say $2" "${3:-60}" test -e "$T/$1/word.$2"; }
