#!/usr/bin/env bash
# Locks that stay in the guest (the default): right among its processes, unseen by the host. Shared ones: two
# guests and the host take turns under one lock, POSIX and flock; a guest that dies gives its lock back.
. "$(dirname "$0")/lib.sh"
setup locker lockcases flock
ROUNDS=150

mkdir "$T/local"
: >"$T/local/lock"
daemon l "$T/local"
boot l -t 150 l <<'END'
share l /mnt
lockcases /mnt
exec 9>/mnt/lock
flock 9
check "local: another open file of the guest cannot have it" test "$(flock -n /mnt/lock echo got)" = ""
tell held
await end
exec 9>&-
umount /mnt
END
hear l held 120 || not_ok "the guest takes a lock of its own"
equal "local: the host is not stopped by it" got "$(flock -n "$T/local/lock" echo got)"
tell l end
guest_wait l || not_ok "guest: exit code $?"

printf '%15d\n' 0 >"$T/share/counter"
: >"$T/share/lock"
daemon a "$T/share" --relisten --posix-lock --flock
daemon b "$T/share" --posix-lock --flock

for guest in a b; do
    boot $guest $guest <<END
share $guest /mnt
for kind in posix flock; do
    tell ready-\$kind
    await go-\$kind
    check "$guest: $ROUNDS turns, \$kind" locker \$kind /mnt $ROUNDS
done
tell turns-done
await end
umount /mnt
END
done

total=0
for kind in posix flock; do
    hear a ready-$kind && hear b ready-$kind || not_ok "the guests are ready"
    tell a go-$kind
    tell b go-$kind
    check "host: $ROUNDS turns, $kind" timeout 100 "$GUEST_PROGS/locker" $kind "$T/share" $ROUNDS
    total=$((total + 3 * ROUNDS))
    [ $kind = flock ] || hear a ready-flock 100 && hear b ready-flock 100
done
hear a turns-done 100 && hear b turns-done 100 || not_ok "the guests end"
equal "no turn is lost" "$total" "$(($(cat "$T/share/counter")))"
tell a end
tell b end
guest_wait a
guest_wait b

# A blocked guest does not stop the others' requests; the holder's death lets it in.
boot a a <<'END'
share a /mnt
exec 9>/mnt/lock
flock 9
tell held
await never
END
hear a held || not_ok "the guest takes the lock"
check "the host cannot have it" test "$(flock -n "$T/share/lock" echo got)" = ""
guest_kill a
check "after the guest's death it can" flock -w 5 "$T/share/lock" true
finish
