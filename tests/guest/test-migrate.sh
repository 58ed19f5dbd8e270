#!/usr/bin/env bash
# A guest moves between two daemons in QEMU 11.1, with a program in it that touches files of all sorts all the time.
#   MIGRATE=live (default)  ours to ours, over a socket; twice, back again
#   MIGRATE=file            into a file, everything ends, and from there
#   MIGRATE=failed          the destination refuses; the guest goes on, and moves at the second try
#   MIGRATE=rust            from the Rust daemon to ours, by names; MIGRATE=rust-handles: by handles
GUEST_KERNEL=${GUEST_KERNEL:-x86_64-7}
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/migrate-lib.sh"
how=${MIGRATE:-live}
migrate_setup

case $how in
rust) rust_daemon A "$T/share" ;;
rust-handles) rust_daemon A "$T/share" --migration-mode=file-handles --inode-file-handles=mandatory ;;
*) daemon A "$T/share" ;;
esac
machine A
await_round A 5 || finish

case $how in
live)
    daemon B "$T/share"
    machine B -incoming "unix:$T/B.mig"
    moves A B
    end_machine A
    check "the source's daemon ends with its machine, code 0" daemon_wait A
    await_more B 8
    daemon A "$T/share"
    machine A -incoming "unix:$T/A.mig"
    moves B A
    end_machine B
    check "and so does the other" daemon_wait B
    last=A
    ;;
file)
    equal "saved into a file" "completed " "$("$GUEST/qmp" "$T/A.qmp" migrate "file:$T/state")"
    end_machine A
    check "the daemon ends with its machine, code 0" daemon_wait A
    lost_when_all_ends=yes
    daemon B "$T/share" --migration-on-error=guest-error
    machine B -incoming "file:$T/state"
    last=B
    ;;
rust | rust-handles)
    # By names alone a file without one is lost, which the Rust daemon's guests know, too.
    [ "$how" = rust ] && lost_when_all_ends=yes && options=(--migration-on-error=guest-error)
    [ "$how" = rust-handles ] && options=(--migration-mode=file-handles)
    daemon B "$T/share" "${options[@]}"
    machine B -incoming "unix:$T/B.mig"
    moves A B
    check "the daemon knew it for the Rust one's" grep -q 'comes from the Rust daemon' "$T/B.log"
    end_machine A
    await_more B 8
    daemon C "$T/share" "${options[@]}"
    machine C -incoming "unix:$T/C.mig"
    moves B C
    end_machine B
    check "the daemon between ends with its machine, code 0" daemon_wait B
    last=C
    ;;
failed)
    daemon B "$T/share" --max-inodes=1
    machine B -incoming "unix:$T/B.mig"
    await_host "B to listen" 60 test -S "$T/B.mig"
    equal "a destination that has no room refuses" failed "$("$GUEST/qmp" "$T/A.qmp" migrate "unix:$T/B.mig" | cut -d' ' -f1)"
    await_more A 5
    kill_machine B
    daemon_stop B
    rm -f "$T/B.mig"
    daemon B "$T/share"
    machine B -incoming "unix:$T/B.mig"
    moves A B
    end_machine A
    check "the source's daemon ends with its machine, code 0" daemon_wait A
    last=B
    ;;
esac
await_more "$last" 8
: >"$T/share/m/stop"
await_host "the program's end" 60 grep -q '^unmounted' "$T/$last.serial"
wait_machine "$last"
check "the last daemon ends with its guest, code 0" daemon_wait "$last"
rounds=$(tr -d '\r' <"$T/$last.serial" | sed -n 's/^done //p')
equal "each line was appended once, in order" "$(seq "${rounds:-0}" | md5sum)" "$(md5sum <"$T/share/m/append")"
cat "$T"/[ABC].serial "$T"/serial.* 2>/dev/null | tr -d '\r' | grep '^FAIL' >"$T/failures"
# Who saves a guest and ends the daemon has given up what has no name: with nobody holding it the file is gone.
[ -z "${lost_when_all_ends:-}" ] || sed -i '/gone/d' "$T/failures"
equal "nothing else was ever wrong in the guest" "" "$(head -n 5 "$T/failures")"
finish
