#!/usr/bin/env bash
# The flags of open files as each write has them, against what the host itself does to the same files meanwhile.
. "$(dirname "$0")/lib.sh"
setup_bridge
[ -x "$GUEST_PROGS/flags" ] || skip "no program flags (it is built for x86-64)"

for cache in never auto always; do
    echo "# --cache=$cache"
    serve $cache --cache=$cache --allow-direct-io
    over $cache 60 <<END
flags append "\$MNT" "$T/$cache"
[ $cache = never ] || flags direct "\$MNT" "$T/$cache"
END
    served $cache
done

echo "# files that take appends only"
serve late --writeback
echo host >"$T/late/log"
if chattr +a "$T/late/log" 2>/dev/null; then
    over late 60 <<END
check "append, with --writeback" sh -c "echo guest >>log"
echo host >>"$T/late/log"
check "append again" sh -c "echo more >>log"
equal "anything else is refused" EPERM "\$(flags at log 0 XXXX)"
END
    served late
    chattr -a "$T/late/log"
    equal "all lines, and no other" "host guest host more" "$(tr '\n' ' ' <"$T/late/log" | sed 's/ $//')"
else
    echo "# there are none on this file system"
fi
finish
