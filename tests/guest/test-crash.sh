#!/usr/bin/env bash
# A guest that dies in the middle of writing loses nothing it had synced, and boots again: on the same
# daemon (--relisten), and on a new one.
. "$(dirname "$0")/lib.sh"
setup ops flock

# write_and_kill TAG: pull the plug after 60 synced blocks, and compare what was promised.
write_and_kill() {
    local n i letter letters
    rm -f "$T/share/data" "$T/share/note"
    boot g "$1" <<END
share $1 /mnt
tell mounted
ops write-forever /mnt/data /mnt/note
END
    await_host "blocks" 30 enough_blocks
    n=$(cat "$T/share/note")
    guest_kill g
    n=$((n))
    i=$(((n - 1) % 512))
    letters=abcdefghijklmnopqrstuvwxyz
    letter=${letters:$(((n - 1) % 26)):1}
    equal "$1: block $n, synced before the crash, is there" "65536" \
        "$(dd if="$T/share/data" bs=64k skip=$i count=1 2>/dev/null | tr -cd "$letter" | wc -c)"
}
enough_blocks() { [ "$(($(cat "$T/share/note" 2>/dev/null || echo 0)))" -ge 60 ]; }

look_again() {
    guest g "$1" <<END
share $1 /mnt
check "$1: the next boot reads the file" cat /mnt/data
check "$1: and writes it" dd if=/dev/zero of=/mnt/data bs=64k count=8
check "$1: a lock of the dead guest is gone" flock -n /mnt/note true
umount /mnt
END
}

daemon relisten "$T/share" --relisten --flock
pid=$(daemon_pid relisten)
for round in 1 2 3; do
    echo "# round $round"
    write_and_kill relisten
    look_again relisten
done
equal "the same daemon served them all" "$pid" "$(daemon_pid relisten)"
check "it still runs" kill -0 "$pid"

daemon once "$T/share" --flock
write_and_kill once
check "without --relisten it ended with code 0" daemon_wait once
daemon once "$T/share" --flock
look_again once
check "and so does the new one" daemon_wait once
finish
