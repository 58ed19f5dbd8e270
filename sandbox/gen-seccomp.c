/* SPDX-License-Identifier: BSD-3-Clause
 * Build tool: the tables of sb-calls.c and sb-paths.c as BPF programs for one architecture, written
 * as C. libseccomp knows the call numbers; gen-bpf.c makes the programs.
 * usage: gen-seccomp CPU-FAMILY OUTPUT
 *
 * Made at build time because making them takes longer than all the rest of the daemon's start. */
#include <errno.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "sandbox/gen-bpf.h"
#include "sandbox/sb-calls.h"

#define COUNT(a)  (sizeof(a) / sizeof((a)[0]))
#define NO_PATH   (SECCOMP_RET_ERRNO | ENOENT)
#define NO_CALL   (SECCOMP_RET_ERRNO | ENOSYS)
#define X32_CALLS 0x40000000u
#define NEGATIVE  0x80000000u

static const struct {
    const char *family; /* as meson calls it */
    uint32_t arch, bad_from;
} archs[] = {
    {"x86_64", SCMP_ARCH_X86_64, X32_CALLS},
    {"aarch64", SCMP_ARCH_AARCH64, UINT32_MAX},
    {"riscv64", SCMP_ARCH_RISCV64, UINT32_MAX},
};

static const struct {
    const char *name;
    unsigned bits; /* rows of the table that go in */
} threads[] = {
    {"process", C | W | L | H},
    {"fenced", C | W | L},
    {"lock", L},
    {"keeper", K},
    {"broker", B},
    {"statfs", S},
};

static const struct action {
    const char *name;
    uint32_t unlisted, deadly, badarch;
} actions[] = {
    {"kill", NO_CALL, SECCOMP_RET_KILL_PROCESS, SECCOMP_RET_KILL_PROCESS},
    {"log", SECCOMP_RET_LOG, SECCOMP_RET_LOG, SECCOMP_RET_LOG},
    {"trap", SECCOMP_RET_TRAP, SECCOMP_RET_TRAP, SECCOMP_RET_TRAP},
};

/* Whether the kernel can do everything with a directory, or paths from the working directory are
 * needed (COND_CWD). */
static const struct {
    const char *name;
    bool cwd;
} kernels[] = {{"at", false}, {"cwd", true}};

#define THREAD_FLAGS (CLONE_VM | CLONE_THREAD | CLONE_SIGHAND)
#define NAMESPACE_FLAGS                                                                           \
    (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | \
     CLONE_NEWNET)

static void die(const char *what, const char *why)
{
    fprintf(stderr, "gen-seccomp: %s: %s\n", what, why);
    exit(1);
}

/* The number of call @name, or negative: the architecture has none. */
static int number(uint32_t arch, const char *name)
{
    int nr = seccomp_syscall_resolve_name_arch(arch, name);

    for (size_t i = 0; nr < 0 && i < sb_numbers_count; i++) {
        if (strcmp(sb_numbers[i].name, name) == 0)
            nr = sb_numbers[i].nr;
    }
    if (nr >= BPF_MAX_CALLS)
        die(name, "its number is beyond the table");
    return nr;
}

static void add_test(struct bpf_rule *r, uint32_t offset, uint32_t mask, uint32_t value,
                     uint32_t otherwise)
{
    if (r->ntests == BPF_MAX_TESTS)
        die("a rule", "too many tests");
    r->tests[r->ntests++] = (struct bpf_test){offset, mask, value, otherwise};
}

/* Argument @n is exactly @value. */
static void add_equal(struct bpf_rule *r, unsigned n, uint32_t value, uint32_t otherwise)
{
    add_test(r, bpf_arg_high(n), UINT32_MAX, 0, otherwise);
    add_test(r, bpf_arg_low(n), UINT32_MAX, value, otherwise);
}

/* Allowed if the condition holds, else @no. */
static struct bpf_rule allow_if(enum sb_cond cond, uint32_t no)
{
    struct bpf_rule r = {.action = SECCOMP_RET_ALLOW};

    switch (cond) {
    case COND_NONE:
    case COND_CWD:
        break;
    case COND_THREAD: /* the flags come first on all of our architectures */
        add_test(&r, bpf_arg_low(0), THREAD_FLAGS | NAMESPACE_FLAGS, THREAD_FLAGS, no);
        break;
    case COND_NO_EXEC:
        add_test(&r, bpf_arg_low(2), PROT_EXEC, 0, no);
        break;
    case COND_PRIVATE:
        add_equal(&r, 0, CLONE_FS, no);
        break;
    case COND_SET_NAME:
        add_equal(&r, 0, PR_SET_NAME, no);
        break;
    case COND_FILTER:
        add_equal(&r, 0, SECCOMP_SET_MODE_FILTER, no);
        break;
    }
    return r;
}

/* What is said of a path call that begins at no directory of ours. AT_FDCWD and everything else
 * that is no descriptor is negative; the kernel looks at the lower half only. */
static void forbid_no_directory(struct bpf_rule *r, const struct sb_path *p)
{
    if (p->dirs[0] < 0)
        *r = (struct bpf_rule){.action = NO_PATH};
    for (size_t i = 0; i < COUNT(p->dirs) && p->dirs[i] >= 0; i++)
        add_test(r, bpf_arg_low((unsigned)p->dirs[i]), NEGATIVE, 0, NO_PATH);
}

static bool is_in(const struct sb_call *c, unsigned bits, bool cwd)
{
    return (c->threads & bits) && (c->cond != COND_CWD || cwd);
}

static const struct sb_call *listed(const char *name, unsigned bits, bool cwd)
{
    for (size_t i = 0; i < sb_calls_count; i++) {
        if (strcmp(sb_calls[i].name, name) == 0 && is_in(&sb_calls[i], bits, cwd))
            return &sb_calls[i];
    }
    return NULL;
}

static void add_calls(struct bpf_filter *f, unsigned bits, const struct action *a, bool cwd)
{
    int clone3 = number(f->arch, "clone3");

    /* clone3(2) hides its flags from us: have libc take clone(2). Whatever the action, so that what
     * is tried under "log" is what will happen under "kill". */
    if (clone3 >= 0 && (bits & (C | W)))
        f->calls[clone3].action = NO_CALL;
    for (size_t i = 0; i < sb_calls_count; i++) {
        int nr = number(f->arch, sb_calls[i].name);
        if (nr >= 0 && is_in(&sb_calls[i], bits, cwd))
            f->calls[nr] = allow_if(sb_calls[i].cond, a->unlisted);
    }
    for (size_t i = 0; i < sb_paths_count; i++) {
        int nr = number(f->arch, sb_paths[i].name);
        const struct sb_call *c = listed(sb_paths[i].name, bits, cwd);
        if (nr >= 0 && !(c && c->cond == COND_CWD))
            forbid_no_directory(&f->calls[nr], &sb_paths[i]);
    }
    for (size_t i = 0; i < sb_deadly_count; i++) {
        int nr = number(f->arch, sb_deadly[i]);
        if (nr >= 0)
            f->calls[nr] = (struct bpf_rule){.action = a->deadly};
    }
}

/* Calls of every request that depend on their arguments: those are not remembered by the kernel. */
static void add_hot(struct bpf_filter *f, unsigned bits)
{
    static const char *const hot[] = {"statx", "openat", "name_to_handle_at"};

    for (size_t i = 0; i < COUNT(hot) && (bits & W); i++)
        f->hot[f->nhot++] = (uint32_t)number(f->arch, hot[i]);
}

static void emit(FILE *out, const struct bpf_filter *f, const char *thread, const char *action,
                 const char *kernel)
{
    static struct sock_filter insn[BPF_MAX_INSNS];
    size_t len = bpf_compile(f, insn);

    fprintf(out, "static const struct sock_filter sb_prog_%s_%s_%s[] = {\n", thread, action,
            kernel);
    for (size_t i = 0; i < len; i++)
        fprintf(out, "    {0x%02x, %u, %u, 0x%08x},\n", insn[i].code, insn[i].jt, insn[i].jf,
                insn[i].k);
    fprintf(out, "};\n");
}

static void generate(FILE *out, size_t arch, size_t t, const struct action *a, size_t kernel)
{
    static struct bpf_filter f;

    f = (struct bpf_filter){.arch = archs[arch].arch,
                            .bad_from = archs[arch].bad_from,
                            .bad = a->badarch,
                            .rest = {.action = a->unlisted}};
    for (size_t nr = 0; nr < BPF_MAX_CALLS; nr++)
        f.calls[nr] = f.rest;
    add_calls(&f, threads[t].bits, a, kernels[kernel].cwd);
    add_hot(&f, threads[t].bits);
    emit(out, &f, threads[t].name, a->name, kernels[kernel].name);
}

static void generate_all(FILE *out, size_t arch)
{
    for (size_t t = 0; t < COUNT(threads); t++) {
        for (size_t a = 0; a < COUNT(actions); a++) {
            for (size_t k = 0; k < COUNT(kernels); k++)
                generate(out, arch, t, &actions[a], k);
        }
    }
}

int main(int argc, char **argv)
{
    size_t arch = 0;

    if (argc != 3) {
        fprintf(stderr, "usage: gen-seccomp CPU-FAMILY OUTPUT\n");
        return 1;
    }
    while (arch < COUNT(archs) && strcmp(archs[arch].family, argv[1]) != 0)
        arch++;
    if (arch == COUNT(archs))
        die(argv[1], "no system call list for this architecture");
    FILE *out = fopen(argv[2], "w");
    if (!out)
        die(argv[2], strerror(errno));
    fprintf(out, "/* Made by gen-seccomp from sandbox/sb-calls.c and sb-paths.c. */\n");
    generate_all(out, arch);
    if (fclose(out) != 0)
        die(argv[2], strerror(errno));
    return 0;
}
