#!/usr/bin/env bash
# What the guest sees after the host changed something, and the other way round, under each cache policy:
#   never   everything at once
#   auto    contents at the next open; names, listings, links and sizes within 1.5 s; the guest's caches kept otherwise
#   always  nothing, until the guest drops its caches: the price that this policy names
# and with --profile=rootfs, where a guest opens nothing:
#   soon    (--timeout=2) everything when that is over
#   rootfs  (a day) nothing, until the guest drops its caches
. "$(dirname "$0")/lib.sh"
setup ops

policies="never auto always soon rootfs"
for cache in $policies; do
    dir=$T/$cache
    mkdir "$dir"
    for f in in-place open-all-along append rename unlink mapped written taken; do echo "old $f" >"$dir/$f"; done
    mkdir "$dir/sub"
    for f in kept gone hard; do echo "old $f" >"$dir/sub/$f"; done
    ln -s old "$dir/sub/link"
    ln -s "../sub" "$dir/sub/dirlink"
    case $cache in
        soon) set -- --profile=rootfs --timeout=2 ;;
        rootfs) set -- --profile=rootfs ;;
        *) set -- --cache="$cache" ;;
    esac
    daemon "$cache" "$dir" "$@"
done

# shellcheck disable=SC2086 # words
boot g -t 180 $policies <<'END'
# within MILLISECONDS WHAT EXPECTED COMMAND…
within() {
    tries=$(($1 / 50)) what=$2 wanted=$3
    shift 3
    while found=$("$@" 2>&1); [ "$found" != "$wanted" ]; do
        [ "$tries" -gt 0 ] || { not_ok "$what: '$found', not '$wanted'"; return; }
        sleep 0.05
        tries=$((tries - 1))
    done
    ok "$what"
}
list() { echo $(ls "$1"); }
exists() { if [ -e "$1" ]; then echo yes; else echo no; fi; }

for cache in never auto always soon rootfs; do
    share $cache /mnt/$cache
    static= # nothing is seen of what the host changes
    [ $cache != always ] && [ $cache != rootfs ] || static=1
    cd /mnt/$cache || exit 1
    # Everything known and cached, absent names too.
    for f in * sub/*; do [ -d $f ] || cat $f >/dev/null 2>&1; done
    equal "$cache: listed" "dirlink gone hard kept link" "$(echo $(ls sub))"
    equal "$cache: a link" "old" "$(readlink sub/link)"
    equal "$cache: a link on the way" "old kept" "$(cat sub/dirlink/kept)"
    [ ! -e absent ] || not_ok "absent"
    if [ -z "$static" ]; then
        ops watch open-all-along "NEW" 6000 &
        watcher=$!
        sleep 0.2
    fi
    tell known-$cache
    await changed-$cache
    # Host and guest poll for each other's words: that takes some of the time as well.
    limit=500
    [ $cache != auto ] || limit=2000
    [ $cache != soon ] || limit=6000
    if [ -n "$static" ]; then
        equal "$cache: written in place, still the old bytes" "old in-place" "$(cat in-place)"
        equal "$cache: an absent name stays absent" "no" "$(exists absent)"
        equal "$cache: a listing stays what it was" "dirlink gone hard kept link" "$(echo $(ls sub))"
        equal "$cache: so does a link" "old" "$(readlink sub/link)"
        # Under always that is asked by OPEN.
        [ $cache = always ] || equal "$cache: what is in the cache outlives the host's file" "old taken" "$(cat taken)"
        cd /
        echo 3 >/proc/sys/vm/drop_caches
        cd /mnt/$cache || exit 1
        equal "$cache: written in place, new bytes now" "NEW in-place" "$(cat in-place)"
    else
        if [ $cache = soon ]; then
            within $limit "soon: written in place, new bytes when the time is over" "NEW in-place" cat in-place
        else
            equal "$cache: written in place, new bytes at the next open" "NEW in-place" "$(cat in-place)"
        fi
        check "$cache: written in place, new bytes through a descriptor open before" wait $watcher
    fi
    within $limit "$cache: appended" "$(printf 'old append\nmore')" cat append
    within $limit "$cache: renamed over" "other rename" cat rename
    within $limit "$cache: unlinked" "no" exists unlink
    within $limit "$cache: created after absence" "yes" exists absent
    within $limit "$cache: contents of the created" "created" cat absent
    within $limit "$cache: listed" "absent append in-place mapped open-all-along rename sub written" list .
    within $limit "$cache: listed, one gone and two new" "came dirlink hard hard2 kept link" list sub
    within $limit "$cache: a link with another target" "new" readlink sub/link
    within $limit "$cache: a link on the way that leads elsewhere" "elsewhere" cat sub/dirlink/kept
    within $limit "$cache: a file has one more name" 2 stat -c %h sub/hard
    within $limit "$cache: and what was written by that" "$(printf 'old hard\nby the other name')" cat sub/hard
    check "$cache: both names are one file" [ sub/hard -ef sub/hard2 ]
    # The guest's own stores.
    if [ "$cache" != never ]; then
        check "$cache: store through a mapping, msync" ops map-store mapped MAPPED msync
        tell stored-$cache
        await seen-$cache
        check "$cache: store through a mapping, close" ops map-store mapped CLOSED close
        tell closed-$cache
        await seen2-$cache
    fi
    echo "by the guest" >written
    tell wrote-$cache
    await seen3-$cache
    cd /
    umount /mnt/$cache
done
END

for cache in $policies; do
    dir=$T/$cache
    hear g "known-$cache" || not_ok "the guest mounts $cache"
    printf NEW | dd of="$dir/in-place" conv=notrunc 2>/dev/null
    printf NEW | dd of="$dir/open-all-along" conv=notrunc 2>/dev/null
    echo more >>"$dir/append"
    echo "other rename" >"$dir/tmp" && mv "$dir/tmp" "$dir/rename"
    rm "$dir/unlink" "$dir/taken"
    echo created >"$dir/absent"
    rm "$dir/sub/gone"
    echo came >"$dir/sub/came"
    ln -sfn new "$dir/sub/link"
    ln "$dir/sub/hard" "$dir/sub/hard2"
    echo "by the other name" >>"$dir/sub/hard2"
    mkdir "$dir/.elsewhere" && echo elsewhere >"$dir/.elsewhere/kept"
    ln -sfn ../.elsewhere "$dir/sub/dirlink"
    tell g "changed-$cache"
    if [ "$cache" != never ]; then
        hear g "stored-$cache" && equal "$cache: the host sees the synced store" "MAPPED" "$(head -c 6 "$dir/mapped")"
        tell g "seen-$cache"
        hear g "closed-$cache" && equal "$cache: the host sees the closed store" "CLOSED" "$(head -c 6 "$dir/mapped")"
        tell g "seen2-$cache"
    fi
    hear g "wrote-$cache" && equal "$cache: the host sees a write" "by the guest" "$(cat "$dir/written")"
    tell g "seen3-$cache"
done
guest_wait g || not_ok "guest: exit code $?"
finish
