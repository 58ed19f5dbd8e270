#!/usr/bin/env bash
# git over the bridge: commit, clone, branch, merge, rebase, gc, fsck; the host's git agrees about the result. Long form:
# under more cache policies, with more commits.
. "$(dirname "$0")/lib.sh"
setup_bridge git
export HOME=$T GIT_CONFIG_NOSYSTEM=1
git config --global user.name nobody
git config --global user.email nobody@localhost
git config --global safe.directory '*'
git config --global init.defaultBranch main
COMMITS=${BRIDGE_LONG:+1}15 # 15, in the long form 115

# git_over NAME [DAEMON OPTION]…
git_over() {
    local name=$1
    shift
    serve "$name" "$@"
    over "$name" 600 <<END || return
export HOME=$HOME GIT_CONFIG_NOSYSTEM=1
quiet() { git -C "\$1" status --porcelain; }
commits() {
    for i in \$(seq $COMMITS); do
        echo "\$i" >>log && mkdir -p "d\$((i % 7))" && cp "$TOP/tests/lib/fe-bridge.c" "d\$((i % 7))/f\$i"
        git add -A && git commit -q -m "commit \$i" || return
    done
}
cp -r "$TOP/tests" work
check "$name: init, add, commit" sh -c 'git init -q work && cd work && git add -A && git commit -q -m first'
equal "$name: nothing is left to commit" "" "\$(quiet work)"
cd work
check "$name: $COMMITS commits" commits
check "$name: branch and merge" sh -c 'git checkout -q -b side HEAD~10 && echo side >side && git add side && git commit -q -m side &&
    git checkout -q main && git merge -q -m merge side'
check "$name: rebase" sh -c 'git checkout -q -b moved HEAD~5 && echo moved >moved && git add moved && git commit -q -m moved &&
    git rebase -q main && git checkout -q main'
check "$name: stash" sh -c 'echo more >>log && git stash -q && git stash pop -q && git checkout -q log'
cd ..
check "$name: clone by links" git clone -q work linked
check "$name: clone by copies" git clone -q --no-hardlinks work copied
check "$name: clone as a stranger" git clone -q "file://\$MNT/work" fetched
check "$name: a second working tree" git -C work worktree add -q ../second side
check "$name: gc" git -C work gc -q --aggressive --prune=now
check "$name: repack" git -C copied repack -q -a -d -f
check "$name: pull after gc" git -C fetched pull -q
for r in work linked copied fetched; do
    check "$name: fsck of \$r" git -C \$r fsck --strict --full
    equal "$name: \$r is clean" "" "\$(quiet \$r)"
done
check "$name: archive" sh -c 'git -C work archive HEAD | tar -x -C "\$(mktemp -d -p .)"'
check "$name: rm -r" rm -r second
END
    served "$name"
    check "$name: the host's fsck" git -C "$T/$name/work" fsck --strict --full
    equal "$name: the host's status" "" "$(git -C "$T/$name/work" status --porcelain)"
}
git_over auto
if [ -n "${BRIDGE_LONG:-}" ]; then
    git_over always --cache=always
    git_over writeback --writeback --cache=always
    git_over never --cache=never --allow-mmap
fi
finish
