# shellcheck shell=bash
# A world of a test's own for a program that manages machines, with nothing of the host's: the test runs once more in
# mount, process and cgroup namespaces, where all that was there is read-only, tmpfs lies over what the program writes
# to, and the test's data is on a tmpfs, too. No systemd, no dbus, no network. Nothing is bound but read-only files of our own.
# Sourced after lib.sh. A test calls `world "$0" "$@"` after setup, which returns in the world alone, with $T there.
# It may set before:
#   WORLD_TMPFS=(DIR…)  what the program writes to, which package WORLD_OF brings
#   WORLD_LOGS=(DIR…)   the ends of whose *.log are shown after a failure, beside those of $T/*.log and $T/*.out
#   WORLD_SUITE=sid     /usr is Debian sid's there (see sid-root)
#   WORLD_GROUPS        the hierarchy of control groups in which the world has a group of its own, its root there: cpu (of
#                       version 1) or unified; nothing where there is none
# A function world_more makes what else the test wants, as the last step.

# lacks WHAT PACKAGE: a skip, but in continuous integration, where all is installed, a failure.
lacks() {
    [ "${CI:-}" != true ] || { echo "not ok - no $1 (Debian package $2)"; exit 1; }
    skip "no $1 (Debian package $2)"
}
# tools_of PACKAGE PROGRAM…: they are there.
tools_of() {
    local package=$1 p
    shift
    for p in "$@"; do type -P "$p" >/dev/null || [ -e "$p" ] || [ -x "/usr/sbin/$p" ] || lacks "$p" "$package"; done
}

# sid_ready: sid's programs are there, or are brought.
sid_ready() { "$GUEST/sid-root" || lacks "program of Debian sid" libvirt-daemon; }

# world PROGRAM ARGUMENT…: the outer half waits for the inner one, and ends with its code.
world() {
    local d code cgroup
    if [ -n "${WORLD_INSIDE:-}" ]; then
        T=$WORLD_INSIDE
        world_build || { echo "not ok - no world for ${1##*/}"; exit 1; }
        trap world_end EXIT
        return
    fi
    for d in "${WORLD_TMPFS[@]}"; do [ -d "$d" ] || lacks "folder $d" "${WORLD_OF:-base-files}"; done
    mkdir "$T/world"
    export SID_CACHE=${SID_CACHE:-$TOP/.cache/sid}
    cgroup=$(world_cgroup)
    WORLD_INSIDE=$T/world WORLD_CGROUP=$cgroup WORLD_TEST=$T bash -c '
        [ -z "$WORLD_CGROUP" ] || echo $$ >"$WORLD_CGROUP/cgroup.procs"
        exec unshare --mount --pid --fork --kill-child --mount-proc --cgroup "$@"' x "$@"
    code=$?
    # Groups of nobody, each only after those in it.
    [ -z "$cgroup" ] || await_host "the groups to be empty" 10 eval \
        "find '$cgroup' -depth -type d -exec rmdir {} + && [ ! -e '$cgroup' ]"
    exit "$code"
}

# A group of our own, so that two tests do not meet; nothing where that cannot be.
world_cgroup() {
    local dir
    case ${WORLD_GROUPS:-} in
    unified) dir=$(findmnt -rn -t cgroup2 -o TARGET | head -n 1) ;;
    cpu) dir=$(readlink -e /sys/fs/cgroup/cpu) ;; # cpu,cpuacct elsewhere
    *) return ;;
    esac
    [ -n "$dir" ] && mkdir "$dir/${T##*/}" 2>/dev/null && echo "$dir/${T##*/}"
}

# In the new namespaces: the order matters. Nothing that is mounted here reaches the host, all of the host's is
# read-only, and only then something is made.
world_build() {
    local point d
    mount --make-rprivate / || return
    while read -r _ _ _ _ point _; do
        printf -v point %b "${point//\\/\\0}"
        case $point in
        /proc | /proc/* | /dev/pts) ;; # new, and no files
        *) mount -o remount,bind,ro "$point" 2>/dev/null || world_readonly "$point" || return ;;
        esac
    done < <(cat /proc/self/mountinfo)
    mount -t tmpfs -o mode=755 none "$T" || return
    ! touch "$WORLD_TEST/initramfs" "$TOP/no" /etc/no 2>/dev/null || return
    for d in "${WORLD_TMPFS[@]}"; do mount -t tmpfs -o mode=755 none "$d" || return; done
    umount -R -l /sys/fs/cgroup 2>/dev/null # libvirt believes the table of mounts, also of what is covered
    mount -t tmpfs none /sys/fs/cgroup || return
    if [ -n "$WORLD_CGROUP" ]; then
        d=/sys/fs/cgroup/$(basename "${WORLD_CGROUP%/*}")
        mkdir "$d" || return
        if [ "$WORLD_GROUPS" = unified ]; then
            mount -t cgroup2 none "$d" || return
        else
            mount -t cgroup -o "${d##*/}" none "$d" || return
        fi
    fi
    # sid's programs from here on. Nothing in there can be written to.
    if [ "${WORLD_SUITE:-}" = sid ]; then
        mount --bind "$SID_CACHE/root/usr" /usr && mount -o remount,bind,ro /usr || return
        export LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin # it has no other locale; nothing of /usr/local
        hash -r
    fi
    ! declare -F world_more >/dev/null || world_more
}
# What lies under another mount cannot be reached, and so not be written to.
world_readonly() { findmnt -rn -o OPTIONS --target "$1" | grep -qE '(^|,)ro(,|$)'; }

# ---- what the programs are given ----

# daemon_told DIR: DIR gets a program virtiofsd that tells how it was started, in $T/started, and as whom, in $T/pids, and
# becomes ours. Whoever starts it may be any user.
daemon_told() {
    mkdir -p "$1"
    touch "$T/started" "$T/pids"
    chmod 666 "$T/started" "$T/pids"
    cat >"$1/virtiofsd" <<SH
#!/bin/sh
case \$* in
*--shared-dir*) echo "\$*" >>"$T/started" && echo \$\$ >>"$T/pids" ;;
esac
exec "$VIRTIOFSD" "\$@"
SH
    chmod 755 "$1/virtiofsd"
}
# daemons_gone: all that were told of have ended.
daemons_gone() {
    local p
    while read -r p; do ! kill -0 "$p" 2>/dev/null || return; done <"$T/pids"
}
# said FILE WORD: what the guest said of it, in a line "WORD: …" of $T/FILE.
said() { tr -d '\r' <"$T/$1" | sed -n "s/^$2: *//p"; }
# root_folder DIR <<script: a machine's root of busybox alone, whose first process is this script.
root_folder() {
    local p
    mkdir -p "$1"/{bin,dev,proc,sys,tmp,run,etc,usr}
    cp "$(type -P busybox)" "$1/bin/busybox"
    for p in sh mount cat mkdir touch chown poweroff ls stat sed sync; do ln -s busybox "$1/bin/$p"; done
    cat >"$1/bin/init"
    chmod 755 "$1/bin/init"
}

# Everything that runs in here ends with its first process, which we are, and the files with their tmpfs: what the logs say
# is wanted only after a failure.
world_end() {
    local f
    [ "$FAILED" -gt 0 ] || return 0
    while IFS= read -r f; do
        echo "# $f"
        tail -n 12 "$f" | cut -c 1-300 | sed 's/^/#   /'
    done < <(find "$T" ${WORLD_LOGS[@]+"${WORLD_LOGS[@]}"} -maxdepth 1 '(' -name '*.log' -o -name '*.out' ')' -size +0 2>/dev/null
        find "$T" -maxdepth 2 -path '*ctl/console' -size +0)
}
