#!/usr/bin/env bash
# Several request queues, several threads on them, busy polling: many processes at once, all bytes right.
# (A guest takes as many queues as it has processors and its kernel knows how to; UML's 6.1 takes one.)
. "$(dirname "$0")/lib.sh"
setup ops
mkdir "$T/q" "$T/p" "$T/b"
daemon q "$T/q" --num-request-queues=4 --queue-size=256
daemon p "$T/p" --num-request-queues=2 --thread-pool-size=4
daemon b "$T/b" --poll-us=50

guest g -t 100 q p b <<'END'
for tag in q p b; do
    share $tag /mnt
    for k in 1 2 3 4 5 6; do
        mkdir /mnt/w$k
        (
            ops make /mnt/w$k 0 300 && ops read /mnt/w$k 0 300 && ops rename /mnt/w$k 0 300 &&
                ops unrename /mnt/w$k 0 200 && ops list /mnt/w$k/d0 300 && ops unlink /mnt/w$k 0 100 &&
                dd if=/dev/urandom of=/mnt/w$k/big bs=100k count=20 2>/dev/null &&
                md5sum </mnt/w$k/big >/mnt/w$k/sum && echo fine >/tmp/fine-$tag-$k
        ) 2>&1 &
    done
    wait
    equal "$tag: six processes at once" 6 "$(ls /tmp/fine-$tag-* | wc -l)"
    umount /mnt
done
END

for tag in q p b; do
    bad=0
    for k in 1 2 3 4 5 6; do
        [ "$(md5sum <"$T/$tag/w$k/big")" = "$(cat "$T/$tag/w$k/sum")" ] || bad=$((bad + 1))
    done
    equal "$tag: the host reads the same bytes" 0 "$bad"
    equal "$tag: the host counts the files" 1200 "$(find "$T/$tag" -name 'f*' | wc -l)"
    check "$tag: the daemon ends with code 0" daemon_wait $tag
done
finish
