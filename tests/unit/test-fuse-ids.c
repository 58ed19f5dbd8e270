/* SPDX-License-Identifier: BSD-3-Clause
 * What user and group -1 mean, operation by operation. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "virtiofsd/fuse/fuse-priv.h"

static struct fuse_srv srv;
static struct fuse_in_header head;
static struct fuse_rq *rq; /* larger than a stack should hold */

static void ask(uint32_t opcode, uint32_t uid, uint32_t gid, uint64_t granted)
{
    head = (struct fuse_in_header){.opcode = opcode, .uid = uid, .gid = gid};
    srv.flags = granted;
    rq->srv = &srv;
    rq->op = &fuse_ops[opcode];
    rq->in = &head;
}

static bool makes(uint32_t op)
{
    return op == FUSE_MKNOD || op == FUSE_MKDIR || op == FUSE_SYMLINK || op == FUSE_CREATE ||
           op == FUSE_TMPFILE;
}

/* Every operation has a row. */
static void test_makers(void **state)
{
    static const uint32_t ids[][2] = {
        {FUSE_NO_ID, FUSE_NO_ID}, {FUSE_NO_ID, 0}, {0, FUSE_NO_ID}, {0, 0}, {1000, 1000}};

    for (uint32_t op = 0; op < FUSE_WIRE_OPS; op++) {
        for (unsigned i = 0; fuse_ops[op].name && i < G_N_ELEMENTS(ids); i++) {
            ask(op, ids[i][0], ids[i][1], FUSE_ALLOW_IDMAP);
            assert_int_equal(fuse_check_ids(rq), makes(op) && i < 3 ? -EINVAL : 0);
        }
    }
}

static void test_checked(void **state)
{
    for (uint32_t op = 0; op < FUSE_WIRE_OPS; op++) {
        ask(op, FUSE_NO_ID, FUSE_NO_ID, FUSE_ALLOW_IDMAP);
        assert_int_equal(fuse_guest_checked(rq), op == FUSE_ACCESS);
        ask(op, FUSE_NO_ID, FUSE_NO_ID, 0);
        assert_false(fuse_guest_checked(rq));
        ask(op, 0, 0, FUSE_ALLOW_IDMAP);
        assert_false(fuse_guest_checked(rq));
    }
}

static void test_rights(void **state)
{
    static const uint32_t ids[] = {0, 1, 1000, FUSE_NO_ID};

    for (uint32_t op = 0; op < FUSE_WIRE_OPS; op++) {
        bool asks = op == FUSE_FALLOCATE || op == FUSE_COPY_FILE_RANGE ||
                    op == FUSE_COPY_FILE_RANGE_64 || op == FUSE_SETUPMAPPING;
        for (unsigned i = 0; i < G_N_ELEMENTS(ids); i++) {
            ask(op, ids[i], ids[i], FUSE_ALLOW_IDMAP);
            assert_int_equal(fuse_kill_of(rq), asks && i > 0 ? FS_WRITE_KILL_SUIDGID : 0);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_makers),
        cmocka_unit_test(test_checked),
        cmocka_unit_test(test_rights),
    };
    rq = g_new0(struct fuse_rq, 1);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    g_free(rq);
    return failed;
}
