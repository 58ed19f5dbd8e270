/* SPDX-License-Identifier: BSD-3-Clause */
#include "virtiofsd/fs/fs-idmap.h"

#include <errno.h>
#include <string.h>

/* Both ends of a range stay below it: 2^32 - 1 means "no id" or "no change" to the kernel. */
#define NO_ID UINT32_MAX

enum how { HOW_SHIFT, HOW_SQUASH, HOW_FORBID };

struct range {
    uint32_t first, last; /* inclusive */
    uint32_t to;          /* what first becomes; all, when squashed */
    enum how how;
};

struct fs_idmap {
    GArray *to_host, *to_guest; /* struct range, in order, none overlapping */
};

enum { DIR_GUEST = 1 << 0, DIR_HOST = 1 << 1 }; /* whose ids a rule is about */

static const struct kind {
    const char *name;
    enum how how;
    unsigned dirs;
    unsigned numbers;
} kinds[] = {
    {"guest", HOW_SHIFT, DIR_GUEST, 3},         {"host", HOW_SHIFT, DIR_HOST, 3},
    {"squash-guest", HOW_SQUASH, DIR_GUEST, 3}, {"squash-host", HOW_SQUASH, DIR_HOST, 3},
    {"forbid-guest", HOW_FORBID, DIR_GUEST, 2}, {"map", HOW_SHIFT, DIR_GUEST | DIR_HOST, 3},
};

struct fs_idmap *fs_idmap_new(void)
{
    struct fs_idmap *map = g_new(struct fs_idmap, 1);
    map->to_host = g_array_new(FALSE, FALSE, sizeof(struct range));
    map->to_guest = g_array_new(FALSE, FALSE, sizeof(struct range));
    return map;
}

void fs_idmap_free(struct fs_idmap *map)
{
    if (!map)
        return;
    g_array_unref(map->to_host);
    g_array_unref(map->to_guest);
    g_free(map);
}

/* ---- rules ---- */

G_GNUC_PRINTF(3, 4)
static bool wrong(const char *rule, GError **err, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    g_autofree char *what = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    g_set_error(err, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE, "\"%s\": %s", rule, what);
    return false;
}

static const struct kind *find_kind(const char *name)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(kinds); i++) {
        if (g_ascii_strcasecmp(kinds[i].name, name) == 0)
            return &kinds[i];
    }
    return NULL;
}

/* @n[0]: first id, [1]: what it becomes (not of forbid), last: how many. */
static bool check_numbers(const char *rule, const struct kind *k, const guint64 *n, GError **err)
{
    guint64 count = n[k->numbers - 1];

    if (n[0] + count > NO_ID)
        return wrong(rule, err, "the ids end beyond 4294967294, the last there is");
    if (k->how == HOW_FORBID)
        return true;
    if (n[1] + (k->how == HOW_SHIFT ? count : 1) > NO_ID)
        return wrong(rule, err, "what they become ends beyond 4294967294, the last id there is");
    return true;
}

/* Where @r belongs in the order. */
static unsigned place_of(const GArray *in, const struct range *r)
{
    unsigned at = 0;

    while (at < in->len && g_array_index(in, struct range, at).last < r->first)
        at++;
    return at;
}

static bool is_free(const GArray *in, const struct range *r)
{
    unsigned at = place_of(in, r);

    return at == in->len || g_array_index(in, struct range, at).first > r->last;
}

static bool parse_numbers(const char *rule, const struct kind *k, const char *text, char sep,
                          guint64 n[3], GError **err)
{
    const char delim[2] = {sep, '\0'};
    g_auto(GStrv) part = g_strsplit(text, delim, -1);

    if (g_strv_length(part) != k->numbers)
        return wrong(rule, err, "%s takes %u numbers", k->name, k->numbers);
    for (unsigned i = 0; i < k->numbers; i++) {
        if (!g_ascii_string_to_unsigned(part[i], 10, 0, UINT32_MAX, &n[i], NULL))
            return wrong(rule, err, "\"%s\" is not a number from 0 to 4294967295", part[i]);
    }
    return true;
}

bool fs_idmap_add(struct fs_idmap *map, const char *rule, GError **err)
{
    size_t len = strspn(rule, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_");
    g_autofree char *name = g_strndup(rule, len);
    const struct kind *k = find_kind(name);
    guint64 n[3] = {0};

    if (!k)
        return wrong(rule, err,
                     "no kind of rule: begin with guest, host, squash-guest, squash-host, "
                     "forbid-guest or map, as in map:1000:100000:1");
    if (rule[len] == '\0')
        return wrong(rule, err, "%s takes %u numbers", k->name, k->numbers);
    if (!parse_numbers(rule, k, rule + len + 1, rule[len], n, err) ||
        !check_numbers(rule, k, n, err))
        return false;
    if (n[k->numbers - 1] == 0)
        return true; /* about no id: whoever derives rules from gaps writes such */

    uint32_t first = (uint32_t)n[0], to = (uint32_t)n[1], less = (uint32_t)n[k->numbers - 1] - 1;
    struct range r = {first, first + less, to, k->how}, back = {to, to + less, first, k->how};
    GArray *into = k->dirs & DIR_GUEST ? map->to_host : map->to_guest;
    bool both = k->dirs == (DIR_GUEST | DIR_HOST);
    /* All of the rule or nothing of it. */
    if (both && !is_free(map->to_guest, &back))
        return wrong(rule, err, "host ids that another rule is about already");
    if (!is_free(into, &r))
        return wrong(rule, err, "%s ids that another rule is about already",
                     k->dirs & DIR_GUEST ? "guest" : "host");
    if (both)
        g_array_insert_val(map->to_guest, place_of(map->to_guest, &back), back);
    g_array_insert_val(into, place_of(into, &r), r);
    return true;
}

/* ---- translation ---- */

static const struct range *find(const GArray *in, uint32_t id)
{
    unsigned low = 0, high = in->len;

    while (low < high) {
        unsigned mid = (low + high) / 2;
        const struct range *r = &g_array_index(in, struct range, mid);
        if (id < r->first)
            high = mid;
        else if (id > r->last)
            low = mid + 1;
        else
            return r;
    }
    return NULL;
}

static uint32_t apply(const struct range *r, uint32_t id)
{
    if (!r)
        return id;
    return r->how == HOW_SQUASH ? r->to : r->to + (id - r->first);
}

int fs_idmap_to_host(const struct fs_idmap *map, uint32_t id, uint32_t *host)
{
    const struct range *r = find(map->to_host, id);

    if (r && r->how == HOW_FORBID)
        return -EPERM;
    *host = apply(r, id);
    return 0;
}

uint32_t fs_idmap_to_guest(const struct fs_idmap *map, uint32_t id)
{
    return apply(find(map->to_guest, id), id);
}
