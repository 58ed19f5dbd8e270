/* SPDX-License-Identifier: BSD-3-Clause
 * Fuzz target: the rules of --translate-uid and --translate-gid, one a line, against a plain list
 * of them. Then ids, the edges of every rule among them, go through in both directions. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/target.h"
#include "virtiofsd/fs/fs-idmap.h"

enum { MAX_RULES = 64 };

/* What one kind of rule says. */
static const struct kind {
    const char *name;
    bool from_guest, from_host;
    bool host_first; /* the host's id comes first in the text */
    bool squash, forbid;
} kinds[] = {
    {"guest", .from_guest = true},
    {"host", .from_host = true, .host_first = true},
    {"squash-guest", .from_guest = true, .squash = true},
    {"squash-host", .from_host = true, .host_first = true, .squash = true},
    {"forbid-guest", .from_guest = true, .forbid = true},
    {"map", .from_guest = true, .from_host = true},
};

static struct rule {
    const struct kind *kind;
    uint32_t guest, host, count;
} rules[MAX_RULES];
static unsigned n_rules;

/* Read a rule that was taken: the kind, then numbers, each behind a separator. */
static void note(const char *text)
{
    struct rule r = {0};
    uint32_t n[3] = {0};
    unsigned cnt = 0;
    for (unsigned i = 0; i < G_N_ELEMENTS(kinds); i++) {
        size_t len = strlen(kinds[i].name);
        if (g_ascii_strncasecmp(text, kinds[i].name, len) == 0 && !g_ascii_isalnum(text[len]) &&
            text[len] != '-')
            r.kind = &kinds[i];
    }
    if (!r.kind)
        abort();
    text += strlen(r.kind->name);
    for (char *end; *text; text = end) {
        n[cnt++] = (uint32_t)strtoul(text + 1, &end, 10);
        if (cnt > (r.kind->forbid ? 2 : 3) || end == text + 1)
            abort();
    }
    r.count = n[cnt - 1];
    r.guest = n[r.kind->host_first ? 1 : 0];
    r.host = n[r.kind->host_first ? 0 : 1];
    if (n_rules == MAX_RULES)
        abort();
    rules[n_rules++] = r;
}

static void check(const struct fs_idmap *map, uint32_t id)
{
    uint32_t want_host = id, want_guest = id, host = ~id;
    bool forbidden = false;
    for (unsigned i = 0; i < n_rules; i++) {
        const struct rule *r = &rules[i];
        if (r->kind->from_guest && id - r->guest < r->count && id >= r->guest) {
            want_host = r->kind->squash ? r->host : r->host + (id - r->guest);
            forbidden = r->kind->forbid;
        }
        if (r->kind->from_host && id - r->host < r->count && id >= r->host)
            want_guest = r->kind->squash ? r->guest : r->guest + (id - r->host);
    }
    int rc = fs_idmap_to_host(map, id, &host);
    if (rc != (forbidden ? -EPERM : 0) || (rc == 0 && host != want_host) ||
        fs_idmap_to_guest(map, id) != want_guest)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *text = g_strndup((const char *)data, size);
    g_auto(GStrv) lines = g_strsplit(text, "\n", MAX_RULES);
    struct fs_idmap *map = fs_idmap_new();
    GError *err = NULL;

    n_rules = 0;
    for (char **l = lines; *l; l++) {
        bool taken = fs_idmap_add(map, *l, &err);
        if (taken == (err != NULL) || (err && err->message[0] == '\0'))
            abort();
        g_clear_error(&err);
        if (taken)
            note(*l);
    }
    check(map, 0);
    check(map, UINT32_MAX);
    for (unsigned i = 0; i < n_rules; i++) {
        const struct rule *r = &rules[i];
        for (uint32_t d = 0; d < 2; d++) {
            check(map, r->guest - d);
            check(map, r->host - d);
            check(map, r->guest + r->count - d);
            check(map, r->host + r->count - d);
        }
    }
    fs_idmap_free(map);
    return 0;
}
