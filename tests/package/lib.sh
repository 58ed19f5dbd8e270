# shellcheck shell=bash
# Roots of Debian's suites, kept in $cache, and what runs in them. Sourced by run, which says where ($src, $cache, $out, $WORK).
# shellcheck disable=SC2154

# What is in a root before anything is added, and how apt and dpkg behave there: no recommended packages, an
# expired list is no reason to stop (a mirror may be a snapshot), nothing is started, nothing waits for the disk.
make_base() {
    local suite=$1 arch=$2 root=$cache/$1-$2/base new=$cache/$1-$2/base.new how=()
    [ ! -e "$root/etc/debian_version" ] || return 0
    echo "making $root"
    remove_tree "$new"
    mkdir -p "$cache/$suite-$arch"
    [ "$arch" = amd64 ] || how=("$here/in-root" -a -)
    # shellcheck disable=SC2016 # its own words
    "${how[@]}" mmdebstrap --quiet --mode=root --variant=minbase --architectures="$arch" --format=directory \
        --skip=cleanup/apt/lists \
        --aptopt='Acquire::Check-Valid-Until "false"' --aptopt='Acquire::Languages "none"' \
        --aptopt='Acquire::Retries "3"' --aptopt='APT::Install-Recommends "false"' --aptopt='APT::Sandbox::User "root"' \
        --aptopt='Binary::apt::APT::Keep-Downloaded-Packages "true"' --dpkgopt=force-unsafe-io \
        --customize-hook='printf "#!/bin/sh\nexit 101\n" >"$1/usr/sbin/policy-rc.d"; chmod 755 "$1/usr/sbin/policy-rc.d"' \
        "$suite" "$new" "deb [signed-by=$apt_keyring] $apt_mirror $suite main" || return 1
    mv "$new" "$root"
}

# inside SUITE-ARCH LAYERS OPTION… -- COMMAND…: layers are names of folders in the cache's SUITE-ARCH, the lowest is
# base. /src is the source, /out what has been built for the suite; the packages that apt gets are kept.
inside() {
    local where=$1 layers='' l options=()
    for l in $2; do layers+=${layers:+:}$cache/$where/$l; done
    shift 2
    while [ "$1" != -- ]; do options+=("$1"); shift; done
    shift
    case $where in *-arm64) options+=(-a) ;; esac
    mkdir -p "$out/${where%-*}" "$cache/archives/$where/partial"
    "$here/in-root" -b "$src=/src" -b "$out/${where%-*}=/out=rw" -b "$cache/archives/$where=/var/cache/apt/archives=rw" \
        ${options[@]+"${options[@]}"} "$layers" "$@"
}

# make_layer SUITE NAME VERSION COMMAND…: a layer over base that the command makes (/src/tests/package/root has it),
# once for each VERSION.
make_layer() {
    local dir=$cache/$1-amd64 name=$2 version=$3 suite=$1
    shift 3
    [ "$(cat "$dir/$name.version" 2>/dev/null)" != "$version" ] || return 0
    echo "making $dir/$name"
    remove_tree "$dir/$name" "$dir/$name.new" "$dir/$name.version"
    inside "$suite-amd64" base -u "$dir/$name.new" -- "$@" || return 1
    mv "$dir/$name.new/upper" "$dir/$name"
    rmdir "$dir/$name.new"
    echo "$version" >"$dir/$name.version"
}
