/* SPDX-License-Identifier: BSD-3-Clause
 * Part of the build tool gen-seccomp: from an action for each call number to a BPF program.
 *
 * Not libseccomp's own programs: what depends on arguments runs them for each call (the rest is
 * remembered by the kernel, which runs them once for each number when they are loaded), and with
 * the directories that is most of what a request needs. So hot calls come first here, and all is
 * short. */
#pragma once

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BPF_MAX_HOT = 8, BPF_MAX_TESTS = 2, BPF_MAX_CALLS = 1024, BPF_MAX_INSNS = 4096 };

/* Half an argument: "(word & mask) == value" must hold, or the action is @otherwise. */
struct bpf_test {
    uint32_t offset; /* in struct seccomp_data */
    uint32_t mask, value;
    uint32_t otherwise;
};

/* What happens to a call: the tests in their order, then @action. */
struct bpf_rule {
    unsigned ntests;
    struct bpf_test tests[BPF_MAX_TESTS];
    uint32_t action; /* SECCOMP_RET_* */
};

struct bpf_filter {
    uint32_t arch;        /* AUDIT_ARCH_* */
    uint32_t bad;         /* for the calls of another architecture */
    uint32_t bad_from;    /* and for numbers from here up; UINT32_MAX: none */
    struct bpf_rule rest; /* for numbers behind the table */
    struct bpf_rule calls[BPF_MAX_CALLS];
    uint32_t hot[BPF_MAX_HOT]; /* looked for first */
    size_t nhot;
};

/* The offset of the lower (the upper) half of argument @n; all our machines are little endian. */
uint32_t bpf_arg_low(unsigned n);
uint32_t bpf_arg_high(unsigned n);

/* Write the program to @out. Returns its length. */
size_t bpf_compile(const struct bpf_filter *f, struct sock_filter out[BPF_MAX_INSNS]);
