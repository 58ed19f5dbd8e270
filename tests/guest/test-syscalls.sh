#!/usr/bin/env bash
# The daemon's system calls per operation of one guest process, eventfd traffic included, beside what
# the Rust daemon with file handles makes for the same (counted with the same kind of guest). A lone
# process leaves nothing to batch: each request may cost a wait and a signal, and the lines below are
# these two per request and the file system's own calls. Under cache=auto an unchanged file is read from
# the host once, however often it is opened.
. "$(dirname "$0")/lib.sh"
type -P strace >/dev/null || skip "no strace"
setup ops
N=400
"$GUEST_PROGS/ops" make "$T/share" 0 $N
head -c 8388608 /dev/urandom >"$T/share/big"
daemon auto "$T/share" --poll-us=0 # looks before sleeping are calls by time, not by request

# counted WHAT LIMIT RUST (in hundredths): trace the daemon while the guest does N of these.
counted() {
    local word=$1 pid calls
    hear g "ready-$word" || not_ok "the guest is ready for $word"
    strace -f -c -U calls,name -o "$T/$word.trace" -p "$(daemon_pid auto)" 2>"$T/$word.err" &
    pid=$!
    await_host "strace" 10 grep -q attached "$T/$word.err"
    tell g "go-$word"
    hear g "did-$word" || not_ok "the guest does $word"
    kill -INT $pid
    wait $pid 2>/dev/null
    calls=$(awk '$NF == "total" { print $1 }' "$T/$word.trace")
    if [ "$calls" -ge "$N" ] && [ $((calls * 100 / N)) -le "$2" ]; then
        ok "$1: $(per $((calls * 100 / N))), at most $(per "$2"); Rust $(per "$3")"
    else
        not_ok "$1: $(per $((calls * 100 / N))), more than $(per "$2")"
        sed 's/^/# /' "$T/$word.trace"
    fi
}
per() { printf '%d.%02d calls' $(($1 / 100)) $(($1 % 100)); }

boot g -t 100 auto <<END
# step WHAT COMMAND…: with nothing of the share known to the guest yet.
step() {
    word=\$1
    shift
    share auto /mnt
    tell ready-\$word
    await go-\$word
    check "\$word" "\$@"
    tell did-\$word
    umount /mnt
}
step stat ops stat /mnt 0 $N
step list ops list /mnt/d0 $N
step missing ops missing /mnt 0 $N
step read ops read /mnt 0 $N
step rename ops rename /mnt 0 $N
share auto /mnt
ops unrename /mnt 0 $N
umount /mnt
step unlink ops unlink /mnt 0 $N
step make ops make /mnt 0 $N
share auto /mnt
tell ready-cached
await go-cached
for i in 1 2 3 4 5; do cat /mnt/big >/dev/null; done
tell did-cached
await end
umount /mnt
END

# Requests of each, as this guest sends them: stat 1, missing 1, read 5, rename 4, unlink 4, make 6.
counted stat 420 800
counted list 330 660
counted missing 320 480
counted read 1620 2160 # 16 when every request is woken up for alone, as on a busy machine
counted rename 1350 2130
counted unlink 1250 2050
counted make 2050 2900

hear g ready-cached
strace -f -e trace=read,pread64,preadv,preadv2 -o "$T/cached.trace" -p "$(daemon_pid auto)" 2>"$T/cached.err" &
pid=$!
await_host "strace" 10 grep -q attached "$T/cached.err"
tell g go-cached
hear g did-cached || not_ok "the guest reads"
kill -INT $pid
wait $pid 2>/dev/null
bytes=$(sed -n 's/.* preadv2\?(.*) = \([0-9]*\)$/\1/p' "$T/cached.trace" | awk '{ n += $1 } END { print n + 0 }')
equal "five reads of an unchanged file: bytes read from the host" 8388608 "$bytes"
tell g end
guest_wait g || not_ok "guest: exit code $?"
finish
