/* SPDX-License-Identifier: BSD-3-Clause
 * Translation of ids, row by row. */
#include "virtiofsd/fs/fs-idmap.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define FORBIDDEN (-1)
#define SAME      (-2)

static struct fs_idmap *make(const char *rules)
{
    struct fs_idmap *map = fs_idmap_new();
    g_auto(GStrv) rule = g_strsplit(rules, " ", -1);

    for (char **r = rule; *r; r++) {
        g_autoptr(GError) err = NULL;
        if (**r && !fs_idmap_add(map, *r, &err))
            fail_msg("%s", err->message);
    }
    return map;
}

static const struct {
    const char *rules;
    uint32_t id;
    int64_t host, guest; /* what a guest's id becomes on the host, and the other way round */
} rows[] = {
    {"", 0, SAME, SAME},
    {"", 4294967294, SAME, SAME},

    {"guest:1000:5000:10", 999, SAME, SAME},
    {"guest:1000:5000:10", 1000, 5000, SAME},
    {"guest:1000:5000:10", 1009, 5009, SAME},
    {"guest:1000:5000:10", 1010, SAME, SAME},
    {"guest:1000:5000:10", 5000, SAME, SAME}, /* one direction only */

    {"host:5000:1000:10", 5003, SAME, 1003},
    {"host:5000:1000:10", 1003, SAME, SAME},

    {"map:1000:5000:10", 1003, 5003, SAME},
    {"map:1000:5000:10", 5003, SAME, 1003},
    {"map:0:100000:65536", 0, 100000, SAME},
    {"map:0:100000:65536", 165535, SAME, 65535},
    {"map:0:100000:65536", 165536, SAME, SAME},
    {"map:0:0:4294967295", 4294967294, 4294967294, 4294967294},

    {"squash-guest:0:1000:4294967295", 0, 1000, SAME},
    {"squash-guest:0:1000:4294967295", 4294967294, 1000, SAME},
    {"squash-host:0:7:10", 9, SAME, 7},
    {"squash-host:0:7:10", 10, SAME, SAME},
    {"squash-guest:0:1000:65536 squash-host:1000:0:1", 1000, 1000, 0},

    {"forbid-guest:0:1", 0, FORBIDDEN, SAME},
    {"forbid-guest:0:1", 1, SAME, SAME},
    {"forbid-guest:65536:4294901759", 4294967294, FORBIDDEN, SAME},

    /* About no id: as Incus writes where ranges touch, or begin at 0. */
    {"forbid-guest:0:0", 0, SAME, SAME},
    {"map:0:1000:10 forbid-guest:0:0 forbid-guest:10:0 map:5:5:0 squash-guest:3:0:0", 3, 1003,
     SAME},
    {"forbid-guest:4294967295:0", 4294967294, SAME, SAME},

    /* Many, not in order, next to each other. */
    {"map:30:130:10 forbid-guest:50:10 map:10:110:10 squash-guest:40:0:10 map:20:120:10", 19, 119,
     SAME},
    {"map:30:130:10 forbid-guest:50:10 map:10:110:10 squash-guest:40:0:10 map:20:120:10", 20, 120,
     SAME},
    {"map:30:130:10 forbid-guest:50:10 map:10:110:10 squash-guest:40:0:10 map:20:120:10", 45, 0,
     SAME},
    {"map:30:130:10 forbid-guest:50:10 map:10:110:10 squash-guest:40:0:10 map:20:120:10", 59,
     FORBIDDEN, SAME},
    {"map:30:130:10 forbid-guest:50:10 map:10:110:10 squash-guest:40:0:10 map:20:120:10", 60, SAME,
     SAME},
    {"map:30:130:10 forbid-guest:50:10 map:10:110:10 squash-guest:40:0:10 map:20:120:10", 139, SAME,
     39},
    /* Guest and host ids do not collide. */
    {"guest:0:1000:10 host:0:2000:10", 5, 1005, 2005},

    /* Ways of writing. */
    {"MAP/1/2/1", 1, 2, SAME},
    {"Squash-Guest,1,2,1", 1, 2, SAME},
};

static void test_rows(void **state)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        struct fs_idmap *map = make(rows[i].rules);
        uint32_t id = rows[i].id, host = 0;
        int64_t want = rows[i].host == SAME ? id : rows[i].host;
        int rc = fs_idmap_to_host(map, id, &host);
        int64_t got = rc == -EPERM ? FORBIDDEN : rc < 0 ? rc : (int64_t)host;
        if (got != want)
            fail_msg("%s: guest's %u is %jd on the host", rows[i].rules, id, (intmax_t)got);
        want = rows[i].guest == SAME ? id : rows[i].guest;
        if (fs_idmap_to_guest(map, id) != want)
            fail_msg("%s: host's %u is %u", rows[i].rules, id, fs_idmap_to_guest(map, id));
        fs_idmap_free(map);
    }
}

#define KIND                                                                                       \
    "no kind of rule: begin with guest, host, squash-guest, squash-host, forbid-guest or map, as " \
    "in map:1000:100000:1"
#define ENDS   "the ids end beyond 4294967294, the last there is"
#define BECOME "what they become ends beyond 4294967294, the last id there is"

static const struct {
    const char *before, *rule, *message;
} bad[] = {
    {"", "", "\"\": " KIND},
    {"", "1:2:3", "\"1:2:3\": " KIND},
    {"", ":map:1:2:3:", "\":map:1:2:3:\": " KIND},
    {"", "forbid-host:1:2", "\"forbid-host:1:2\": " KIND},
    {"", "map", "\"map\": map takes 3 numbers"},
    {"", "map:1:2", "\"map:1:2\": map takes 3 numbers"},
    {"", "map:1:2:3:4", "\"map:1:2:3:4\": map takes 3 numbers"},
    {"", "map:1:2:3:", "\"map:1:2:3:\": map takes 3 numbers"},
    {"", "forbid-guest:1:2:3", "\"forbid-guest:1:2:3\": forbid-guest takes 2 numbers"},
    {"", "map:1:2/3", "\"map:1:2/3\": map takes 3 numbers"},
    {"", "map:1:x:3", "\"map:1:x:3\": \"x\" is not a number from 0 to 4294967295"},
    {"", "map:1::3", "\"map:1::3\": \"\" is not a number from 0 to 4294967295"},
    {"", "map:-1:2:3", "\"map:-1:2:3\": \"-1\" is not a number from 0 to 4294967295"},
    {"", "map:1:2:4294967296",
     "\"map:1:2:4294967296\": \"4294967296\" is not a number from 0 to 4294967295"},
    {"", "guest:1:0:4294967295", "\"guest:1:0:4294967295\": " ENDS},
    {"", "guest:4294967295:0:1", "\"guest:4294967295:0:1\": " ENDS},
    {"", "forbid-guest:1:4294967295", "\"forbid-guest:1:4294967295\": " ENDS},
    {"", "guest:0:1:4294967295", "\"guest:0:1:4294967295\": " BECOME},
    {"", "squash-host:0:4294967295:1", "\"squash-host:0:4294967295:1\": " BECOME},

    {"guest:10:0:10", "guest:19:100:1",
     "\"guest:19:100:1\": guest ids that another rule is about already"},
    {"guest:10:0:10", "forbid-guest:0:11",
     "\"forbid-guest:0:11\": guest ids that another rule is about already"},
    {"guest:10:0:10", "squash-guest:0:7:4294967295",
     "\"squash-guest:0:7:4294967295\": guest ids that another rule is about already"},
    {"map:10:50:10", "host:59:0:1", "\"host:59:0:1\": host ids that another rule is about already"},
    {"host:50:0:1", "map:10:50:1", "\"map:10:50:1\": host ids that another rule is about already"},
    {"guest:10:0:1", "map:10:50:1",
     "\"map:10:50:1\": guest ids that another rule is about already"},
};

static void test_bad(void **state)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) err = NULL;
        struct fs_idmap *map = make(bad[i].before);
        if (fs_idmap_add(map, bad[i].rule, &err))
            fail_msg("%s: was taken", bad[i].rule);
        assert_true(g_error_matches(err, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE));
        assert_string_equal(err->message, bad[i].message);
        fs_idmap_free(map);
    }
}

/* Ranges that only touch are no conflict. */
static void test_neighbours(void **state)
{
    struct fs_idmap *map = make("guest:10:0:10 guest:20:0:10 guest:0:0:10 host:10:0:10");
    fs_idmap_free(map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_neighbours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
