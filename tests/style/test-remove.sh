#!/usr/bin/env bash
# What removes the tests' folders keeps its hands off mounts: tried on sacrificial folders, in a mount namespace of its
# own where all else is read-only. Also the guest tests' teardown, and the C tests' remover (REMOVE, a program).
set -uo pipefail

top=$(readlink -f "$(dirname "$(readlink -f "$0")")/../..")
failed=0
if [ -z "${INSIDE:-}" ]; then
    unshare --mount true 2>/dev/null || { echo "skipped: no mount namespaces here"; exit 77; }
    T=$(mktemp -d "${TMPDIR:-/tmp}/remove.XXXXXX") || exit 1
    INSIDE=$T unshare --mount --propagation private "$0" "$@"
    code=$?
    rmdir "$T" || code=1 # what was in there was a file system of its own
    exit $code
fi
# shellcheck source=tests/remove.sh
. "$top/tests/remove.sh"

T=$INSIDE
mount -t tmpfs none "$T" || exit 1
while read -r _ _ _ _ point _; do
    [ "$point" = "$T" ] || mount -o remount,bind,ro "$point" 2>/dev/null
done </proc/self/mountinfo
! touch "$top/tests/written" 2>/dev/null || { echo "not ok - the rest is read-only"; exit 1; }
cd "$T" || exit 1

check() {
    local what=$1
    shift
    if "$@" >out 2>&1; then echo "ok - $what"; else echo "not ok - $what ($*)"; sed 's/^/# /' out; failed=1; fi
}
gone() { [ ! -e "$1" ] && [ ! -L "$1" ]; }
refuses() { ! "$@" && grep -q mounted out; }

# Somebody's files, and a folder of a test with them mounted below.
fresh() {
    mkdir -p theirs "work dir/deep/bound" "work dir/own"
    echo precious >theirs/file
    echo mine >"work dir/own/file"
}
whole() { [ "$(cat theirs/file "work dir/own/file")" = $'precious\nmine' ]; }
# The ways to remove a folder.
guest_teardown() { # in a shell of its own, as a test does it
    bash -c 'PATH=/nowhere:$PATH; . "$1/tests/guest/lib.sh"; T=$2; teardown' x "$top" "$1"
}
by_program() { "${REMOVE:-$top/build/tests/lib/remove-tree}" "$1"; }

for way in remove_tree guest_teardown by_program; do
    for how in --bind --rbind; do
        fresh
        mount $how theirs "work dir/deep/bound"
        check "$way: refused with a mount ($how) below" refuses $way "$T/work dir"
        check "$way: and nothing is lost" whole
        umount "work dir/deep/bound"
        check "$way: without it the folder goes" $way "$T/work dir"
        check "$way: it is gone" gone "work dir"
        check "$way: the other one is not" test -s theirs/file
    done
    fresh
    mount --bind theirs "work dir"
    check "$way: refused when it is a mount point" refuses $way "$T/work dir"
    check "$way: nothing is lost" test -s theirs/file
    umount "work dir"
    ln -s theirs "work dir/link"
    check "$way: symbolic links are not followed" $way "$T/work dir"
    check "$way: nothing is lost behind one" test -s theirs/file
    mkdir -p mounted mounted-not
    mount --bind theirs mounted
    check "$way: a name that only begins so is no reason" $way "$T/mounted-not"
    umount mounted
done
ln -s theirs link
check "a symbolic link goes as itself" remove_tree link
check "it is gone" gone link
check "its target is not" test -s theirs/file
check "no name, and the name of nothing" remove_tree "" nothing
exit $failed
