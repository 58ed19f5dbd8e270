#!/usr/bin/env bash
# stress-ng's file-system stressors together, each verifying what it does; the daemon survives, and
# keeps no descriptor afterwards.
. "$(dirname "$0")/lib.sh"
setup stress-ng
# Locks: the guest's own as root, shared as a user.
locks=()
[ -z "${AS_USER:-}" ] || locks=(--posix-lock --flock)
daemon auto "$T/share" --xattr ${locks[@]+"${locks[@]}"}

descriptors() { find "/proc/$(daemon_pid auto)/fd" -mindepth 1 | wc -l; }

boot g -m 1024M -t 150 auto <<'END'
share auto /mnt
tell mounted
await go
check "stress-ng file-system mix" stress-ng --temp-path /mnt --timeout 15 --verify --metrics-brief \
    --hdd 1 --hdd-bytes 16M --fallocate 1 --fallocate-bytes 8M --rename 1 --link 1 --symlink 1 --dentry 1 \
    --dentries 200 --dir 1 --dirdeep 1 --dirdeep-dirs 3 --dirdeep-inodes 500 --fstat 1 --chmod 1 --chown 1 \
    --utime 1 --lockf 1 --lockf-nonblock --flock 1 --locka 1 --lockofd 1 --xattr 1 --getdent 1 --seek 1 --seek-punch \
    --sync-file 1 --sync-file-bytes 8M --mknod 1 --touch 1 --file-ioctl 1 --filename 1 --filename-opts posix \
    --fpunch 1 --copy-file 1 --copy-file-bytes 128M --iomix 1 --iomix-bytes 8M --open 1 --access 1 --readahead 1 \
    --readahead-bytes 8M --mmap 1 --mmap-file --mmap-bytes 8M --msync 1 --msync-bytes 4M
grep -q stress-ng /tmp/check.out && sed -n 's/^/# /p' /tmp/check.out | tail -n 3
equal "nothing is left behind" "" "$(ls -A /mnt)"
echo 3 >/proc/sys/vm/drop_caches
tell ended
await end
umount /mnt
END
hear g mounted || not_ok "the guest mounts"
before=$(descriptors)
tell g go
hear g ended 180 || not_ok "the mix ends"
equal "no descriptor is left behind" "$before" "$(descriptors)"
tell g end
guest_wait g || not_ok "guest: exit code $?"
check "the daemon ends with code 0" daemon_wait auto
finish
