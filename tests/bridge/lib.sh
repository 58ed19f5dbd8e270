# shellcheck shell=bash
# What every test over the bridge shares. The bridge (tests/lib/fuse-bridge.c) mounts a daemon's share with this
# machine's own FUSE client: the guest's side at full speed, without a guest. The rest is as in tests/guest/lib.sh:
# daemons, result lines, a private directory. A test sources this file, calls setup_bridge, and ends with finish.
#
#   BRIDGE         the program (default build/tests/lib/fuse-bridge)
#   BRIDGE_LONG=1  the long form, where a test has one
#   QUEUES         request queues (default 2)
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../guest/lib.sh"

BRIDGE=$(readlink -f "${BRIDGE:-$TOP/build/tests/lib/fuse-bridge}")
QUEUES=${QUEUES:-2}

# setup_bridge [PROGRAM]…: the private directory $T, and these programs of the machine, or a skip.
setup_bridge() {
    local p
    [ "$(id -u)" = 0 ] || skip "mounting needs root"
    [ -e /dev/fuse ] || skip "no /dev/fuse (kernel module fuse)"
    [ -x "$VIRTIOFSD" ] || { echo "no daemon at $VIRTIOFSD: build it first"; exit 1; }
    [ -x "$BRIDGE" ] || { echo "no bridge at $BRIDGE: build it first"; exit 1; }
    for p in "$@"; do type -P "$p" >/dev/null || skip "no program $p"; done
    T=$(mktemp -d "${TMPDIR:-/tmp}/bridge.XXXXXX")
    chmod 755 "$T" # programs become ordinary users
    trap teardown EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    mkdir "$T/mnt"
}

# serve NAME [OPTION]…: a daemon NAME, which shares $T/NAME.
serve() {
    local name=$1
    shift
    mkdir -p "$T/$name"
    rm -f "$T/$name.sock" "$T/$name.log"
    daemon "$name" "$T/$name" --num-request-queues="$QUEUES" "$@"
}

# over NAME SECONDS <<script: run the bash script in the share of daemon NAME, which is mounted on $MNT; its result
# lines (ok, not_ok, check, equal of guest-lib.sh) are ours. Anything but code 0 within that time is a failure; what
# the machine does not allow is a skip.
over() {
    local name=$1 seconds=$2 code
    {
        cat "$GUEST/guest-lib.sh"
        cat <<END
check() {
    _what=\$1
    shift
    if "\$@" >"$T/$name.check" 2>&1; then ok "\$_what"; else
        not_ok "\$_what (\$*)"
        tail -n 60 "$T/$name.check" | sed 's/^/# /'
    fi
}
MNT=$T/mnt
PATH=$GUEST_PROGS:\$PATH
cd "\$MNT" || exit
END
        cat
    } >"$T/$name.script"
    "$BRIDGE" --socket="$T/$name.sock" --mount="$T/mnt" --queues="$QUEUES" --timeout="$seconds" --verbose -- \
        bash "$T/$name.script" </dev/null >"$T/$name.out" 2>"$T/$name.err"
    code=$?
    [ "$code" != 77 ] || skip "$(sed -n 's/^skipped: //p' "$T/$name.out")"
    count_lines "$T/$name.out"
    tail -n 30 "$T/$name.err" | sed 's/^/# /'
    [ "$code" = 0 ] || not_ok "$name: the bridge ends with code $code"
    return "$code"
}

# ended NAME: its daemon must end by itself now that its front-end has gone, with code 0, and have said nothing bad
# (but for a machine that does not let it have as many descriptors as it would like).
ended() {
    check "$1: the daemon ends with code 0" daemon_wait "$1"
    equal "$1: and has not complained" "" "$(grep -E ' (WARN|ERROR) ' "$T/$1.log" | grep -v 'hard limit of open descriptors')"
}
# served NAME: and has taken its client for Linux.
served() {
    ended "$1"
    check "$1: and knows the client for Linux" linux_known "$1"
}
