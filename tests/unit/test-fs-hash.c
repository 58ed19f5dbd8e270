/* SPDX-License-Identifier: BSD-3-Clause
 * The table of inodes by key: it grows without anybody paying for all. */
#include "tests/unit/fs-tree.h"
#include "virtiofsd/fs/fs-priv.h"

#include <stdlib.h>

#define INODES   300000u /* 262144 of them fill a power of two */
#define LOOKED   64u     /* inodes that one more may make the table look at */
#define STRANGER 1000003u

static struct tree_mnt mounts[2] = {{.salt = 0x9e3779b9u}, {.salt = 0x3c6ef372u}};

/* Numbers as file systems give them: in a row, and some far away. */
static uint64_t number(uint32_t n)
{
    return n % 7 ? n : (uint64_t)n << 33;
}

static struct fs_inode *add(struct fs *fs, uint32_t n)
{
    uint32_t slot = fs_table_take(&fs->shared->inodes);
    assert_true(slot != 0);
    struct fs_inode *i = fs_table_at(&fs->shared->inodes, slot);
    i->node.slot = slot;
    i->node.mnt = &mounts[n % 2];
    i->node.ino = number(n);
    fs->shared->n_inodes++;
    assert_true(fs_hash_add(fs, i) < LOOKED);
    return i;
}

static void test_grows_by_one(void **state)
{
    struct fs fs = {.shared = calloc(1, sizeof(struct fs_shared))};
    struct fs_inode **all = calloc(INODES, sizeof(*all));

    assert_ok(fs_hash_init(&fs));
    assert_ok(fs_table_init(&fs.shared->inodes, sizeof(struct fs_inode),
                            offsetof(struct fs_inode, next), INODES + 2));
    for (uint32_t n = 0; n < INODES; n++)
        all[n] = add(&fs, n);
    for (uint32_t n = 0; n < INODES; n++) {
        assert_ptr_equal(fs_hash_find(&fs, all[n]->node.mnt, number(n)), all[n]);
        assert_null(fs_hash_find(&fs, &mounts[(n + 1) % 2], number(n)));
    }
    assert_null(fs_hash_find(&fs, &mounts[0], STRANGER));
    for (uint32_t n = 0; n < INODES; n += 2) {
        fs_hash_remove(&fs, all[n]);
        fs.shared->n_inodes--;
    }
    for (uint32_t n = 0; n < INODES; n++)
        assert_ptr_equal(fs_hash_find(&fs, all[n]->node.mnt, number(n)), n % 2 ? all[n] : NULL);
    for (uint32_t n = 1; n < INODES; n += 2)
        fs_hash_remove(&fs, all[n]);
    for (uint32_t n = 0; n < INODES; n++)
        assert_null(fs_hash_find(&fs, all[n]->node.mnt, number(n)));
    fs_table_fini(&fs.shared->inodes);
    fs_hash_fini(&fs);
    free(fs.shared);
    free(all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_grows_by_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
