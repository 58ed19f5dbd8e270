#!/usr/bin/env bash
# The wire tests and those of the sandbox inside an emulated arm64 machine, cross-built: what runs programs of another
# machine (qemu-user) has no system call filters and not all of the namespaces; a whole machine has. Nothing is skipped
# there, so a test that says so (77) has failed.
#
#   ARM64_BUILD    the cross build (default build-arm64); its sysroot is .cache/arm64-sysroot (cross/sysroot)
#   ARM64_SUITES   default: wire machine
#   ARM64_TESTS    only those whose line fits this pattern
#   ARM64_PARTS    machines at once (default: as many as there are processors)
GUEST_KERNEL=aarch64-7
VIRTIOFSD=$0 # no daemon runs on this side; setup looks for one
. "$(dirname "$0")/lib.sh"
type -P readelf >/dev/null || skip "no readelf (Debian package binutils)"
setup
build=$(readlink -f "${ARM64_BUILD:-$TOP/build-arm64}")
parts=${ARM64_PARTS:-$(nproc)}
mkdir "$T/packed"
# shellcheck disable=SC2086 # words
all=$("$GUEST/machine-tests" "$build" "$TOP/.cache/arm64-sysroot" "$T/packed" ${ARM64_SUITES:-wire machine}) || exit 1
[ "$all" -gt 0 ] || skip "$build has no such tests"

# A root of its own: the initramfs' one is none that pivot_root or user namespaces would have.
cat >"$T/job" <<'END'
mkdir /new && mount -t tmpfs -o mode=755 new /new && cd /new || exit
cp -a /bin /etc . && mkdir -p proc sys dev tmp root ctl mnt media home run var/tmp mnt media home run var/tmp
tar -xf /ctl/tree.tar
for d in proc sys dev ctl; do mount --rbind /$d $d; done
mount -t tmpfs -o mode=1777 tmp tmp
mount --move . / && exec chroot . sh /ctl/in-root
END
cat >"$T/in-root" <<'END'
cd /
run() {
    name=$1 program=$2
    shift 2
    before=$(cut -d. -f1 /proc/uptime)
    env "$@" FE_SLOW=10 timeout -s KILL 900 "$program" >/tmp/said 2>&1
    code=$?
    took="$(($(cut -d. -f1 /proc/uptime) - before)) s"
    case $code in
    0) echo "ok - $name ($took)" ;;
    *)
        echo "not ok - $name: code $code ($took)"
        grep -v '^\[ *\(RUN\|OK\)' /tmp/said | tail -n 40 | sed 's/^/# /'
        ;;
    esac
    grep '^\[  SKIPPED' /tmp/said | sed "s/^/# $name: /"
}
. /ctl/tests
exit 0
END
for ((i = 0; i < parts; i++)); do
    mkdir -p "$T/m$i"
    ln "$T/packed/tree.tar" "$T/m$i/tree.tar"
    # What callers run is util-linux' setpriv and unshare, which busybox has not; of usage one case is skipped for want
    # of them. starve and dax-map take more than ten and seven minutes there.
    grep -e "${ARM64_TESTS:-.}" "$T/packed/tests" | grep -v "^run '\(callers\|starve\|dax-map\)" |
        awk -v n="$parts" -v i="$i" 'NR % n == i' >"$T/m$i/tests"
    cp "$T/in-root" "$T/m$i/"
    boot "m$i" -m 1536M -c 2 -t "${ARM64_SECONDS:-3000}" <"$T/job"
done
for ((i = 0; i < parts; i++)); do
    guest_wait "m$i" || not_ok "machine $i: exit code $?"
done
equal "every test has ended" "$(cat "$T"/m*/tests | wc -l)" "$(cat "$T"/m*/out | grep -cE '^(ok|not ok) - ')"
finish
