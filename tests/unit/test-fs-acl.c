/* SPDX-License-Identifier: BSD-3-Clause
 * The ids in POSIX ACLs, translated in both directions. */
#include "virtiofsd/fs/fs-acl.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <linux/posix_acl_xattr.h>

static struct fs_idmap *make(const char *rule)
{
    struct fs_idmap *map = fs_idmap_new();
    assert_true(fs_idmap_add(map, rule, NULL));
    return map;
}

enum { USER_OBJ = 0x01, USER = 0x02, GROUP_OBJ = 0x04, GROUP = 0x08, MASK = 0x10, OTHER = 0x20 };

struct acl {
    struct posix_acl_xattr_header head;
    struct posix_acl_xattr_entry e[6];
};

static struct acl acl_of(uint32_t uid, uint32_t gid)
{
    const uint32_t none = UINT32_MAX;
    struct acl a = {
        .head = {GUINT32_TO_LE(POSIX_ACL_XATTR_VERSION)},
        .e = {{USER_OBJ, 7, none},
              {USER, 6, uid},
              {GROUP_OBJ, 5, none},
              {GROUP, 4, gid},
              {MASK, 7, none},
              {OTHER, 0, none}},
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(a.e); i++) {
        a.e[i].e_tag = GUINT16_TO_LE(a.e[i].e_tag);
        a.e[i].e_perm = GUINT16_TO_LE(a.e[i].e_perm);
        a.e[i].e_id = GUINT32_TO_LE(a.e[i].e_id);
    }
    return a;
}

static void test_acl(void **state)
{
    struct fs_idmap *uids = make("map:1000:5000:10"), *gids = make("map:1000:7000:10");
    struct acl a = acl_of(1001, 1002), host = acl_of(5001, 7002), guest = a;
    struct acl half = acl_of(5001, 1002);

    assert_int_equal(fs_acl_to_host(uids, gids, &a, sizeof(a)), 0);
    assert_memory_equal(&a, &host, sizeof(a));
    fs_acl_to_guest(uids, gids, &a, sizeof(a));
    assert_memory_equal(&a, &guest, sizeof(a));
    assert_int_equal(fs_acl_to_host(uids, NULL, &a, sizeof(a)), 0);
    assert_memory_equal(&a, &half, sizeof(a));
    fs_idmap_free(uids);
    fs_idmap_free(gids);
}

static void test_acl_forbidden(void **state)
{
    struct fs_idmap *ids = make("forbid-guest:1000:1");
    struct acl user = acl_of(1000, 1), group = acl_of(1, 1000), none = acl_of(1, 1);

    assert_int_equal(fs_acl_to_host(ids, ids, &user, sizeof(user)), -EPERM);
    assert_int_equal(fs_acl_to_host(ids, ids, &group, sizeof(group)), -EPERM);
    assert_int_equal(fs_acl_to_host(ids, ids, &none, sizeof(none)), 0);
    assert_int_equal(fs_acl_to_host(NULL, NULL, &user, sizeof(user)), 0);
    fs_idmap_free(ids);
}

/* Values that are none: no byte beyond them is read or changed, and they stay what they are. */
static void test_acl_broken(void **state)
{
    struct fs_idmap *ids = make("squash-guest:0:7:4294967295");
    struct acl whole = acl_of(1000, 1000), other = whole;

    for (size_t len = 0; len <= sizeof(whole); len++) {
        g_autofree uint8_t *exact = g_memdup2(&whole, len);
        assert_int_equal(fs_acl_to_host(ids, ids, exact, len), 0);
        if (len < sizeof(whole.head) + 2 * sizeof(whole.e[0]) && len > 0)
            assert_memory_equal(exact, &whole, len);
    }
    other.head.a_version = GUINT32_TO_LE(1);
    struct acl before = other;
    assert_int_equal(fs_acl_to_host(ids, ids, &other, sizeof(other)), 0);
    assert_memory_equal(&other, &before, sizeof(other));
    fs_idmap_free(ids);
}

static int permission(const struct acl *a, uint32_t uid, uint32_t gid, uint32_t group, int mask)
{
    struct fs_cred cred = {.uid = uid, .gid = 4242, .groups = {gid}, .ngroups = 1};
    return fs_acl_permission(&cred, group, a, sizeof(*a), mask);
}

/* acl(5): the first class that fits decides; the mask limits all but the others. */
static void test_acl_permission(void **state)
{
    struct acl a = acl_of(1000, 2000); /* rw, group r-x, named group r, mask rwx, others none */

    assert_int_equal(permission(&a, 1000, 1, 1, R_OK | W_OK), 0);
    assert_int_equal(permission(&a, 1000, 2000, 2000, X_OK), -EACCES);
    assert_int_equal(permission(&a, 1, 3000, 3000, R_OK | X_OK), 0);
    assert_int_equal(permission(&a, 1, 3000, 3000, W_OK), -EACCES);
    assert_int_equal(permission(&a, 1, 2000, 3000, R_OK), 0);
    assert_int_equal(permission(&a, 1, 2000, 3000, X_OK), -EACCES);
    assert_int_equal(permission(&a, 1, 2000, 2000, R_OK | X_OK),
                     0); /* one of two entries is enough */
    assert_int_equal(permission(&a, 1, 1, 3000, R_OK), -EACCES);
    a.e[4].e_perm = GUINT16_TO_LE(4); /* mask r */
    assert_int_equal(permission(&a, 1000, 1, 1, R_OK), 0);
    assert_int_equal(permission(&a, 1000, 1, 1, W_OK), -EACCES);
    assert_int_equal(permission(&a, 1, 3000, 3000, X_OK), -EACCES);
    a.e[5].e_perm = GUINT16_TO_LE(6);
    assert_int_equal(permission(&a, 1, 1, 3000, W_OK), 0); /* the others have no mask */
    assert_int_equal(permission(&a, 1, 2000, 3000, W_OK), -EACCES);
    for (size_t len = 0; len < sizeof(a); len++) {
        g_autofree uint8_t *exact = g_memdup2(&a, len);
        struct fs_cred nobody = {.uid = 1, .gid = 1};
        assert_int_equal(fs_acl_permission(&nobody, 3000, exact, len, R_OK), -EIO);
    }
}

static void test_acl_names(void **state)
{
    assert_true(fs_acl_is_name("system.posix_acl_access"));
    assert_true(fs_acl_is_name("system.posix_acl_default"));
    assert_false(fs_acl_is_name("system.posix_acl_"));
    assert_false(fs_acl_is_name("system.posix_acl_access2"));
    assert_false(fs_acl_is_name(""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_acl),        cmocka_unit_test(test_acl_forbidden),
        cmocka_unit_test(test_acl_broken), cmocka_unit_test(test_acl_permission),
        cmocka_unit_test(test_acl_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
