/* SPDX-License-Identifier: BSD-3-Clause
 * The request check, row by row of the opcode table: exactly right passes, one byte off fails. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "virtiofsd/fuse/fuse-priv.h"

struct fixture {
    struct fuse_srv srv;
    struct fs_policy shared;
    struct chain chain;
    struct fuse_rq rq;
};

/* A request as the guest would send it: fixed part, one-letter strings, and nothing else. */
static void make(struct fixture *f, uint32_t opcode)
{
    struct fuse_rq *rq = &f->rq;
    const struct fuse_op *op = &fuse_ops[opcode];

    memset(rq, 0, sizeof(*rq));
    f->chain = (struct chain){.out_len = sizeof(struct fuse_out_header) + op->reply};
    f->srv.se = (struct fuse_session *)f; /* INIT was done; never followed here */
    f->srv.flags = FUSE_POSIX_LOCKS;
    f->srv.minor = FUSE_WIRE_EXT_MINOR;
    f->shared.xattr = true;
    f->srv.shared = &f->shared;
    f->srv.dax.on = true;
    rq->srv = &f->srv;
    rq->chain = &f->chain;
    rq->op = op;
    rq->in = (struct fuse_in_header *)rq->buf;
    rq->body = rq->buf + sizeof(*rq->in);
    rq->body_len = op->fixed;
    for (unsigned i = 0; i < op->strings; i++) {
        memcpy(rq->body + rq->body_len, "n", 2);
        rq->body_len += 2;
    }
    rq->in->opcode = opcode;
    rq->in->nodeid = 1;
    rq->in->len = (uint32_t)(sizeof(*rq->in) + rq->body_len);
    f->chain.in_len = rq->in->len;
}

static void set_len(struct fixture *f, int delta)
{
    f->rq.body_len = (size_t)((long)f->rq.body_len + delta);
    f->rq.in->len = (uint32_t)((int)f->rq.in->len + delta);
    f->chain.in_len = f->rq.in->len;
}

#define FOR_EACH_OP(op)                             \
    for (uint32_t op = 0; op < FUSE_WIRE_OPS; op++) \
        if (fuse_ops[op].name)

static struct fixture *f;

static void test_exact_passes(void **state)
{
    FOR_EACH_OP(op)
    {
        make(f, op);
        assert_int_equal(fuse_check(&f->rq), 0);
    }
}

static void test_one_byte_short(void **state)
{
    FOR_EACH_OP(op)
    {
        make(f, op);
        if (f->rq.body_len == 0)
            continue;
        set_len(f, -1);
        assert_int_equal(fuse_check(&f->rq), -EINVAL);
    }
}

static void test_one_byte_long(void **state)
{
    FOR_EACH_OP(op)
    {
        make(f, op);
        set_len(f, 1);
        bool open_end = fuse_ops[op].flags & (FUSE_OP_ANYLEN | FUSE_OP_DATA | FUSE_OP_SURPLUS);
        assert_int_equal(fuse_check(&f->rq), open_end ? 0 : -EINVAL);
    }
}

/* What has a fixed size, and nothing else, may have more bytes behind it. */
static void test_surplus(void **state)
{
    FOR_EACH_OP(op)
    {
        const struct fuse_op *o = &fuse_ops[op];
        bool fixed = o->strings == 0 && !(o->flags & (FUSE_OP_ANYLEN | FUSE_OP_DATA | FUSE_OP_EXT));
        assert_int_equal((o->flags & FUSE_OP_SURPLUS) != 0, fixed);
        if (!fixed)
            continue;
        make(f, op);
        set_len(f, 260);
        assert_int_equal(fuse_check(&f->rq), 0);
        assert_int_equal(f->rq.body_len, o->fixed);
        assert_int_equal(f->rq.in->len, sizeof(*f->rq.in) + o->fixed);
    }
}

static void test_length_lies(void **state)
{
    FOR_EACH_OP(op)
    {
        make(f, op);
        f->rq.in->len++;
        assert_int_equal(fuse_check(&f->rq), -EINVAL);
        make(f, op);
        f->chain.in_len++;
        bool surplus = fuse_ops[op].flags & FUSE_OP_SURPLUS;
        assert_int_equal(fuse_check(&f->rq), surplus ? 0 : -EINVAL);
        /* A header that counts nothing but itself, or not even that. */
        make(f, op);
        if (f->rq.body_len == 0)
            continue;
        f->rq.in->len = sizeof(*f->rq.in);
        assert_int_equal(fuse_check(&f->rq), surplus ? 0 : -EINVAL);
        f->rq.in->len = sizeof(*f->rq.in) - 1;
        assert_int_equal(fuse_check(&f->rq), -EINVAL);
    }
}

static void test_string_without_end(void **state)
{
    FOR_EACH_OP(op)
    {
        make(f, op);
        if (fuse_ops[op].strings == 0)
            continue;
        memset(f->rq.body + fuse_ops[op].fixed, 'x', f->rq.body_len - fuse_ops[op].fixed);
        assert_int_equal(fuse_check(&f->rq), -EINVAL);
    }
}

static void test_reply_space(void **state)
{
    FOR_EACH_OP(op)
    {
        make(f, op);
        if (fuse_ops[op].reply == 0)
            continue;
        f->chain.out_len--;
        assert_int_equal(fuse_check(&f->rq), -EINVAL);
    }
}

/* A value's answer may be shorter than a length's, but never has no room at all. */
static void test_small_xattr(void **state)
{
    struct fuse_getxattr_in arg = {.size = 1};

    make(f, FUSE_GETXATTR);
    memcpy(f->rq.body, &arg, sizeof(arg));
    f->rq.chain->out_len = sizeof(struct fuse_out_header) + 1;
    assert_int_equal(fuse_check(&f->rq), 0);
    f->rq.chain->out_len--;
    assert_int_equal(fuse_check(&f->rq), -EINVAL);
}

static void test_before_init(void **state)
{
    FOR_EACH_OP(op)
    {
        make(f, op);
        f->srv.se = NULL;
        assert_int_equal(fuse_check(&f->rq), op == FUSE_INIT ? 0 : -EIO);
    }
}

static void test_nodeid_zero(void **state)
{
    FOR_EACH_OP(op)
    {
        make(f, op);
        f->rq.in->nodeid = 0;
        bool fine = fuse_ops[op].flags & FUSE_OP_ZERO_NODEID;
        assert_int_equal(fuse_check(&f->rq), fine ? 0 : -EINVAL);
    }
}

static void test_segment_outside_memory(void **state)
{
    FOR_EACH_OP(op)
    {
        make(f, op);
        f->chain.unmapped = true;
        assert_int_equal(fuse_check(&f->rq), -EFAULT);
    }
}

static void test_extensions(void **state)
{
    FOR_EACH_OP(op)
    {
        make(f, op);
        f->rq.in->total_extlen = 2;
        set_len(f, 16);
        bool takes = fuse_ops[op].flags & FUSE_OP_EXT;
        /* INIT comes before anything was agreed upon. */
        assert_int_equal(fuse_check(&f->rq), takes || op == FUSE_INIT ? 0 : -EINVAL);
        if (takes) {
            assert_int_equal(f->rq.ext_len, 16);
            /* Longer than the request. */
            make(f, op);
            f->rq.in->total_extlen = 0xffff;
            assert_int_equal(fuse_check(&f->rq), -EINVAL);
        }
    }
}

/* Before 7.38 that place is padding. */
static void test_padding(void **state)
{
    FOR_EACH_OP(op)
    {
        make(f, op);
        f->srv.minor = FUSE_WIRE_EXT_MINOR - 1;
        f->rq.in->total_extlen = 0xa5c3;
        assert_int_equal(fuse_check(&f->rq), 0);
        assert_int_equal(f->rq.ext_len, 0);
    }
}

static void put32(uint8_t *p, uint32_t v)
{
    memcpy(p, &v, sizeof(v));
}

static void test_groups(void **state)
{
    static const struct {
        uint32_t size, type, count;
        bool good;
        unsigned groups;
    } rows[] = {
        {16, 32, 1, true, 1},           /* one group */
        {16, 32, 0, true, 0},           /* none */
        {16, 32, 2, false, 0},          /* more than there are */
        {16, 32, 0xffffffff, false, 0}, /* far more */
        {7, 32, 1, false, 0},           /* shorter than its own header */
        {24, 32, 1, false, 0},          /* longer than all extensions */
        {16, 33, 1, false, 0},          /* unknown type */
        {16, 31, 1, false, 0},          /* security contexts, cut short */
        {16, 0, 0, true, 0},            /* no context */
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        make(f, FUSE_MKDIR);
        uint8_t *ext = f->rq.body + f->rq.body_len;
        put32(ext, rows[i].size);
        put32(ext + 4, rows[i].type);
        put32(ext + 8, rows[i].count);
        put32(ext + 12, 4711);
        f->rq.in->total_extlen = 2;
        set_len(f, 16);
        assert_int_equal(fuse_check(&f->rq), 0);
        const struct fs_cred *cred = fuse_rq_cred(&f->rq, 022);
        assert_int_equal(cred != NULL, rows[i].good);
        if (cred) {
            assert_int_equal(cred->ngroups, rows[i].groups);
            assert_int_equal(cred->umask, 022);
        }
        if (cred && cred->ngroups)
            assert_int_equal(cred->groups[0], 4711);
    }
}

static void test_secctx(void **state)
{
    static const char name[] = "security.selinux";
    uint8_t ext[64] = {0};

    put32(ext, 48); /* whole */
    put32(ext + 4, 1);
    put32(ext + 8, 5); /* value */
    memcpy(ext + 16, name, sizeof(name));
    memcpy(ext + 16 + sizeof(name), "label", 5);

    make(f, FUSE_MKDIR);
    memcpy(f->rq.body + f->rq.body_len, ext, 48);
    f->rq.in->total_extlen = 6;
    set_len(f, 48);
    assert_int_equal(fuse_check(&f->rq), 0);
    const struct fs_cred *cred = fuse_rq_cred(&f->rq, 0);
    assert_non_null(cred);
    assert_string_equal(cred->secctx_name, name);
    assert_int_equal(cred->secctx_len, 5);
    assert_memory_equal(cred->secctx, "label", 5);

    /* A value longer than what is there. */
    put32(ext + 8, 24);
    make(f, FUSE_MKDIR);
    memcpy(f->rq.body + f->rq.body_len, ext, 48);
    f->rq.in->total_extlen = 6;
    set_len(f, 48);
    assert_int_equal(fuse_check(&f->rq), 0);
    assert_null(fuse_rq_cred(&f->rq, 0));
}

static void test_switched_off(void **state)
{
    static const uint32_t xattr[] = {FUSE_SETXATTR, FUSE_GETXATTR, FUSE_LISTXATTR,
                                     FUSE_REMOVEXATTR};
    static const uint32_t lock[] = {FUSE_GETLK, FUSE_SETLK, FUSE_SETLKW};

    for (size_t i = 0; i < G_N_ELEMENTS(xattr); i++) {
        make(f, xattr[i]);
        f->shared.xattr = false;
        assert_int_equal(fuse_check(&f->rq), -ENOSYS);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(lock); i++) {
        make(f, lock[i]);
        f->srv.flags = 0;
        assert_int_equal(fuse_check(&f->rq), -ENOSYS);
    }
    for (uint32_t op = FUSE_SETUPMAPPING; op <= FUSE_REMOVEMAPPING; op++) {
        make(f, op);
        f->srv.dax.on = false;
        assert_int_equal(fuse_check(&f->rq), -ENOSYS);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exact_passes),
        cmocka_unit_test(test_one_byte_short),
        cmocka_unit_test(test_one_byte_long),
        cmocka_unit_test(test_surplus),
        cmocka_unit_test(test_length_lies),
        cmocka_unit_test(test_string_without_end),
        cmocka_unit_test(test_reply_space),
        cmocka_unit_test(test_small_xattr),
        cmocka_unit_test(test_before_init),
        cmocka_unit_test(test_nodeid_zero),
        cmocka_unit_test(test_segment_outside_memory),
        cmocka_unit_test(test_extensions),
        cmocka_unit_test(test_padding),
        cmocka_unit_test(test_groups),
        cmocka_unit_test(test_secctx),
        cmocka_unit_test(test_switched_off),
    };
    f = g_new0(struct fixture, 1);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    g_free(f);
    return failed;
}
