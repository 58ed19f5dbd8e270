#!/usr/bin/env bash
# Locks that stay in the guest (the default): right among its processes, unseen by the host. Shared ones: as right
# among its processes; two guests and the host take turns under one lock, POSIX and flock; a guest that dies gives
# its lock back; a wait for a program of the host ends.
. "$(dirname "$0")/lib.sh"
setup locker lockcases flock
ROUNDS=150

# cases TAG WAITED [OPTION]…: a guest with a share of its own, where fcntl's cases are to be right. WAITED: the
# exit code of flock(1) for a lock that a program of the host does not give up.
cases() {
    local tag=$1 waited=$2 dir=$T/$1
    shift 2
    mkdir "$dir"
    : >"$dir/lock"
    [ -n "${AS_USER:-}" ] || { : >"$dir/append-only" && chattr +a "$dir/append-only" 2>/dev/null; } || rm -f "$dir/append-only"
    daemon "$tag" "$dir" "$@"
    boot "$tag" -t 150 "$tag" <<END
share $tag /mnt
lockcases /mnt
exec 9>/mnt/lock
flock 9
check "$tag: another open file of the guest cannot have it" test "\$(flock -n /mnt/lock echo got)" = ""
tell held
await end
exec 9>&-
tell free
await busy
flock /mnt/lock true
equal "$tag: the host does not give it up" $waited \$?
umount /mnt
END
    hear "$tag" held 120 || not_ok "$tag: the guest takes a lock of its own"
    chattr -a "$dir/append-only" 2>/dev/null
}
# cases_end TAG: it gives up its lock, and wants the host's.
cases_end() {
    tell "$1" end
    hear "$1" free || not_ok "$1: the guest gives it back"
    exec 8>"$T/$1/lock"
    check "$1: the host has it then" flock -w 10 8 # the guest sends its RELEASE after the close
    tell "$1" busy
    guest_wait "$1" || not_ok "guest: exit code $?"
    exec 8>&-
}
cases local 0
equal "local: the host is not stopped by it" got "$(flock -n "$T/local/lock" echo got)"
cases_end local
# EX_OSERR: flock(2) failed. A crowd of waiters must come through within that time, on a slow machine, too.
cases shared 71 --posix-lock --flock --lock-wait=$((2 * ${GUEST_TIMES:-1}))
equal "shared: the host is stopped by it" "" "$(flock -n "$T/shared/lock" echo got)"
cases_end shared

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
check "after the guest's death it can" flock -w 30 "$T/share/lock" true
finish
