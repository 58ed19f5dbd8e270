/* SPDX-License-Identifier: BSD-3-Clause */
#include "sandbox/sb-calls.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

const struct sb_call sb_calls[] = {
#include "sandbox/sb-calls-list.h"
};
const size_t sb_calls_count = COUNT(sb_calls);

const char *const sb_deadly[] = {
    /* other programs, other processes */
    "execve",
    "execveat",
    "fork",
    "vfork",
    "ptrace",
    "process_vm_readv",
    "process_vm_writev",
    "process_madvise",
    "pidfd_open",
    "pidfd_getfd",
    "pidfd_send_signal",
    "kcmp",
    /* another view of the system */
    "mount",
    "umount",
    "umount2",
    "pivot_root",
    "chroot",
    "setns",
    "open_tree",
    "open_tree_attr",
    "move_mount",
    "fsopen",
    "fsconfig",
    "fsmount",
    "fspick",
    "mount_setattr",
    "quotactl",
    "quotactl_fd",
    "swapon",
    "swapoff",
    /* ways around this filter, or deep into the kernel */
    "io_uring_setup",
    "io_uring_enter",
    "io_uring_register",
    "bpf",
    "perf_event_open",
    "userfaultfd",
    "keyctl",
    "add_key",
    "request_key",
    "kexec_load",
    "kexec_file_load",
    "init_module",
    "finit_module",
    "delete_module",
    "modify_ldt",
    "iopl",
    "ioperm",
    "vm86",
    "vm86old",
    "fanotify_init",
    "lookup_dcookie",
    "personality",
    "memfd_secret",
    /* the machine */
    "reboot",
    "acct",
    "syslog",
    "settimeofday",
    "clock_settime",
    "clock_adjtime",
    "adjtimex",
    "sethostname",
    "setdomainname",
    "nfsservctl",
    "uselib",
    "vhangup",
};
const size_t sb_deadly_count = COUNT(sb_deadly);
