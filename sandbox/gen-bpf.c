/* SPDX-License-Identifier: BSD-3-Clause
 * The program: is it our architecture, is it one of the hot calls, else a search among ranges of
 * call numbers that share a rule, then that rule.
 *
 * It is written from its end to its start, since jumps go forward only, by at most 255
 * instructions: so every target is there before the jump to it. What a rule does is written once,
 * and again where the last one is too far away. */
#include "sandbox/gen-bpf.h"

#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FAR = UINT8_MAX - 8, CHAIN = 4 };

struct range {
    uint32_t from; /* up to the next one's */
    const struct bpf_rule *rule;
};

struct program {
    struct range ranges[BPF_MAX_CALLS + 2];
    size_t nranges;
    struct sock_filter insn[BPF_MAX_INSNS]; /* the last one first */
    size_t len;
    struct {
        struct bpf_rule rule;
        size_t at;
    } written[BPF_MAX_INSNS];
    size_t nwritten;
};

uint32_t bpf_arg_low(unsigned n)
{
    return (uint32_t)(offsetof(struct seccomp_data, args) + n * sizeof(uint64_t));
}

uint32_t bpf_arg_high(unsigned n)
{
    return bpf_arg_low(n) + (uint32_t)sizeof(uint32_t);
}

static bool same_rule(const struct bpf_rule *a, const struct bpf_rule *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

/* ---- instructions; each returns where it is ---- */

static size_t put(struct program *p, unsigned code, uint32_t k)
{
    if (p->len == BPF_MAX_INSNS) {
        fprintf(stderr, "gen-seccomp: a program becomes too long\n");
        exit(1);
    }
    p->insn[p->len] = (struct sock_filter){.code = (uint16_t)code, .k = k};
    return p->len++;
}

/* How many instructions to skip to get from the next one to be written to @to. */
static size_t span(const struct program *p, size_t to)
{
    return p->len - 1 - to;
}

/* A place near by from which @to is reached. */
static size_t near(struct program *p, size_t to)
{
    return span(p, to) <= FAR ? to : put(p, BPF_JMP | BPF_JA, (uint32_t)span(p, to));
}

static size_t put_jump(struct program *p, unsigned test, uint32_t k, size_t yes, size_t no)
{
    yes = near(p, yes);
    no = near(p, no);
    size_t jt = span(p, yes), jf = span(p, no), at = put(p, BPF_JMP | test | BPF_K, k);
    p->insn[at].jt = (uint8_t)jt;
    p->insn[at].jf = (uint8_t)jf;
    return at;
}

static size_t put_load(struct program *p, uint32_t offset)
{
    return put(p, BPF_LD | BPF_W | BPF_ABS, offset);
}

static size_t put_rule(struct program *p, const struct bpf_rule *r);

static size_t put_action(struct program *p, uint32_t action)
{
    return put_rule(p, &(struct bpf_rule){.action = action});
}

static size_t put_test(struct program *p, const struct bpf_test *t, size_t ok)
{
    size_t bad = put_action(p, t->otherwise);

    if (t->value == 0 && t->mask != UINT32_MAX) {
        put_jump(p, BPF_JSET, t->mask, bad, ok);
    } else {
        put_jump(p, BPF_JEQ, t->value, ok, bad);
        if (t->mask != UINT32_MAX)
            put(p, BPF_ALU | BPF_AND | BPF_K, t->mask);
    }
    return put_load(p, t->offset);
}

static size_t put_rule(struct program *p, const struct bpf_rule *r)
{
    for (size_t i = p->nwritten; i-- > 0;) {
        if (same_rule(&p->written[i].rule, r) && span(p, p->written[i].at) <= FAR)
            return p->written[i].at;
    }
    size_t at = r->ntests ? put_action(p, r->action) : put(p, BPF_RET | BPF_K, r->action);
    for (unsigned i = r->ntests; i-- > 0;)
        at = put_test(p, &r->tests[i], at);
    p->written[p->nwritten].rule = *r;
    p->written[p->nwritten++].at = at;
    return at;
}

/* ---- the search ---- */

static void add_range(struct program *p, uint32_t from, const struct bpf_rule *rule)
{
    if (p->nranges == 0 || !same_rule(p->ranges[p->nranges - 1].rule, rule))
        p->ranges[p->nranges++] = (struct range){from, rule};
}

/* Whether one rule holds for all of these ranges but for a few single numbers. */
static bool is_chain(const struct range *r, size_t n, const struct bpf_rule *rule)
{
    size_t others = 0;

    for (size_t i = 0; i < n; i++) {
        if (same_rule(r[i].rule, rule))
            continue;
        /* The last range's end is unknown here: it is the rule's, or it is not taken. */
        if (i + 1 == n || r[i + 1].from != r[i].from + 1 || ++others > CHAIN)
            return false;
    }
    return true;
}

static size_t put_chain(struct program *p, const struct range *r, size_t n,
                        const struct bpf_rule *rule)
{
    size_t next = put_rule(p, rule);

    for (size_t i = n; i-- > 0;) {
        if (!same_rule(r[i].rule, rule)) {
            size_t leaf = put_rule(p, r[i].rule);
            next = put_jump(p, BPF_JEQ, r[i].from, leaf, next);
        }
    }
    return next;
}

static size_t put_search(struct program *p, const struct range *r, size_t n)
{
    if (is_chain(r, n, r[n - 1].rule))
        return put_chain(p, r, n, r[n - 1].rule);
    size_t half = n / 2;
    size_t right = put_search(p, r + half, n - half), left = put_search(p, r, half);
    return put_jump(p, BPF_JGE, r[half].from, right, left);
}

size_t bpf_compile(const struct bpf_filter *f, struct sock_filter out[BPF_MAX_INSNS])
{
    struct program *p = calloc(1, sizeof(*p));
    const struct bpf_rule bad = {.action = f->bad};

    if (!p)
        exit(1);
    for (uint32_t nr = 0; nr < BPF_MAX_CALLS; nr++)
        add_range(p, nr, &f->calls[nr]);
    add_range(p, BPF_MAX_CALLS, &f->rest);
    if (f->bad_from != UINT32_MAX)
        add_range(p, f->bad_from, &bad);
    size_t next = put_search(p, p->ranges, p->nranges);
    for (size_t i = f->nhot; i-- > 0;) {
        size_t leaf = put_rule(p, &f->calls[f->hot[i]]);
        next = put_jump(p, BPF_JEQ, f->hot[i], leaf, next);
    }
    size_t number = put_load(p, offsetof(struct seccomp_data, nr));
    size_t other = put_rule(p, &bad);
    put_jump(p, BPF_JEQ, f->arch, number, other);
    put_load(p, offsetof(struct seccomp_data, arch));
    size_t len = p->len;
    for (size_t i = 0; i < len; i++)
        out[i] = p->insn[len - 1 - i];
    free(p);
    return len;
}
