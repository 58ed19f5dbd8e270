#!/usr/bin/env bash
# Flags of open files and set-id bits in a real guest: O_APPEND and O_DIRECT as each write says, files that take
# appends only, and a set-uid program that an ordinary user has written to.
. "$(dirname "$0")/lib.sh"
setup flags

# What is mounted as "other" is the same directory on another machine.
mkdir "$T/flags"
daemon other "$T/flags" --cache=never
for cache in never auto always; do daemon $cache "$T/flags" --cache=$cache --allow-direct-io; done
daemon rootfs "$T/flags" --profile=rootfs --allow-direct-io # a guest that opens nothing
daemon late "$T/flags" --cache=auto --writeback
for f in log-now log-late log-unopened; do echo host >"$T/flags/$f"; done
append_only=yes
chattr +a "$T"/flags/log-* 2>/dev/null || append_only=
for cache in always metadata auto rootfs; do
    mkdir "$T/setid-$cache"
    cp "$GUEST_PROGS/flags" "$T/setid-$cache/prog"
    cp "$GUEST_PROGS/flags" "$T/setid-$cache/group"
    chmod 04777 "$T/setid-$cache/prog"
    chmod 02777 "$T/setid-$cache/group"
    how=--cache=$cache
    [ $cache != rootfs ] || how=--profile=rootfs
    daemon setid-$cache "$T/setid-$cache" $how
done

guest g -t 150 other never auto always rootfs late setid-always setid-metadata setid-auto setid-rootfs <<END
share other /mnt/other
for cache in never auto always rootfs; do
    echo "# \$cache"
    share \$cache /mnt/\$cache
    mkdir /mnt/other/\$cache
    flags append /mnt/\$cache/\$cache /mnt/other/\$cache
    # A mapping of a file that is not cached is the guest's own affair.
    [ \$cache = never ] || flags direct /mnt/\$cache/\$cache /mnt/other/\$cache
done
if [ -n "$append_only" ]; then
    share late /mnt/late
    for way in now late unopened; do
        echo "# append-only, \$way"
        dir=/mnt/auto
        [ \$way != late ] || dir=/mnt/late
        [ \$way != unopened ] || dir=/mnt/rootfs
        check "append" sh -c "echo guest >>\$dir/log-\$way"
        check "append again" sh -c "echo more >>\$dir/log-\$way"
        equal "anything else is refused" EPERM "\$(flags at \$dir/log-\$way 0 XXXX)"
    done
fi

chmod 755 /
euid() { su alice -s /bin/sh -c "/mnt/\$1 euid"; }
for cache in always metadata auto rootfs; do
    echo "# set-id, \$cache"
    share setid-\$cache /mnt/setid-\$cache
    equal "a set-uid program runs as its owner" 0 "\$(euid setid-\$cache/prog)"
    check "its bit is seen" test -u /mnt/setid-\$cache/prog
    check "so is the other" test -g /mnt/setid-\$cache/group
    check "a user writes to it" su alice -s /bin/sh -c "echo >>/mnt/setid-\$cache/prog"
    check "and to the other" su alice -s /bin/sh -c "echo >>/mnt/setid-\$cache/group"
    equal "it runs as that user" 1000 "\$(euid setid-\$cache/prog)"
    check "the bit is gone" test ! -u /mnt/setid-\$cache/prog
    check "and the other's" test ! -g /mnt/setid-\$cache/group
done
END

if [ -n "$append_only" ]; then
    chattr -a "$T"/flags/log-*
    for way in now late unopened; do
        equal "append-only, $way: all lines, and no other" "host guest more" "$(tr '\n' ' ' <"$T/flags/log-$way" | sed 's/ $//')"
    done
else
    echo "# this file system has no append-only files"
fi
for cache in always metadata auto rootfs; do
    equal "$cache: the bits are gone on the host" "777 777" "$(stat -c %a "$T/setid-$cache/"* | tr '\n' ' ' | sed 's/ $//')"
done
finish
