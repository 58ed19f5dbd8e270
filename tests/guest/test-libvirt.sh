#!/usr/bin/env bash
# libvirt starts the daemon: its XML, the arguments that come of it, and what the daemon then does. Debian 12's libvirtd,
# the system's kind, and its QEMU, started by this test in a world of its own (see libvirt-lib.sh), without KVM.
#   LIBVIRT=sid  libvirt and QEMU of Debian sid (see sid-root), and what only those know; VIRTIOFSD must run there:
#                one that was built with -Dprefer_static=true
GUEST_KERNEL=${GUEST_KERNEL:-x86_64-6.1}
. "$(dirname "$0")/lib.sh"
. "$GUEST/libvirt-lib.sh"
if [ -z "${WORLD_INSIDE:-}" ]; then
    libvirt_ready
    setup setfattr getfattr locker flock mover "$GUEST/mover-init=bin/mover-init"
    chmod 755 "$T" # another user's libvirtd looks in
fi
world "$0" "$@"
descriptions "40-virtiofsd.json=$VIRTIOFSD"
guest_shell "$T/ctl"
libvirt_start
NEW='' LOCK="<lock posix='on' flock='on'/>" FILES=''
[ "$(libvirtd --version | sed 's/.* \([0-9]*\)\..*/\1/')" -lt 12 ] || NEW=yes LOCK='' FILES="<openfiles max='5000'/>"
echo "# $(libvirtd --version), $(qemu-system-x86_64 --version | head -n 1)"

# share_xml TAG DIR [SOURCE-WORD]: with the words inside on stdin.
share_xml() {
    printf "<filesystem type='mount' accessmode='passthrough'>%s<source %s='%s'/><target dir='%s'/></filesystem>\n" \
        "$(cat)" "${3:-dir}" "$2" "$1"
}
refused() { # WORDS COMMAND…
    local words=$1
    shift
    ! "$@" >"$T/refused" 2>&1 && cat "$T/refused" && grep -qi -- "$words" "$T/refused"
}
runs() { [ "$(v domstate one)" = running ]; }
# pieces: what libvirt and the daemons leave beside themselves.
pieces() { find /run /var/lib/libvirt \( -name '*-fs*.pid' -o -name '*fs*.sock' \) -printf '%f\n' | sort; }
mount_all() {
    g <<'G'
for t in plain full own; do share $t /mnt/$t; done
cat /mnt/*/host
G
}
hosts() { for i in $(seq "$1"); do echo "from the host"; done; }

take_turns() { # posix|flock: host and guest, in $LATER
    local host
    printf "%15d\n" 0 >"$LATER/counter"
    : >"$LATER/lock"
    timeout 60 "$GUEST_PROGS/locker" "$1" "$LATER" 100 >"$T/locker" 2>&1 &
    host=$!
    check "lock $1='on': the guest takes turns with the host" g "locker $1 /mnt/later 100"
    check "and the host with the guest" wait $host
    equal "and nobody's is lost" 200 "$(tr -d " " <"$LATER/counter")"
}

PLAIN=$T/plain FULL="$T/a,b and more" OTHER=$T/own LATER=$T/later
for d in "$PLAIN" "$FULL" "$OTHER" "$LATER"; do
    mkdir "$d"
    echo "from the host" >"$d/host"
done
"$VIRTIOFSD" --socket-path="$T/own.sock" --shared-dir="$OTHER" --relisten >"$T/own.log" 2>&1 &
OWN=$!

echo "# three shares: nothing said, much said, a daemon of ours"
{
    share_xml plain "$PLAIN" <<<"<driver type='virtiofs'/>"
    share_xml full "$FULL" <<<"<driver type='virtiofs' queue='1024'/><binary xattr='on'><cache mode='always'/>
        <sandbox mode='chroot'/>$LOCK$FILES<thread_pool size='4'/></binary>"
    share_xml own "$T/own.sock" socket <<<"<driver type='virtiofs' queue='512'/>"
} | domain one >"$T/one.xml"
check "define" v define "$T/one.xml"
check "start" v start one
equal "ours is chosen by its description, before QEMU's, for each share" "binary path='$VIRTIOFSD'" \
    "$(v dumpxml one | grep -o "binary path='[^']*'" | sort -u)"
if [ -n "$NEW" ]; then
    equal "arguments of nothing" "--fd=N --shared-dir $PLAIN" "$(arguments "$PLAIN")"
    equal "arguments of much" "--fd=N --shared-dir $FULL --cache always --sandbox chroot --xattr --thread-pool-size=4 --rlimit-nofile=5000" "$(arguments "$FULL")"
else
    equal "arguments of nothing" "--fd=N -o source=$PLAIN" "$(arguments "$PLAIN")"
    equal "arguments of much, a comma written twice" \
        "--fd=N -o source=${FULL/,/,,},cache=always,sandbox=chroot,xattr,flock,posix_lock --thread-pool-size=4" "$(arguments "$FULL")"
fi
equal "queue sizes are the device's" '"queue-size":1024 "queue-size":512' \
    "$(tr '\0' '\n' <"/proc/$(cat /run/libvirt/qemu/one.pid)/cmdline" | grep -o '"queue-size":[0-9]*' | tr '\n' ' ' | sed 's/ $//')"
check "the guest is up" guest_up
equal "all three are mounted" "$(hosts 3)" "$(mount_all)"

if [ -n "$WORLD_CGROUP" ]; then
    for d in "$PLAIN" "$FULL"; do check "all processes of ${d##*/} are in the domain's group" in_group "$d" qemu-; done
else
    echo "# no hierarchy of cgroup v1 with the controller cpu here: groups are not looked at"
fi
echo "# what the daemons do"
g "echo from the guest >/mnt/plain/guest"
equal "a guest's file is on the host" "from the guest" "$(cat "$PLAIN/guest")"
inside() { readlink "/proc/$(daemons "$1" | tail -n 1)/ns/pid"; }
check "namespaces where nothing is said" [ "$(inside "$PLAIN")" != "$(readlink /proc/self/ns/pid)" ]
equal "none with sandbox mode chroot" "$(readlink /proc/self/ns/pid)" "$(inside "$FULL")"
equal "whose root is the share" "from the host" "$(cd "/proc/$(daemons "$FULL")/root" && cat host)"
check "xattr='on': an attribute" g setfattr -n user.test -v yes /mnt/full/host
equal "on the host" yes "$(getfattr --only-values -n user.test --absolute-names "$FULL/host")"
check "without, there are none" refused "not supported" g setfattr -n user.test -v yes /mnt/plain/host
g "cat /mnt/full/host /mnt/plain/host >/dev/null"
for d in "$FULL" "$PLAIN"; do echo more >>"$d/host"; done
sleep 1.5 # by then all but cache mode always have looked again
equal "cache mode always looks no more" "from the host" "$(g cat /mnt/full/host)"
equal "nothing said: it does" "from the host more" "$(g cat /mnt/plain/host | tr '\n' ' ' | sed 's/ $//')"
if [ -n "$NEW" ]; then
    equal "openfiles: the daemon's limit" 5000 "$(sed -n 's/^Max open files *\([0-9]*\) .*/\1/p' "/proc/$(daemons "$FULL")/limits")"
fi

echo "# plug and unplug"
share_xml later "$LATER" >"$T/later.xml" <<<"<driver type='virtiofs'/><binary path='$VIRTIOFSD'><cache mode='none'/><sandbox mode='namespace'/>$LOCK</binary>"
for turn in first second third; do
    check "$turn plug" v attach-device one "$T/later.xml" --live
    if [ $turn = first ]; then
        equal "its arguments" "$([ -n "$NEW" ] && echo "--fd=N --shared-dir $LATER --cache never --sandbox namespace" || echo "--fd=N -o source=$LATER,cache=none,sandbox=namespace,flock,posix_lock")" "$(arguments "$LATER")"
    fi
    [ -z "$WORLD_CGROUP" ] || check "its processes are in the domain's group" in_group "$LATER" qemu-
    check "the guest mounts it" g mounts later /mnt/later
    equal "and reads" "from the host" "$(g cat /mnt/later/host)"
    if [ $turn = first ]; then
        echo changed >"$LATER/host"
        equal "cache mode none: a change is seen at once" changed "$(g cat /mnt/later/host)"
        echo "from the host" >"$LATER/host"
        [ -z "$LOCK" ] || for kind in posix flock; do take_turns $kind; done
        check "it is unmounted" g umount /mnt/later
    fi # else it is mounted when it goes
    check "unplug" v detach-device one "$T/later.xml" --live
    check "its daemon ends" await_host "the end" 20 no_daemon "$LATER"
    check "the guest lost it" g lost later /mnt/later
    equal "pid files and sockets of the others are left" 2 "$(pieces | grep -c 'pid$')"
done

echo "# README's words"
# Its domain's file system, with our daemon and our folder.
sed -n '/^### libvirt/,/^### [^l]/p' "$TOP/README.md" | sed -n '/<filesystem /,/<\/filesystem>/p' |
    sed "s|/usr/local/libexec/virtiofsd|$VIRTIOFSD|; s|/srv/share|$LATER|" >"$T/readme.xml"
if [ -n "$NEW" ]; then
    check "lock is refused for daemons with long options" refused "locking options are not supported" v attach-device one "$T/readme.xml" --live
    sed -i '/<lock /d' "$T/readme.xml"
fi
check "plug" v attach-device one "$T/readme.xml" --live
check "the guest mounts it" g mounts share /mnt/later
equal "and reads" "from the host" "$(g cat /mnt/later/host)"
check "unplug" v detach-device one "$T/readme.xml" --live
check "its daemon ends" await_host "the end" 20 no_daemon "$LATER"

echo "# what is refused"
if [ -z "$NEW" ]; then
    share_xml no "$PLAIN" <<<"<driver type='virtiofs'/><readonly/>" | domain no >"$T/no.xml"
    check "readonly: this libvirt has it not" refused "does not yet support read-only" v define "$T/no.xml"
fi
share_xml no "$PLAIN" <<<"<driver type='virtiofs'/><binary><cache mode='auto'/></binary>" | domain no >"$T/no.xml"
check "cache mode auto: libvirt knows none and always" refused "cache" v define "$T/no.xml"
if [ -z "$NEW" ]; then
    mkdir "$T/users"
    session_start
    share_xml users "$T/users" <<<"<driver type='virtiofs'/>" | domain mine >"$T/mine.xml"
    check "a user's own domain with such a share" refused "not.* supported in session mode" u define "$T/mine.xml"
fi
check "save, which the device or the daemon would have to allow" refused "migrat" v save one "$T/saved"
check "the domain runs on" runs

echo "# reset"
check "reset" v reset one
check "the guest is up" guest_up
equal "all three are mounted again" "$(hosts 3)" "$(mount_all | grep -v more)"
equal "by the same daemon" 2 "$(grep -c 'guest mounted' /var/log/libvirt/qemu/one-fs1-*.log)"

echo "# destroy, and start again"
check "destroy" v destroy one
check "its daemons end" await_host "their end" 10 eval "no_daemon '$PLAIN' && no_daemon '$FULL'"
check "one with --relisten lives" kill -0 $OWN
equal "no pid file and no socket stays" "" "$(pieces)"
check "start" v start one
check "the guest is up" guest_up
equal "all three are mounted again" "$(hosts 3)" "$(mount_all | grep -v more)"
if [ -n "$NEW" ]; then
    # shellcheck source=tests/guest/libvirt-new.sh
    . "$GUEST/libvirt-new.sh"
fi
check "destroy" v destroy one
check "its daemons end" await_host "their end" 10 eval "no_daemon '$PLAIN' && no_daemon '$FULL'"
equal "no pid file and no socket stays" "" "$(pieces)"
equal "no daemon complained" "" "$(grep -hE ' (WARN|ERROR) ' /var/log/libvirt/qemu/*-fs*.log "$T/own.log" | grep -v 'hard limit of open descriptors')"
finish
