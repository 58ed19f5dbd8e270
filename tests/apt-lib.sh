# shellcheck shell=bash
# Debian packages without installing them: apt works in a folder of its own, with lists of its own, from the mirror
# that this machine's apt uses. Sourced by qemu-root and mk-rootfs of guest/, which say where ($apt, $log) and
# what happens when there is nothing to be had (skip REASON, which does not return).
# shellcheck disable=SC2154,SC2034 # apt and log are theirs, apt_suite is for them

# shellcheck source=tests/remove.sh
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/remove.sh"

apt_keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# apt_ready TOOL…: or a skip that names what is missing. Then $apt_suite and $apt_mirror are this machine's.
apt_ready() {
    local p
    for p in apt-get dpkg-deb flock "$@"; do type -P "$p" >/dev/null || skip "no $p on this machine (a Debian is needed)"; done
    [ -f "$apt_keyring" ] || skip "no $apt_keyring (Debian package debian-archive-keyring)"
    # shellcheck disable=SC2016 # apt's own words
    read -r apt_suite apt_mirror < <(apt-get indextargets --format '$(COMPONENT) $(RELEASE) $(REPO_URI)' \
        'Created-By: Packages' 2>/dev/null | sed -n '/^main [a-z]* /{s/^main //p;q}') || true
    [ -n "${apt_mirror:-}" ] || skip "this machine's apt knows no Debian mirror"
}

# apt_use ARCHITECTURES SUITE…: from here on apt sees these suites, the last one preferred, and nothing else; what it
# takes for this machine's architecture is the first of them.
apt_use() {
    local archs=$1 a suite
    shift
    remove_tree "$apt"
    mkdir -p "$apt/lists/partial" "$apt/archives/partial" "$apt/etc/preferences.d"
    : >"$apt/status"
    for suite in "$@"; do
        echo "deb [arch=${archs// /,} signed-by=$apt_keyring] $apt_mirror $suite main"
    done >"$apt/etc/sources.list"
    apt_options=(
        -q -o APT::Architecture="${archs%% *}" -o APT::Sandbox::User=root -o APT::Install-Recommends=false
        -o Dir::State="$apt" -o Dir::State::lists="$apt/lists" -o Dir::State::status="$apt/status"
        -o Dir::Cache="$apt" -o Dir::Cache::archives="$apt/archives" -o Dir::Etc="$apt/etc"
        -o Dir::Etc::parts=- -o Dir::Etc::sourcelist="$apt/etc/sources.list" -o Dir::Etc::sourceparts=-
        -o Acquire::Languages=none -o Acquire::Check-Valid-Until=false -o Acquire::Retries=2
        -t "${!#}"
    )
    for a in $archs; do apt_options+=(-o APT::Architectures::="$a"); done
    apt_get update || skip "no list of packages for $* from this machine's mirror"
}

# apt_get ARGUMENT…: apt-get in $apt/archives, where the packages go; what it says is in $log.
apt_get() { (cd "$apt/archives" && apt-get "${apt_options[@]}" "$@") >>"$log" 2>&1 || { tail -n 5 "$log" >&2 && false; }; }

# apt_download ARGUMENT…: the same, for packages that must come.
apt_download() { apt_get "$@" || skip "the packages could not be downloaded"; }

# apt_unpack DEB DIR: DIR may have folders that are links (a merged /usr).
apt_unpack() { dpkg-deb --fsys-tarfile "$1" | tar -x --keep-directory-symlink -C "$2"; }
