# shellcheck shell=dash
# Words for the scripts that run inside a guest (busybox sh); the host's half is lib.sh.

ok() { echo "ok - $*"; }
not_ok() { echo "not ok - $*"; }
check() {
    _what=$1
    shift
    if "$@" >/tmp/check.out 2>&1; then ok "$_what"; else
        not_ok "$_what ($*)"
        sed 's/^/# /' /tmp/check.out
    fi
}
equal() { if [ "$2" = "$3" ]; then ok "$1"; else not_ok "$1: expected '$2', found '$3'"; fi; }

# share TAG DIR: mount it, or end the guest.
share() {
    mkdir -p "$2"
    mount -t virtiofs "$1" "$2" || {
        not_ok "mount $1"
        dmesg | tail -n 5 | sed 's/^/# /'
        exit 1
    }
}

# modules NAME…: load them, in that order (see MORE_MODULES of mk-initramfs).
modules() { for _m in "$@"; do insmod "/lib/modules/$_m.ko"; done; }
# network: the guest's half of lib.sh's tap.
network() { ip addr add 10.9.0.2/24 dev eth0 && ip link set eth0 up; }

tell() { : >"/ctl/word.$1"; }
await() { while [ ! -e "/ctl/word.$1" ]; do sleep 0.02; done; }
