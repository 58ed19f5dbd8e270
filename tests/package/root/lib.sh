# shellcheck shell=bash
# For the scripts that run in a root: what fails ends them, and they say in which line.
trap 'echo "failed: $0:$LINENO: $BASH_COMMAND" >&2' ERR

# expect WHAT GOT WANTED
expect() { [ "$2" = "$3" ] || { printf '%s\n  is       %s\n  must be  %s\n' "$1" "$2" "$3" >&2; return 1; }; }

get() { apt-get -q -y -o Dpkg::Use-Pty=0 "$@"; }

# shellcheck source=/dev/null
. /etc/os-release
codename=$VERSION_CODENAME

# copy_tree DIR: the source, to be written to.
copy_tree() {
    mkdir -p "$1"
    cp -a /src/. "$1"
}

# source_sum: of every name and every byte of the source.
source_sum() { (cd /src && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum); }

# ours: the package of this suite.
ours() { echo /out/virtiofsd-c_*_"$(dpkg --print-architecture)".deb; }

# The list of the whole root but for what mounts, apt and logs are: kind, mode, owner, name, where a link points to;
# of files in /etc and /usr/lib/qemu what is in them, too.
list_root() {
    find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp -o -path /src -o -path /out \
        -o -path /var/log -o -path /var/lib/apt -o -path /var/cache -o -path '/var/lib/dpkg/*-old' \
        -o -path /var/lib/dpkg/status -o -path /var/lib/dpkg/available -o -path '/var/lib/dpkg/lock*' \) -prune -o \
        -printf '%y %m %U:%G %p %l\n' | LC_ALL=C sort
    find /etc -xdev -type f -exec sha256sum {} + | LC_ALL=C sort -k 2
    ! [ -d /usr/lib/qemu ] || find /usr/lib/qemu -type f -exec sha256sum {} + | LC_ALL=C sort -k 2
}

# same_list BEFORE AFTER: what differs is shown. A system group that a service had stays in Debian (its number must
# not come to somebody else), so group files may have it.
same_list() { diff <(grep -v ' /etc/g\(roup\|shadow\)-\?' "$1") <(grep -v ' /etc/g\(roup\|shadow\)-\?' "$2"); }

# diversions NUMBER: as many are of ours.
diversions() { expect "number of diversions by virtiofsd-c" "$(dpkg-divert --list | grep -c 'by virtiofsd-c$' || true)" "$1"; }

# Debian 12's QEMU has a daemon and its manual page where ours are.
# shellcheck disable=SC2034
case $codename in bookworm) moved=2 ;; *) moved=0 ;; esac

# Which program stands at the path: told apart by what it says of itself.
is_ours() { "$1" --version | grep -q '^virtiofsd 0\.' && cmp -s "$1" /usr/libexec/virtiofsd; }

# install_needs: what our package leans on. It stays in the root when ours goes, so that comes before the list.
install_needs() {
    local needs
    needs=$(apt-get -s install "$(ours)" | awk '$1 == "Inst" && $2 !~ /^virtiofsd/ { print $2 }')
    # shellcheck disable=SC2086 # words
    [ -z "$needs" ] || get install $needs
}
