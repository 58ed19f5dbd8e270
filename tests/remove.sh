# shellcheck shell=bash
# How a test's folder goes away again. Sourced by whatever makes one; `rules.py` of style/ lets nobody write his own.

# mounts_below DIR: the mount points at DIR or below it, as this process sees them, one a line. Fails when nobody can
# tell. An --one-file-system of rm is not enough: a bind mount of the same file system looks like a folder to it.
mounts_below() {
    local dir point
    dir=$(readlink -e -- "$1") && [ -r /proc/self/mountinfo ] || return
    while read -r _ _ _ _ point _; do
        printf -v point %b "${point//\\/\\0}" # \040 is a space
        [[ $point != "$dir" && $point != "${dir%/}"/* ]] || printf '%s\n' "$point"
    done </proc/self/mountinfo
}

# remove_tree DIR…: remove whole trees, but where something is mounted at DIR or below it is said and DIR is left, whole: what is
# under there may be the host's. Empty names and names of nothing are passed over. Fails when something is left.
remove_tree() {
    local dir mounts code=0
    for dir in "$@"; do
        [ -n "$dir" ] || continue
        if [ -L "$dir" ] || [ ! -d "$dir" ]; then
            rm -f -- "$dir" || code=1
        elif ! mounts=$(mounts_below "$dir"); then
            echo "not removed: $dir (nobody knows what is mounted there)" >&2
            code=1
        elif [ -n "$mounts" ]; then
            echo "not removed: $dir, for something is mounted there: ${mounts//$'\n'/, }" >&2
            code=1
        else
            rm -rf --one-file-system -- "$dir" || code=1
        fi
    done
    return $code
}
