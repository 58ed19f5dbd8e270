#!/usr/bin/env bash
# The lock programs over the bridge: two clients and the host take turns under one lock, where locks are shared
# (--posix-lock, --flock); without these options each client has its own locks. And the walk's steps about locks.
. "$(dirname "$0")/lib.sh"
setup_bridge flock python3
ROUNDS=${BRIDGE_LONG:+1}150

# turns NAME KIND: what each client runs.
turns() { echo "check '$1: $ROUNDS turns, $2' locker $2 \"\$MNT\" $ROUNDS"; }

# Shared: two daemons on one directory.
mkdir "$T/a"
ln -s a "$T/b"
: >"$T/a/lock"
serve a --posix-lock --flock --relisten
serve b --posix-lock --flock --relisten
for kind in posix flock; do
    printf '%15d\n' 0 >"$T/a/counter"
    over a 100 <<<"$(turns a $kind)" >"$T/a.said" &
    over b 100 <<<"$(turns b $kind)" >"$T/b.said" &
    check "host: $ROUNDS turns, $kind" timeout 100 "$GUEST_PROGS/locker" $kind "$T/a" "$ROUNDS"
    wait %%
    wait %-
    count_lines "$T/a.said"
    count_lines "$T/b.said"
    equal "no turn is lost, $kind" "$((3 * ROUNDS))" "$(($(cat "$T/a/counter")))"
done

# A client that ends while it holds a lock, with a second process of it waiting, gives it up.
over a 60 <<END
exec 9>lock && flock 9
(flock -n 8 && echo got) 8<lock >"$T/second"
sh -c 'flock 7' 7<lock 9<&- &
sleep 0.3
END
equal "a second open file is kept out" "" "$(cat "$T/second")"
check "after the end of that client the host gets the lock" flock -w 10 "$T/a/lock" true
daemon_stop a
daemon_stop b

# Local: what one client holds, the host and the other client may take; within a client it excludes.
serve c
over c 60 <<END
: >lock
exec 9>lock && flock 9
(flock -n 8 && echo got) 8<lock >"$T/second"
flock -n "$T/c/lock" echo got >"$T/host"
END
equal "local: a second open file is kept out" "" "$(cat "$T/second")"
equal "local: the host is not" got "$(cat "$T/host")"
served c

# The walk's steps about locks, with shared ones; test-walk.sh has local ones.
serve d --posix-lock --flock
over d 60 <<END
posix-walk guest "\$MNT" --without=sync-release posix-lock posix-lock-wait posix-lock-of-dead flock ofd-lock
exit 0
END
served d
finish
