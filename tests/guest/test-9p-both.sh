#!/usr/bin/env bash
# One daemon, both protocols: a tree made over one is compared with what the other and the host see of it, byte by byte
# and attribute by attribute, in both directions; a virtio-fs client, a 9P client and the host take turns under one lock.
. "$(dirname "$0")/lib.sh"
alone "$0"
export MORE_MODULES='9pnet 9pnet_fd netfs fscache 9p'
setup locker getfattr setfattr
tap
ROUNDS=60

cat >"$T/tree.sh" <<'END'
# make DIR: a bit of everything.
make() {
    mkdir "$1" && cd "$1" || return
    for n in 0 1 511 4096 65537 3000001; do
        yes "line of $n" | head -c $n >size-$n
    done
    mkdir -p a/b/c/d empty
    chmod 1777 a && chmod 2750 a/b && chown 12:34 a/b
    cp size-65537 a/b/copy && chmod 4711 a/b/copy
    chown 1000:1001 size-511
    chmod 0 size-1
    ln size-4096 a/hard
    ln -s ../size-511 a/soft
    ln -s /nowhere/at/all dangling
    mkfifo -m 640 pipe
    mknod null c 1 3
    mknod block b 7 200
    mknod large c 300 70000
    dd if=/dev/zero of=sparse bs=1 count=1 seek=5000000 2>/dev/null
    for i in $(seq 60); do echo $i >"empty/entry number $i"; done
    mv "empty/entry number 7" "empty/moved"
    rm "empty/entry number 8"
    setfattr -n user.colour -v blue size-511
    setfattr -n user.empty a
    setfattr -h -n trusted.note -v here dangling
    touch -h -d @1000000000 dangling
    touch -d @1234567890 size-0 a/b/c
    echo more >>size-511
    cd /
}
# describe DIR: all that can be told of it, in an order of its own.
describe() {
    names=$(mktemp)
    cd "$1" || return
    find . -print0 | sort -z >"$names"
    xargs -0 stat -c '%N %f %h %u:%g %t:%T %Y %Z' <"$names"
    xargs -0 getfattr -h -d -m - <"$names" 2>&1
    find . ! -type d -print0 | sort -z | xargs -0 stat -c '%n %s bytes, %b blocks'
    find . -type f -print0 | sort -z | xargs -0 md5sum
    rm "$names"
    cd /
}
END
mkdir "$T/host-bin"
busybox --install -s "$T/host-bin"
host_view() { (PATH=$T/host-bin:$PATH busybox sh -c ". '$T/tree.sh'; describe '$1'"); }

printf '%15d\n' 0 >"$T/share/counter"
: >"$T/share/lock"
daemon both "$T/share" --protocol=both --p9-listen=tcp:10.9.0.1:5640 --p9-squash=none --posix-lock --xattr --modcaps=+sys_admin
boot g -m 512M -t 200 -k "$TAP" both <<END
modules $MORE_MODULES
network
$(cat "$T/tree.sh")
share both /mnt
check "9P is mounted beside it" mount -t 9p -o trans=tcp,port=5640,version=9p2000.L,msize=262144 10.9.0.1 /share
for way in /mnt:/share:virtiofs /share:/mnt:9p; do
    from=\${way%%:*} to=\${way#*:} name=\${way##*:}
    to=\${to%:*}
    check "\$name: made" make \$from/\$name
    sync
    describe \$from/\$name >/tmp/near
    describe \$to/\$name >/ctl/\$name
    check "\$name: the other protocol shows the same" diff /tmp/near /ctl/\$name
    check "\$name: attributes too" grep -q 'user.colour="blue"' /tmp/near
    check "\$name: of all of it" [ \$(wc -l </tmp/near) -gt 200 ]
done
tell ready
await go
locker posix /mnt $ROUNDS >/tmp/a 2>&1 &
locker posix /share $ROUNDS >/tmp/b 2>&1 &
wait %1
equal "virtio-fs: $ROUNDS turns" 0 \$?
wait %2
equal "9P: $ROUNDS turns" 0 \$?
cat /tmp/a /tmp/b
umount /share
umount /mnt
END
hear g ready 150 || not_ok "the guest is ready"
for name in virtiofs 9p; do
    host_view "$T/share/$name" >"$T/view"
    check "$name: the host sees the same" diff "$T/view" "$T/g/$name"
done
tell g go
check "host: $ROUNDS turns" timeout 100 "$GUEST_PROGS/locker" posix "$T/share" $ROUNDS
guest_wait g || not_ok "guest: exit code $?"
equal "no turn is lost" $((3 * ROUNDS)) "$(($(cat "$T/share/counter")))"
finish
