#!/usr/bin/env bash
# 100,000 files: made, listed, read after a remount, looked up all at once, renamed and removed, with no
# more descriptors in the daemon than its bound.
. "$(dirname "$0")/lib.sh"
setup ops
N=100000
daemon auto "$T/share" --rlimit-nofile=4096

descriptors() { find "/proc/$(daemon_pid auto)/fd" -mindepth 1 | wc -l; }

boot g -m 768M -t 420 auto <<END
share auto /mnt
check "$N files made" ops make /mnt 0 $N
umount /mnt
share auto /mnt
for d in /mnt/d*; do ops list \$d 1000 || not_ok "list \$d"; done
tell known
await go
check "10,000 of them read" ops read /mnt 40000 50000
check "10,000 renamed" ops rename /mnt 90000 100000
check "10,000 removed" ops unlink /mnt 0 10000
check "empty directories removed" rmdir /mnt/d0 /mnt/d9
umount /mnt
END
hear g known 300 || not_ok "the guest knows all files"
n=$(descriptors)
if [ "$n" -lt 4096 ]; then ok "the daemon holds $n descriptors"; else not_ok "the daemon holds $n descriptors"; fi
sed -n 's/^RssAnon:[[:space:]]*/# memory with 100,000 inodes known: /p' "/proc/$(daemon_pid auto)/status"
tell g go
guest_wait g || not_ok "guest: exit code $?"
equal "the host counts the rest" 90000 "$(find "$T/share" -type f | wc -l)"
equal "renamed ones among them" 10000 "$(find "$T/share" -name '*.renamed' | wc -l)"
equal "contents are right" "98765" "$(cat "$T/share/d98/f98765.renamed")"
finish
