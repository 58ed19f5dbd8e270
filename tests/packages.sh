# shellcheck shell=bash
# The Debian 12 packages of each purpose, and how a missing one comes in. Sourced by demo and check.

# shellcheck disable=SC2034 # used by those who source this
packages_build=(gcc libc6-dev meson ninja-build pkg-config
    libfuse3-dev libglib2.0-dev libcap-ng-dev libseccomp-dev libcmocka-dev)
# shellcheck disable=SC2034
packages_guest=(user-mode-linux busybox-static xz-utils)
# shellcheck disable=SC2034
packages_libvirt=(attr libvirt-clients libvirt-daemon libvirt-daemon-driver-qemu qemu-system-x86)
# shellcheck disable=SC2034
packages_check=(acl attr btrfs-progs clang clang-format clang-tidy e2fsprogs fio git iproute2 libclang-rt-14-dev ovmf
    procps python3 python3-yaml qemu-efi-aarch64 qemu-utils rsync shellcheck sqlite3 strace stress-ng uidmap)
# shellcheck disable=SC2034
packages_rpm=(cpio rpm rpmlint)
# shellcheck disable=SC2034
packages_bench=(busybox-static debian-archive-keyring fonts-dejavu-core librsvg2-bin python3 xz-utils)
# What makes the roots of check's step package; everything else comes into the roots.
# shellcheck disable=SC2034
packages_package=(arch-test debian-archive-keyring mmdebstrap qemu-user-static)
# shellcheck disable=SC2034
packages_arm64=(gcc-aarch64-linux-gnu qemu-user)

package_installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null | head -c 9)" = installed ]; }

# install_packages PACKAGE…: fetch those that are missing. Says what it does; quiet when there is nothing to do.
install_packages() {
    local p missing=() log
    type -P dpkg-query apt-get >/dev/null || {
        echo "This is not a Debian system. Please install what these Debian 12 packages bring: $*" >&2
        return 1
    }
    for p in "$@"; do package_installed "$p" || missing+=("$p"); done
    [ ${#missing[@]} -gt 0 ] || return 0
    [ "$(id -u)" = 0 ] || {
        echo "Please install these packages, or run this as root: ${missing[*]}" >&2
        return 1
    }
    echo "installing ${#missing[@]} packages: ${missing[*]}"
    log=$(mktemp)
    if ! { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
        -o Dpkg::Options::=--force-confold -o Dpkg::Use-Pty=0 "${missing[@]}"; } </dev/null 2>&1 |
        tee "$log" | grep --line-buffered -E '^(Get:|Setting up|E:)' | progress_line; then
        tail -n 15 "$log" >&2
        rm -f "$log"
        echo "installing failed: see above" >&2
        return 1
    fi
    rm -f "$log"
}

# One line that changes on a terminal; nothing but the end elsewhere.
progress_line() {
    local line n=0
    while IFS= read -r line; do
        n=$((n + 1))
        [ ! -t 1 ] || printf '\r\033[K  %.100s' "$line"
    done
    [ ! -t 1 ] || printf '\r\033[K'
    [ "$n" = 0 ] || echo "  done ($n steps)"
}
