/* SPDX-License-Identifier: BSD-3-Clause
 * The rule language of --xattrmap, row by row. */
#include "virtiofsd/fs/fs-xattrmap.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define HIDDEN "-"

/* @guest: a name of the guest's and what the host gets, or the error. @server: a name of the host's
 * and what the guest sees of it, or HIDDEN. */
static const struct row {
    const char *rules;
    const char *guest, *host;
    int rc;
    const char *server, *seen;
} rows[] = {
    {":ok:all:::", "user.a", "user.a", 0, "trusted.b", "trusted.b"},
    {":bad:all:::", "user.a", NULL, -EPERM, "user.a", HIDDEN},
    {":unsupported:all:::", "user.a", NULL, -EOPNOTSUPP, "user.a", HIDDEN},
    {":ok:client:::  :bad:server:::", "user.a", "user.a", 0, "user.a", HIDDEN},

    /* The shorthand for all names. */
    {":map::user.virtiofs.:", "trusted.o", "user.virtiofs.trusted.o", 0, "user.virtiofs.trusted.o",
     "trusted.o"},
    {":map::user.virtiofs.:", "user.virtiofs.x", "user.virtiofs.user.virtiofs.x", 0, "user.x",
     HIDDEN},
    {":map::user.virtiofs.:", "security.capability", "user.virtiofs.security.capability", 0,
     "user.virtiofs.", HIDDEN}, /* nothing would be left of it */

    /* The shorthand for some: not reachable directly, nor seen when the host has them itself. */
    {"/map/trusted./user.virtiofs./", "trusted.o", "user.virtiofs.trusted.o", 0,
     "user.virtiofs.trusted.o", "trusted.o"},
    {"/map/trusted./user.virtiofs./", "user.virtiofs.trusted.o", NULL, -EPERM, "trusted.o", HIDDEN},
    {"/map/trusted./user.virtiofs./", "user.o", "user.o", 0, "user.o", "user.o"},

    /* The same written out; white space between rules. */
    {"/prefix/all/trusted./user.virtiofs./\n /bad/server//trusted./\t/bad/client/user.virtiofs.//"
     "\r\n/ok/all///\n",
     "trusted.o", "user.virtiofs.trusted.o", 0, "trusted.o", HIDDEN},
    {":prefix:all::user.virtiofs.::bad:all:::", "a", "user.virtiofs.a", 0, "b", HIDDEN},
    {":prefix:all::user.virtiofs.::bad:all:::", "a", "user.virtiofs.a", 0, "user.virtiofs.b", "b"},

    /* Scopes of one direction leave the other to later rules. */
    {":prefix:client:trusted.:user.v.::ok:all:::", "trusted.a", "user.v.trusted.a", 0,
     "user.v.trusted.a", "user.v.trusted.a"},
    {":prefix:server::user.v.::ok:all:::", "trusted.a", "trusted.a", 0, "user.v.trusted.a",
     "trusted.a"},
    {":bad:server::security.::ok:all:::", "security.x", "security.x", 0, "security.x", HIDDEN},
    {":unsupported:client:security.:::ok:all:::", "security.x", NULL, -EOPNOTSUPP, "security.x",
     "security.x"},
    {":unsupported:server::security.::ok:all:::", "security.x", "security.x", 0, "security.x",
     HIDDEN},
    {":bad:all:security.:security.::ok:all:::", "security.x", NULL, -EPERM, "security.x", HIDDEN},

    /* The first that matches. */
    {":ok:all:user.:user.::map::user.v.:", "user.a", "user.a", 0, "user.v.b", "user.v.b"},
    {":ok:client:user.a:::bad:client:user.:::ok:all:::", "user.ab", "user.ab", 0, "x", "x"},
    {":ok:client:user.a:::bad:client:user.:::ok:all:::", "user.b", NULL, -EPERM, "x", "x"},

    /* Each rule its own separator; a letter will do. */
    {"!ok!client!user.!! #bad#all###", "user.a", "user.a", 0, "user.a", HIDDEN},
    {"_map__user.v._", "a", "user.v.a", 0, "user.v.a", "a"},
    {"xokxallxxx", "a", "a", 0, "a", "a"},
};

static void check_row(const struct row *r)
{
    GError *err = NULL;
    char buf[XATTR_NAME_MAX + 1];
    const char *host = NULL, *seen;
    struct fs_xattrmap *map = fs_xattrmap_parse(r->rules, &err);

    if (!map)
        fail_msg("%s: %s", r->rules, err->message);
    int rc = fs_xattrmap_to_host(map, r->guest, buf, &host);
    if (rc != r->rc)
        fail_msg("%s: %s gives %d", r->rules, r->guest, rc);
    if (rc == 0)
        assert_string_equal(host, r->host);
    seen = fs_xattrmap_to_guest(map, r->server);
    assert_string_equal(seen ? seen : HIDDEN, r->seen);
    fs_xattrmap_free(map);
}

static void test_rows(void **state)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++)
        check_row(&rows[i]);
}

#define TYPES   "no type (prefix, ok, bad, unsupported, map)"
#define SCOPES  "no scope (client, server, all)"
#define END(s)  "its end is missing: each field, the last too, ends with \"" s "\""
#define LEFT    "end with a rule for all that is left, :ok:all::: or :bad:all:::"
#define ONE_MAP "a \"map\" rule must be the only one of its kind and the last"

static const struct {
    const char *rules, *message;
} bad[] = {
    {"", "there is no rule: " LEFT},
    {" \n\t", "there is no rule: " LEFT},
    {":foo:all:::", "rule 1 (\":foo:all:::\"): \"foo\" is " TYPES},
    {": ok:all:::", "rule 1 (\": ok:all:::\"): \" ok\" is " TYPES},
    {":OK:all:::", "rule 1 (\":OK:all:::\"): \"OK\" is " TYPES},
    {"::all:::", "rule 1 (\"::all:::\"): \"\" is " TYPES},
    {":ok:both:::", "rule 1 (\":ok:both:::\"): \"both\" is " SCOPES},
    {":ok:all::", "rule 1 (\":ok:all::\"): " END(":")},
    {":", "rule 1 (\":\"): " END(":")},
    {"garbage", "rule 1 (\"garbage\"): \"arba\" is " TYPES},
    {":ok:all:::x", "rule 2 (\"x\"): " END("x")},
    {"/ok/client///\n:bad:srv:::", "rule 2 (\":bad:srv:::\"): \"srv\" is " SCOPES},
    /* Mixed separators. */
    {":ok:all/::", "rule 1 (\":ok:all/::\"): \"all/\" is " SCOPES},
    /* One field too few shifts all that follows. */
    {":bad:client:security.::ok:all:::", "rule 2 (\"ok:all:::\"): " END("o")},
    {":map::a.::ok:all:::", "rule 2 (\":ok:all:::\"): " ONE_MAP},
    {":map::a.::map::b.:", "rule 2 (\":map::b.:\"): " ONE_MAP},
    {"\xc2\xa7ok", "rule 1 (\"\xc2\xa7ok\"): begins with a separator that is not a printable "
                   "ASCII character"},
    /* Names that no rule matches. */
    {":ok:client:::", "not every name of the host matches: " LEFT},
    {":ok:server:::", "not every name of the guest matches: " LEFT},
    {":prefix:all::user.virtiofs.:", "not every name of the host matches: " LEFT},
    {":bad:all:security.:security.:", "not every name of the guest matches: " LEFT},
};

static void test_bad(void **state)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) err = NULL;
        struct fs_xattrmap *map = fs_xattrmap_parse(bad[i].rules, &err);
        if (map)
            fail_msg("%s: was taken", bad[i].rules);
        assert_true(g_error_matches(err, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE));
        if (!g_str_has_prefix(err->message, bad[i].message))
            fail_msg("%s:\n  says     %s\n  expected %s", bad[i].rules, err->message,
                     bad[i].message);
        assert_null(fs_xattrmap_parse(bad[i].rules, NULL)); /* where no error is wanted */
    }
}

/* The longest name that fits, and one byte more. */
static void test_length(void **state)
{
    char name[XATTR_NAME_MAX + 1], buf[XATTR_NAME_MAX + 1];
    const char *host = NULL;
    struct fs_xattrmap *map = fs_xattrmap_parse(":map::user.v.:", NULL);
    size_t most = XATTR_NAME_MAX - strlen("user.v.");

    memset(name, 'a', sizeof(name));
    name[most] = '\0';
    assert_int_equal(fs_xattrmap_to_host(map, name, buf, &host), 0);
    assert_int_equal(strlen(host), XATTR_NAME_MAX);
    name[most] = 'a';
    name[most + 1] = '\0';
    assert_int_equal(fs_xattrmap_to_host(map, name, buf, &host), -ERANGE);
    fs_xattrmap_free(map);

    g_autofree char *wide = g_strdup_printf(":map::%0300d:", 0);
    g_autoptr(GError) err = NULL;
    assert_null(fs_xattrmap_parse(wide, &err));
    assert_non_null(strstr(err->message, "longer than an attribute's name can be"));
}

/* An unchanged name is the caller's own, not a copy. */
static void test_same(void **state)
{
    static const char name[] = "user.a";
    char buf[XATTR_NAME_MAX + 1];
    const char *host = NULL;
    struct fs_xattrmap *map = fs_xattrmap_parse(":ok:all:::", NULL);

    assert_int_equal(fs_xattrmap_to_host(map, name, buf, &host), 0);
    assert_ptr_equal(host, name);
    assert_ptr_equal(fs_xattrmap_to_guest(map, name), name);
    fs_xattrmap_free(map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_length),
        cmocka_unit_test(test_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
