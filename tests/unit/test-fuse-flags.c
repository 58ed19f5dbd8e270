/* SPDX-License-Identifier: BSD-3-Clause
 * Flags as words. (That all that is granted has a name: tests/wire/test-wire-init.c.) */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <glib.h>

#include "virtiofsd/fuse/fuse-flags.h"
#include "virtiofsd/fuse/fuse-wire.h"

static void test_names(void **state)
{
    static const struct {
        uint64_t flags;
        const char *text;
    } rows[] = {
        {0, ""},
        {FUSE_ASYNC_READ, "async_read"},
        {FUSE_ASYNC_READ | FUSE_ALLOW_IDMAP, "async_read allow_idmap"},
        {FUSE_HANDLE_KILLPRIV_V2 | FUSE_SECURITY_CTX | FUSE_CREATE_SUPP_GROUP,
         "handle_killpriv_v2 security_ctx create_supp_group"},
        {FUSE_SUBMOUNTS | 1ull << 63 | 1ull << 62, "submounts 0xc000000000000000"},
        {1ull << 63, "0x8000000000000000"},
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_autofree char *text = fuse_flags_text(rows[i].flags);
        assert_string_equal(text, rows[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_names)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
