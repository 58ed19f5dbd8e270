/* SPDX-License-Identifier: BSD-3-Clause
 * Build tool: the tables of sb-calls.c as BPF programs for one architecture, written as C.
 * usage: gen-seccomp CPU-FAMILY OUTPUT
 *
 * Made at build time because making them takes libseccomp longer than all the rest of the
 * daemon's start. The programs are balanced trees: every call leaves after few comparisons, and
 * the kernel, which at load time runs the program once for every call number to remember those
 * that are always allowed, is done sooner. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sandbox/sb-calls.h"

static const struct {
    const char *family; /* as meson calls it */
    uint32_t arch;
} archs[] = {
    {"x86_64", SCMP_ARCH_X86_64},
    {"aarch64", SCMP_ARCH_AARCH64},
    {"riscv64", SCMP_ARCH_RISCV64},
};

static const struct {
    const char *name;
    unsigned bits; /* rows of the table that go in */
} threads[] = {{"process", C | W | L}, {"worker", W | L}, {"lock", L}, {"keeper", K}};

static const struct {
    const char *name;
    uint32_t unlisted, deadly, badarch;
} actions[] = {
    {"kill", SCMP_ACT_ERRNO(ENOSYS), SCMP_ACT_KILL_PROCESS, SCMP_ACT_KILL_PROCESS},
    {"log", SCMP_ACT_LOG, SCMP_ACT_LOG, SCMP_ACT_LOG},
    {"trap", SCMP_ACT_TRAP, SCMP_ACT_TRAP, SCMP_ACT_TRAP},
};

#define THREAD_FLAGS (CLONE_VM | CLONE_THREAD | CLONE_SIGHAND)
#define NAMESPACE_FLAGS                                                                           \
    (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | \
     CLONE_NEWNET)

static void check(int r, const char *what)
{
    if (r < 0) {
        fprintf(stderr, "gen-seccomp: %s: %s\n", what, strerror(-r));
        exit(1);
    }
}

static void allow_if(scmp_filter_ctx f, int nr, unsigned arg, enum scmp_compare op, uint64_t a,
                     uint64_t b)
{
    struct scmp_arg_cmp cmp = {.arg = arg, .op = op, .datum_a = a, .datum_b = b};
    check(seccomp_rule_add_array(f, SCMP_ACT_ALLOW, nr, 1, &cmp), "conditional rule");
}

static void add_call(scmp_filter_ctx f, const struct sb_call *c)
{
    int nr = seccomp_syscall_resolve_name(c->name);

    if (nr == __NR_SCMP_ERROR) {
        /* Newer than this libseccomp: the caller gets ENOSYS and does it the old way. */
        return;
    }
    switch (c->cond) {
    case COND_NONE:
        check(seccomp_rule_add(f, SCMP_ACT_ALLOW, nr, 0), c->name);
        break;
    case COND_THREAD: /* the flags come first on all of our architectures */
        allow_if(f, nr, 0, SCMP_CMP_MASKED_EQ, THREAD_FLAGS | NAMESPACE_FLAGS, THREAD_FLAGS);
        break;
    case COND_NO_EXEC:
        allow_if(f, nr, 2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0);
        break;
    case COND_PRIVATE:
        allow_if(f, nr, 0, SCMP_CMP_EQ, CLONE_FS, 0);
        break;
    case COND_SET_NAME:
        allow_if(f, nr, 0, SCMP_CMP_EQ, PR_SET_NAME, 0);
        break;
    case COND_FILTER:
        allow_if(f, nr, 0, SCMP_CMP_EQ, SECCOMP_SET_MODE_FILTER, 0);
        break;
    }
}

static void add_rules(scmp_filter_ctx f, unsigned bits, uint32_t unlisted, uint32_t deadly)
{
    /* clone3(2) hides its flags from us: have libc take clone(2). In all modes, so that what is
     * tried under "log" is what will happen under "kill". */
    if ((bits & (C | W)) && unlisted != SCMP_ACT_ERRNO(ENOSYS))
        check(seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0), "clone3");
    for (size_t i = 0; i < sb_calls_count; i++) {
        if (sb_calls[i].threads & bits)
            add_call(f, &sb_calls[i]);
    }
    for (size_t i = 0; i < sb_deadly_count; i++) {
        int nr = seccomp_syscall_resolve_name(sb_deadly[i]);
        if (nr != __NR_SCMP_ERROR && deadly != unlisted)
            check(seccomp_rule_add(f, deadly, nr, 0), sb_deadly[i]);
    }
}

static void emit(FILE *out, scmp_filter_ctx f, const char *thread, const char *action)
{
    FILE *tmp = tmpfile();
    struct sock_filter insn;

    check(tmp ? 0 : -errno, "temporary file");
    check(seccomp_export_bpf(f, fileno(tmp)), "export");
    rewind(tmp);
    fprintf(out, "static const struct sock_filter sb_prog_%s_%s[] = {\n", thread, action);
    while (fread(&insn, sizeof(insn), 1, tmp) == 1)
        fprintf(out, "    {0x%02x, %u, %u, 0x%08x},\n", insn.code, insn.jt, insn.jf, insn.k);
    fprintf(out, "};\n");
    fclose(tmp);
}

static void generate(FILE *out, uint32_t arch, unsigned t, unsigned a)
{
    scmp_filter_ctx f = seccomp_init(actions[a].unlisted);

    check(f ? 0 : -ENOMEM, "init");
    if (arch != seccomp_arch_native()) {
        check(seccomp_arch_add(f, arch), "architecture");
        check(seccomp_arch_remove(f, SCMP_ARCH_NATIVE), "native architecture");
    }
    check(seccomp_attr_set(f, SCMP_FLTATR_ACT_BADARCH, actions[a].badarch), "bad architecture");
    check(seccomp_attr_set(f, SCMP_FLTATR_CTL_OPTIMIZE, 2), "binary tree");
    add_rules(f, threads[t].bits, actions[a].unlisted, actions[a].deadly);
    emit(out, f, threads[t].name, actions[a].name);
    seccomp_release(f);
}

int main(int argc, char **argv)
{
    uint32_t arch = 0;

    if (argc != 3) {
        fprintf(stderr, "usage: gen-seccomp CPU-FAMILY OUTPUT\n");
        return 1;
    }
    for (size_t i = 0; i < sizeof(archs) / sizeof(archs[0]); i++) {
        if (strcmp(archs[i].family, argv[1]) == 0)
            arch = archs[i].arch;
    }
    if (!arch) {
        fprintf(stderr, "gen-seccomp: no system call list for the architecture %s\n", argv[1]);
        return 1;
    }
    FILE *out = fopen(argv[2], "w");
    check(out ? 0 : -errno, argv[2]);
    fprintf(out, "/* Made by gen-seccomp from sandbox/sb-calls.c. */\n");
    for (unsigned t = 0; t < sizeof(threads) / sizeof(threads[0]); t++) {
        for (unsigned a = 0; a < sizeof(actions) / sizeof(actions[0]); a++)
            generate(out, arch, t, a);
    }
    check(fclose(out) == 0 ? 0 : -errno, argv[2]);
    return 0;
}
