#!/usr/bin/env bash
# Daemon and client in one guest, as between a machine's processes: the kernel's 9P client over a unix socket
# (trans=unix), over a pair of which the daemon inherits one end (trans=fd), by TCP, and by vsock, whose loopback makes
# a real peer of a guest's own address. The daemon keeps its sandbox and its filter of system calls.
. "$(dirname "$0")/lib.sh"
export MORE_MODULES='9pnet 9pnet_fd netfs fscache 9p vsock vmw_vsock_virtio_transport_common vsock_loopback'
setup "$VIRTIOFSD=bin/virtiofsd" p9mount locker flock

guest g -m 512M -t 200 <<END
modules $MORE_MODULES
# The sandbox changes the root directory, which the kernel does not allow of an initramfs's own.
mkdir -p /new /srv/share /other
mount -t tmpfs srv /srv
mkdir -m 755 /srv/share
mkdir -m 1777 /srv/share/tmp
seq 1 300000 >/srv/share/numbers
printf '%15d\n' 0 >/srv/share/counter
: >/srv/share/lock
mount --rbind / /new
SERVE='/bin/chroot /new /bin/virtiofsd --shared-dir=/srv/share --protocol=9p --sandbox=${SANDBOX:-namespace} --seccomp=${SECCOMP:-kill}'
\$SERVE --p9-listen=unix:/srv/nine --p9-listen=tcp:127.0.0.1:5640 --p9-listen=vsock:1:5640 >/tmp/log 2>&1 &
daemon=\$!
for i in \$(seq 500); do
    [ ! -S /srv/nine ] || break
    sleep 0.02
done

unix() { mount -t 9p -o trans=unix,version=9p2000.L,msize=1048576 /srv/nine "\$1"; }
tcp() { mount -t 9p -o trans=tcp,port=5640,version=9p2000.L,msize=1048576 127.0.0.1 "\$1"; }
vsock() { p9mount "\$1" version=9p2000.L,msize=1048576 vsock 1 5640; }
pair() { p9mount "\$1" version=9p2000.L,msize=1048576 run \$SERVE --p9-listen=fd:9 >/tmp/pair.log 2>&1; }
owner() { stat -c %u "\$1"; }

for how in unix:0 tcp:65534 vsock:65534 pair:0; do
    name=\${how%:*}
    check "\$name: mounted" \$name /mnt || continue
    check "\$name: a large file is the same" cmp /srv/share/numbers /mnt/numbers
    check "\$name: a copy" cp /mnt/numbers /mnt/tmp/\$name
    check "\$name: the copy is the same" cmp /srv/share/numbers /srv/share/tmp/\$name
    equal "\$name: it belongs to whom it should" "\${how#*:}" "\$(owner /srv/share/tmp/\$name)"
    equal "\$name: the directory" "\$(ls /srv/share/tmp)" "\$(ls /mnt/tmp)"
    if [ "\${how#*:}" = 0 ]; then
        check "\$name: root may write here" touch /mnt/here
        check "\$name: and remove" rm /mnt/here
    else
        check "\$name: nobody may not" sh -c '! touch /mnt/here 2>/dev/null'
    fi
    check "\$name: umount" umount /mnt
done

# Two connections are two clients.
check "mounted" unix /mnt
check "mounted once more" unix /other
locker posix /mnt 100 &
locker posix /other 100 &
check "100 turns of a third" locker posix /srv/share 100
wait %2 %3
equal "no turn is lost" 300 "\$((\$(cat /srv/share/counter)))"
# (Not "flock 9": to v9fs a lock is the process's that took it, and goes with it.)
flock -o /other/lock sh -c ': >/tmp/held; while [ ! -e /tmp/drop ]; do sleep 0.02; done' &
holder=\$!
while [ ! -e /tmp/held ]; do sleep 0.02; done
equal "the other cannot have it" "" "\$(flock -n /mnt/lock echo got)"
timeout 1 flock /mnt/lock echo got >/tmp/got
equal "a signal ends the wait for a lock" 143 \$?
equal "without the lock" "" "\$(cat /tmp/got)"
: >/tmp/drop
wait \$holder
equal "nobody has it in the end" got "\$(flock -n /srv/share/lock echo got)"
equal "nor of the clients" got "\$(flock -n /mnt/lock echo got)"
check "umount" umount /other
check "umount" umount /mnt
kill \$daemon
wait \$daemon
check "the daemon ends when it is told" [ \$? = 0 ]
[ ! -s /tmp/log ] || sed 's/^/# /' /tmp/log
END
finish
