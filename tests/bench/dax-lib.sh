# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
# What the measurements of the DAX window in a real guest share: options, daemons, memory. It stands on the guest
# tests' words (tests/guest/lib.sh). A script sets the defaults of its options as variables, sources this, calls
# options "$@", and then setup.
#
# Options of all: --arch=x86_64|aarch64, --kernel=6.1|7. BUILD: default build. BENCH_DIR: where files are made, default
# /var/tmp (not a tmpfs: what is measured is the page cache of files). QEMU_CACHE: see tests/guest/qemu-root.

bench_name=${0##*/}
bench_top=$(cd "$(dirname "$0")/../.." && pwd)
bench_build=$(realpath -m "${BUILD:-$bench_top/build}")
arch=$(uname -m) kernel=7
export VIRTIOFSD=$bench_build/virtiofsd/virtiofsd GUEST_PROGS=$bench_build/tests/guest TMPDIR=${BENCH_DIR:-/var/tmp}
. "$bench_top/tests/guest/lib.sh"

# options NAMES ARGUMENT…: set the variables of these names from --NAME=VALUE.
options() {
    local names=" arch kernel $1 " arg name
    shift
    for arg in "$@"; do
        name=${arg%%=*}
        name=${name#--}
        if [[ $arg != --*=* || $names != *" $name "* ]]; then
            sed -n '3,/^[^#]/{/^[^#]/d;s/^#$//;s/^# //p}' "$0" >&2
            exit 2
        fi
        declare -g "$name=${arg#*=}"
    done
    [ "$arch" != arm64 ] || arch=aarch64
    [ "$(id -u)" = 0 ] || { echo "$bench_name: run this as root (guests drop caches, daemons read any file)" >&2; exit 1; }
    ninja -C "$bench_build" >/dev/null || exit
    export GUEST_KERNEL=$arch-$kernel
}

# rust_daemon NAME DIR: the Rust daemon instead of ours, if it can be had; its device is -f NAME=$T/NAME.sock.
rust_daemon() {
    local words
    "$bench_top/tests/bench/rivals" >/dev/null 2>&1 || return
    read -ra words <"$bench_top/.cache/rivals/rust.cmd"
    "${words[@]}" --shared-dir="$2" --socket-path="$T/$1.sock" --sandbox=none --rlimit-nofile=0 >>"$T/$1.log" 2>&1 &
    DAEMON[$1]=$!
    await_host "the Rust daemon's socket" 10 test -S "$T/$1.sock"
}

# hears GUEST WORD: wait for its `tell WORD`, as long as it lives (boot's -t SECONDS bounds that).
hears() {
    while [ ! -e "$T/$1/word.$2" ]; do
        kill -0 "${BOOTED[$1]}" 2>/dev/null || { echo "$bench_name: $1 is gone" >&2; return 1; }
        sleep 0.05
    done
}

# memfd_kib PID PATTERN: pages that the process's memory files of this name have, whoever touched them.
memfd_kib() {
    local fd blocks=0
    for fd in "/proc/$1/fd/"*; do
        case $(readlink "$fd") in
        /memfd:$2*) blocks=$((blocks + $(stat -Lc %b "$fd"))) ;;
        esac
    done
    echo $((blocks / 2))
}

# guest_kib GUEST: memory that the host has given to the guest so far: a page that the guest frees stays its own.
guest_kib() { memfd_kib "$(cat "$T/$1/qemu.pid")" memory-backend-memfd; }

# private_kib PID: memory that is no file's.
private_kib() { awk '/^RssAnon:/ { print $2 }' "/proc/$1/status"; }

# cached_kib FILE…: what of them is in this host's page cache.
cached_kib() { fincore --bytes --noheadings --output RES "$@" | awk '{ sum += $1 } END { print int(sum / 1024) }'; }

# evict FILE…: out of the host's page cache.
evict() {
    local f
    for f in "$@"; do dd if="$f" iflag=nocache count=0 status=none; done
}

mib() { awk -v kib="$1" 'BEGIN { printf "%.0f", kib / 1024 }'; }
