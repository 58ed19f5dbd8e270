#!/usr/bin/env bash
# The bridge itself: nothing hangs and nothing stays behind, whatever the daemon or the command does.
# shellcheck disable=SC2016 # the commands' own
. "$(dirname "$0")/lib.sh"
setup_bridge

# bridge SECONDS COMMAND…: over the daemon "a", by which $DAEMON_PID goes; prints nothing, returns its code.
bridge() {
    local seconds=$1
    shift
    DAEMON_PID=${DAEMON[a]} timeout -s KILL 120 "$BRIDGE" --socket="$T/a.sock" --mount="$T/mnt" --queues="$QUEUES" \
        --timeout="$seconds" --verbose -- "$@" </dev/null >"$T/out" 2>"$T/err"
}
# expect WHAT CODE FOUND: of the bridge; and the daemon must have ended by itself. A command may be over before INIT
# is answered, so not every daemon here has met its client.
expect() {
    [ "$3" != 77 ] || skip "$(sed -n 's/^skipped: //p' "$T/out")"
    equal "$1: code" "$2" "$3"
    [ "$2" = "$3" ] || sed 's/^/# /' "$T/err"
    equal "$1: nothing is mounted" "" "$(grep "$T" /proc/self/mountinfo)"
    [ "$1" = "a daemon that dies" ] || ended a
}
# ends WHAT CODE SECONDS COMMAND…
ends() {
    local what=$1 code=$2
    shift 2
    serve a
    bridge "$@"
    expect "$what" "$code" $?
}
words() { check "$1" grep "$2" "$T/err"; }

ends "a good command" 0 60 sh -c 'echo text >"$BRIDGE_DIR/file" && cat "$BRIDGE_DIR/file"'
check "and the daemon knows the client for Linux" linux_known a
equal "its file is in the share" text "$(cat "$T/a/file")"
ends "a bad command" 7 60 sh -c 'exit 7'
ends "a command killed" 143 60 sh -c 'kill $$'
ends "no command" 127 60 /there/is/nothing
ends "a command that leaves programs in the mount" 0 60 sh -c 'cd "$BRIDGE_DIR"; sleep 1000 & exec 3>open; exit 0'
ends "a command that takes too long" 124 1 sleep 1000
words "and it says so" "too late"

# A daemon that does not answer any longer. All of its processes get the signal.
cat >"$T/signal" <<'END'
kill "$1" $(cat /proc/$DAEMON_PID/task/$DAEMON_PID/children) $DAEMON_PID
END
export T
hangs() {
    local found
    serve a
    bridge 5 sh -c "$2" # what has waited for a second then is told
    found=$?
    (DAEMON_PID=${DAEMON[a]} sh "$T/signal" -CONT)
    expect "$1" 124 $found
    words "and it says what waits" "not answered for"
}
hangs "a daemon that hangs" 'sh $T/signal -STOP; cat "$BRIDGE_DIR/file"'
hangs "a daemon that hangs, with more in flight" 'exec 3<"$BRIDGE_DIR/file"
    dd if=/dev/zero of="$BRIDGE_DIR/new" bs=1M count=400 2>/dev/null & sleep 0.1; sh $T/signal -STOP; ls "$BRIDGE_DIR"'
ends "a daemon that dies" 125 60 sh -c 'sh $T/signal -KILL; sleep 0.2; cat "$BRIDGE_DIR/file" || exit 0'
words "and it says so" "the daemon has gone"
wait "${DAEMON[a]}" 2>/dev/null
unset "DAEMON[a]"

# INTERRUPT is dropped, as the virtio driver drops it: a read that a signal meets is answered all the same. The signal
# must come when the request is on its way, and has done so when the program waits on without listening to any.
cat >"$T/interrupt" <<'END'
is() { [ "$(cut -d' ' -f3 "/proc/$1/stat" 2>/dev/null)" = "$2" ]; }
for round in 1 2 3 4 5 6 7 8; do
    sh "$T/signal" -STOP
    cat "$BRIDGE_DIR/file" &
    until is $! S; do sleep 0.02; done
    sleep 0.1
    kill $!
    until is $! D || is $! Z; do sleep 0.02; done
    if is $! D; then met=1; fi
    sh "$T/signal" -CONT
    wait
    [ -z "$met" ] || exit 0
done
END
ends "an interrupted program" 0 60 bash "$T/interrupt"
words "and its interrupt is dropped" "[1-9][0-9]* interrupts dropped"

# A signal ends it as a time limit does.
serve a
"$BRIDGE" --socket="$T/a.sock" --mount="$T/mnt" --queues="$QUEUES" -- sh -c ': >"$BRIDGE_DIR/begun"; sleep 1000' 2>"$T/err" &
await_host "the command" 20 test -e "$T/a/begun" || not_ok "the command begins"
kill $!
wait $!
expect "a signal" 124 $?
finish
