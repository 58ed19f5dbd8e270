/* SPDX-License-Identifier: BSD-3-Clause
 * The finished system call filters of one architecture (SB_PROGRAMS, SB_ARCH), run by a small
 * interpreter: every call number against the tables. So that what is built for a machine that we
 * are not on is checked, too. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include <cmocka.h>

#include "sandbox/sb-calls.h"

#include SB_PROGRAMS

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

enum { MAX_NR = 600, MAX_STEPS = 24 };

struct program {
    const char *name;
    unsigned bits; /* rows of the table that are in it */
    bool cwd;      /* and those of older kernels */
    const struct sock_filter *insn;
    size_t len;
    uint32_t unlisted, deadly;
};

/* clang-format off */
#define PROGRAM(thread, bits, cwd, action, unlisted, deadly)             \
    {#thread "_" #action, bits, cwd, sb_prog_##thread##_##action,        \
     COUNT(sb_prog_##thread##_##action), unlisted, deadly}
#define PAIR(thread, bits, action, unlisted, deadly)                     \
    PROGRAM(thread, bits, false, action##_at, unlisted, deadly),         \
    PROGRAM(thread, bits, true, action##_cwd, unlisted, deadly)
#define PROGRAMS(thread, bits)                                                      \
    PAIR(thread, bits, kill, SECCOMP_RET_ERRNO | ENOSYS, SECCOMP_RET_KILL_PROCESS), \
    PAIR(thread, bits, log, SECCOMP_RET_LOG, SECCOMP_RET_LOG),                      \
    PAIR(thread, bits, trap, SECCOMP_RET_TRAP, SECCOMP_RET_TRAP)
/* clang-format on */

static const struct program programs[] = {
    PROGRAMS(process, C | W | L | H),
    PROGRAMS(fenced, C | W | L),
    PROGRAMS(lock, L),
    PROGRAMS(keeper, K),
    PROGRAMS(broker, B),
    PROGRAMS(statfs, S),
};

#define NO_PATH (SECCOMP_RET_ERRNO | ENOENT)

/* What the kernel would do; @steps counts instructions. Only what gen-bpf uses. */
static uint32_t run(const struct program *p, const struct seccomp_data *data, unsigned *steps)
{
    uint32_t a = 0;

    for (size_t pc = 0; pc < p->len; (*steps)++) {
        const struct sock_filter *i = &p->insn[pc++];
        bool jump = false;
        switch (i->code) {
        case BPF_LD | BPF_W | BPF_ABS:
            assert_true(i->k <= sizeof(*data) - sizeof(a));
            memcpy(&a, (const char *)data + i->k, sizeof(a));
            continue;
        case BPF_ALU | BPF_AND | BPF_K:
            a &= i->k;
            continue;
        case BPF_JMP | BPF_JA:
            pc += i->k;
            continue;
        case BPF_RET | BPF_K:
            return i->k;
        case BPF_JMP | BPF_JEQ | BPF_K:
            jump = a == i->k;
            break;
        case BPF_JMP | BPF_JSET | BPF_K:
            jump = a & i->k;
            break;
        case BPF_JMP | BPF_JGE | BPF_K:
            jump = a >= i->k;
            break;
        default:
            fail_msg("%s: instruction 0x%x", p->name, i->code);
        }
        pc += jump ? i->jt : i->jf;
    }
    fail_msg("%s: runs off its end", p->name);
    return 0;
}

static uint32_t call(const struct program *p, int nr, uint64_t arg0, uint64_t arg2)
{
    struct seccomp_data d = {.nr = nr, .arch = SB_ARCH, .args = {arg0, 0, arg2}};
    unsigned steps = 0;
    return run(p, &d, &steps);
}

static int number(const char *name)
{
    int nr = seccomp_syscall_resolve_name_arch(SB_ARCH, name);

    for (size_t i = 0; nr < 0 && i < sb_numbers_count; i++) {
        if (strcmp(sb_numbers[i].name, name) == 0)
            nr = sb_numbers[i].nr;
    }
    return nr;
}

static bool is_deadly(int nr)
{
    for (size_t i = 0; i < sb_deadly_count; i++) {
        if (number(sb_deadly[i]) == nr)
            return true;
    }
    return false;
}

static const struct sb_call *row_of(const struct program *p, int nr)
{
    for (size_t i = 0; i < sb_calls_count; i++) {
        const struct sb_call *c = &sb_calls[i];
        if ((c->threads & p->bits) && (c->cond != COND_CWD || p->cwd) && number(c->name) == nr)
            return c;
    }
    return NULL;
}

static const struct sb_path *path_of(int nr)
{
    for (size_t i = 0; i < sb_paths_count; i++) {
        if (number(sb_paths[i].name) == nr)
            return &sb_paths[i];
    }
    return NULL;
}

/* What the tables say of call @nr with arguments that are descriptors; false when it depends on
 * more. */
static bool table_says(const struct program *p, int nr, uint32_t *action)
{
    const struct sb_call *c = row_of(p, nr);
    const struct sb_path *path = path_of(nr);

    *action = c ? SECCOMP_RET_ALLOW : p->unlisted;
    if (nr == number("clone3") && p->bits & (C | W))
        *action = SECCOMP_RET_ERRNO | ENOSYS;
    if (path && path->dirs[0] < 0 && !c)
        *action = NO_PATH;
    if (is_deadly(nr))
        *action = p->deadly;
    return !c || c->cond == COND_NONE || c->cond == COND_CWD;
}

static void test_every_number(void **state)
{
    for (size_t i = 0; i < COUNT(programs); i++) {
        for (int nr = 0; nr < MAX_NR; nr++) {
            uint32_t expected;
            if (!table_says(&programs[i], nr, &expected))
                continue;
            uint32_t found = call(&programs[i], nr, 3, 4);
            if (found != expected)
                fail_msg("%s: call %d: 0x%x instead of 0x%x", programs[i].name, nr, found,
                         expected);
        }
        assert_int_equal(call(&programs[i], 1 << 20, 3, 4), programs[i].unlisted);
    }
}

/* Each path call, with each of its directories missing in turn, in both forms that compilers give a
 * negative int: no thread gets more than ENOENT, whatever is made of unlisted calls. */
static void test_no_directory(void **state)
{
    const uint64_t none[] = {(uint64_t)-100 /* AT_FDCWD */, 0xffffff9c, 0x12345678ffffff9c,
                             (uint64_t)-1, 0x80000000};

    for (size_t i = 0; i < COUNT(programs) * sb_paths_count; i++) {
        const struct program *p = &programs[i / sb_paths_count];
        const struct sb_path *path = &sb_paths[i % sb_paths_count];
        int nr = number(path->name);
        for (size_t j = 0; nr >= 0 && j < 2 && path->dirs[j] >= 0; j++) {
            for (size_t k = 0; k < COUNT(none); k++) {
                struct seccomp_data d = {.nr = nr, .arch = SB_ARCH, .args = {3, 4, 5, 6}};
                unsigned steps = 0;
                d.args[path->dirs[j]] = none[k];
                uint32_t found = run(p, &d, &steps);
                if (found != (is_deadly(nr) ? p->deadly : NO_PATH))
                    fail_msg("%s: %s without a directory: 0x%x", p->name, path->name, found);
            }
        }
    }
}

static bool ends_in(const char *name, const char *end)
{
    size_t n = strlen(name), m = strlen(end);
    return n > m && strcmp(name + n - m, end) == 0;
}

/* Every listed call that takes a path, as its name says, is in the paths table too, and none is
 * twice. */
static void test_paths_are_known(void **state)
{
    for (size_t i = 0; i < sb_calls_count; i++) {
        const char *name = sb_calls[i].name;
        if ((ends_in(name, "at") && strcmp(name, "fstat") != 0) || ends_in(name, "at2") ||
            ends_in(name, "_at") || (sb_calls[i].cond == COND_CWD && strcmp(name, "fchdir") != 0))
            assert_non_null(path_of(number(name)));
    }
    for (size_t i = 0; i < sb_paths_count; i++) {
        for (size_t j = i + 1; j < sb_paths_count; j++)
            assert_string_not_equal(sb_paths[i].name, sb_paths[j].name);
    }
}

static void test_no_name_twice(void **state)
{
    for (size_t i = 0; i < sb_calls_count; i++) {
        for (size_t j = i + 1; j < sb_calls_count; j++)
            assert_string_not_equal(sb_calls[i].name, sb_calls[j].name);
        for (size_t j = 0; j < sb_deadly_count; j++)
            assert_string_not_equal(sb_calls[i].name, sb_deadly[j]);
    }
}

static void test_arguments(void **state)
{
    const uint64_t thread = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
                            CLONE_SYSVSEM | CLONE_SETTLS | CLONE_PARENT_SETTID |
                            CLONE_CHILD_CLEARTID;
    const struct {
        const char *name;
        uint64_t arg0, arg2;
        bool allowed;
    } cases[] = {
        {"clone", thread, 0, true},
        {"clone", thread | CLONE_NEWNET, 0, false},
        {"clone", thread | CLONE_NEWUSER, 0, false},
        {"clone", thread & ~(uint64_t)CLONE_THREAD, 0, false},
        {"clone", 17 /* SIGCHLD: fork */, 0, false},
        {"mmap", 0, PROT_READ | PROT_WRITE, true},
        {"mmap", 0, PROT_READ | PROT_EXEC, false},
        {"mprotect", 0, PROT_NONE, true},
        {"mprotect", 0, PROT_EXEC, false},
        {"unshare", CLONE_FS, 0, true},
        {"unshare", CLONE_FS | CLONE_NEWNS, 0, false},
        {"unshare", CLONE_NEWUSER, 0, false},
        {"prctl", PR_SET_NAME, 0, true},
        {"prctl", PR_SET_DUMPABLE, 0, false},
        {"seccomp", SECCOMP_SET_MODE_FILTER, 0, true},
        {"seccomp", SECCOMP_SET_MODE_STRICT, 0, false},
    };

    for (size_t i = 0; i < COUNT(programs); i++) {
        if (!(programs[i].bits & W))
            continue;
        for (size_t j = 0; j < COUNT(cases); j++) {
            uint32_t found =
                call(&programs[i], number(cases[j].name), cases[j].arg0, cases[j].arg2);
            uint32_t expected = cases[j].allowed ? SECCOMP_RET_ALLOW : programs[i].unlisted;
            if (found != expected)
                fail_msg("%s: %s, case %zu: 0x%x", programs[i].name, cases[j].name, j, found);
        }
    }
}

/* Calls of another architecture's numbers would mean something else than they seem. */
static void test_other_architecture(void **state)
{
    for (size_t i = 0; i < COUNT(programs); i++) {
        struct seccomp_data d = {.nr = number("read"), .arch = SCMP_ARCH_X86};
        unsigned steps = 0;
        assert_int_equal(run(&programs[i], &d, &steps), programs[i].deadly);
        const uint32_t arch = SB_ARCH;
        if (arch != SCMP_ARCH_X86_64)
            continue;
        d = (struct seccomp_data){.nr = 0x40000000 | number("read"), .arch = SB_ARCH}; /* x32 */
        assert_int_equal(run(&programs[i], &d, &steps), programs[i].deadly);
    }
}

static void test_hot_calls_leave_early(void **state)
{
    const char *const hot[] = {"preadv", "pwritev", "statx", "epoll_pwait", "write", "read"};

    for (size_t i = 0; i < COUNT(programs); i++) {
        for (size_t j = 0; j < COUNT(hot); j++) {
            struct seccomp_data d = {.nr = number(hot[j]), .arch = SB_ARCH};
            unsigned steps = 0;
            run(&programs[i], &d, &steps);
            assert_in_range(steps, 1, MAX_STEPS);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_number),
        cmocka_unit_test(test_no_directory),
        cmocka_unit_test(test_paths_are_known),
        cmocka_unit_test(test_no_name_twice),
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_other_architecture),
        cmocka_unit_test(test_hot_calls_leave_early),
    };
    return cmocka_run_group_tests_name("sb-programs", tests, NULL, NULL);
}
