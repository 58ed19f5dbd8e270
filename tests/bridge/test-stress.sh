#!/usr/bin/env bash
# stress-ng's file-system class over the bridge, all of it but bind-mount (which is about this machine's mounts), each
# stressor verifying what it does; the daemon survives, and keeps no descriptor afterwards. Short form: all at once.
# Long form: one after the other, two of each, under more than one cache policy.
. "$(dirname "$0")/lib.sh"
setup_bridge stress-ng

descriptors() { find "/proc/$(daemon_pid "$1")/fd" -mindepth 1 | wc -l; }

# stress_ng OPTION…: what this machine or FUSE cannot do (3, 4: verity, fiemap, binderfs) is no failure. The stressors
# step back behind the daemon and the bridge, or they would only wait for their turns. 8,192 directories, the default of
# one of them, are held open twice by the daemon, which some machines' limit does not allow.
stress_ng() {
    nice -n 19 stress-ng --temp-path "$MNT" --class filesystem --exclude bind-mount --verify --metrics-brief --oomable \
        --chdir-dirs 1024 --copy-file-bytes 128M --fallocate-bytes 64M --hdd-bytes 64M --iomix-bytes 64M "$@"
    case $? in 0 | 3 | 4) ;; *) return 1 ;; esac
}

# stress NAME "STRESS-NG OPTION…" [DAEMON OPTION]…
stress() {
    local name=$1 how=$2
    shift 2
    serve "$name" --xattr "$@"
    over "$name" 900 <<END || return
$(declare -f descriptors daemon_pid stress_ng)
declare -A DAEMON=([$name]=${DAEMON[$name]})
before=\$(descriptors $name)
check "$name: the file-system class" stress_ng $how
grep -aE ' (fail|error):|skipping' "$T/$name.check" | cut -c1-200 | sed 's/^/# /'
equal "$name: nothing is left behind" "" "\$(ls -A \$MNT)"
cd /
echo 2 >/proc/sys/vm/drop_caches
for i in \$(seq 100); do
    [ "\$(descriptors $name)" -gt "\$before" ] || break
    sleep 0.1
done
check "$name: no descriptor is left behind" [ "\$(descriptors $name)" -le "\$before" ]
END
    served "$name"
}
if [ -z "${BRIDGE_LONG:-}" ]; then
    stress auto "--all 1 --timeout 12"
else
    stress auto "--sequential 2 --timeout 4"
    stress always "--sequential 2 --timeout 2" --cache=always --writeback --posix-acl=auto
    stress never "--sequential 2 --timeout 2" --cache=never --allow-mmap
    stress together "--all 2 --timeout 60"
fi
finish
