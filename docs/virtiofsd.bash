# SPDX-License-Identifier: BSD-3-Clause
# Completion of virtiofsd's options in bash.
# shellcheck shell=bash
# Words are split on purpose, none has spaces; _init_completion sets variables of its own.
# shellcheck disable=SC2207,SC2034

_virtiofsd()
{
    local cur prev words cword split
    _init_completion -s || return

    case $prev in
        --shared-dir | --statfs-from)
            _filedir -d
            return
            ;;
        --socket-path | --socket | --p9-socket-path)
            _filedir
            return
            ;;
        --socket-group)
            COMPREPLY=($(compgen -g -- "$cur"))
            return
            ;;
        --protocol)
            COMPREPLY=($(compgen -W 'virtiofs 9p both' -- "$cur"))
            return
            ;;
        --inode-file-handles)
            COMPREPLY=($(compgen -W 'never prefer mandatory' -- "$cur"))
            return
            ;;
        --cache)
            COMPREPLY=($(compgen -W 'never metadata auto always' -- "$cur"))
            return
            ;;
        --dax-policy)
            COMPREPLY=($(compgen -W 'auto always never' -- "$cur"))
            return
            ;;
        --dax-dialect)
            COMPREPLY=($(compgen -W 'auto standard qemu crosvm alioth' -- "$cur"))
            return
            ;;
        --posix-acl | --security-label)
            COMPREPLY=($(compgen -W 'never auto always' -- "$cur"))
            return
            ;;
        --sandbox)
            COMPREPLY=($(compgen -W 'namespace chroot none' -- "$cur"))
            return
            ;;
        --seccomp)
            COMPREPLY=($(compgen -W 'kill log trap none' -- "$cur"))
            return
            ;;
        --log-level)
            COMPREPLY=($(compgen -W 'off error warn info debug' -- "$cur"))
            return
            ;;
        --tag | --fd | --num-request-queues | --queue-size | --thread-pool-size | --poll-us | \
            --p9-listen | --p9-msize | --p9-squash | --timeout | --negative-timeout | \
            --dax-window | --dax-min-size | --dax-include | --dax-exclude | --modcaps | --uid-map | --gid-map | \
            --xattrmap | --translate-uid | --translate-gid | \
            --rlimit-nofile | --max-fds | --max-inodes | --max-lock-waiters | --max-lock-ranges | --lock-wait | -o)
            return
            ;;
    esac
    $split && return

    COMPREPLY=($(compgen -W '
        --shared-dir= --tag= --readonly --no-announce-submounts --inode-file-handles=
        --preserve-noatime --allow-direct-io --statfs-from=
        --socket-path= --socket-group= --fd= --relisten
        --protocol= --p9-socket-path= --p9-listen= --p9-msize= --p9-squash= --no-p9-lock
        --num-request-queues= --queue-size= --thread-pool-size= --poll-us=
        --cache= --timeout= --negative-timeout= --allow-mmap --writeback --no-readdirplus
        --dax-window= --dax-policy= --dax-min-size= --dax-include= --dax-exclude= --dax-dialect=
        --xattr --posix-lock --flock --lock-wait= --no-killpriv-v2
        --xattrmap= --posix-acl= --security-label= --translate-uid= --translate-gid=
        --sandbox= --seccomp= --modcaps= --uid-map= --gid-map=
        --rlimit-nofile= --max-fds= --max-inodes= --max-lock-waiters= --max-lock-ranges=
        --log-level= --syslog --print-capabilities --help --version' -- "$cur"))
    [[ ${COMPREPLY-} == *= ]] && compopt -o nospace
} &&
    complete -F _virtiofsd virtiofsd
