#!/usr/bin/env bash
# The walk through every file operation (tests/guest/prog/walk), by this machine's own FUSE client, under several cache
# policies and with delayed writes; the results are checked on the host.
. "$(dirname "$0")/lib.sh"
setup_bridge

# walk NAME [DAEMON OPTION]… [-STEP]…
walk() {
    local name=$1 options=() words=()
    shift
    while [ $# -gt 0 ]; do
        case $1 in --*) options+=("$1") ;; *) words+=("$1") ;; esac
        shift
    done
    serve "$name" --posix-acl=auto --allow-direct-io --modcaps=+sys_admin ${options[@]+"${options[@]}"}
    check "$name: prepared on the host" "$GUEST_PROGS/posix-walk" prepare "$T/$name"
    over "$name" 100 <<END || return
posix-walk guest \$MNT --without=sync-release ${words[*]-}
exit 0
END
    "$GUEST_PROGS/posix-walk" host "$T/$name" ${words[@]+"${words[@]}"} >"$T/host.out"
    count_lines "$T/host.out"
    served "$name"
}
walk auto
[ -z "${BRIDGE_LONG:-}" ] || walk always --cache=always
walk writeback --writeback --cache=always
# A page cache for mappings comes with Linux 6.6, when it is asked for.
walk never --cache=never -mmap
finish
