/* SPDX-License-Identifier: BSD-3-Clause */
#include "virtiofsd/fs/fs-xattrmap.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

enum type { TYPE_PREFIX, TYPE_OK, TYPE_BAD, TYPE_UNSUPPORTED, TYPE_MAP };
enum { SCOPE_CLIENT = 1 << 0, SCOPE_SERVER = 1 << 1, SCOPE_ALL = SCOPE_CLIENT | SCOPE_SERVER };

struct word {
    const char *text;
    unsigned value;
};

static const struct word types[] = {
    {"prefix", TYPE_PREFIX},           {"ok", TYPE_OK},   {"bad", TYPE_BAD},
    {"unsupported", TYPE_UNSUPPORTED}, {"map", TYPE_MAP}, {NULL, 0},
};
static const struct word scopes[] = {
    {"client", SCOPE_CLIENT},
    {"server", SCOPE_SERVER},
    {"all", SCOPE_ALL},
    {NULL, 0},
};

struct rule {
    enum type type;
    unsigned scope;
    char *key, *prepend;
};

struct fs_xattrmap {
    GArray *rules; /* struct rule */
};

/* ---- parsing ---- */

struct parser {
    struct fs_xattrmap *map;
    const char *p;     /* not read yet */
    const char *start; /* of the rule being read */
    unsigned number;   /* of that rule, from 1 */
    bool ended;        /* a map rule was read */
    GError **err;
};

/* Say what is wrong with the rule being read. */
G_GNUC_PRINTF(2, 3) static bool wrong(struct parser *ps, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    g_autofree char *what = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    int len = (int)MIN(strcspn(ps->start, "\r\n"), 60u);
    g_set_error(ps->err, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE, "rule %u (\"%.*s\"): %s",
                ps->number, len, ps->start, what);
    return false;
}

/* Up to the next separator, and over it. NULL when there is none. */
static char *take_field(struct parser *ps, char sep)
{
    const char *end = strchr(ps->p, sep);
    if (!end) {
        wrong(ps, "its end is missing: each field, the last too, ends with \"%c\"", sep);
        return NULL;
    }
    char *field = g_strndup(ps->p, (size_t)(end - ps->p));
    ps->p = end + 1;
    return field;
}

static bool take_word(struct parser *ps, char sep, const struct word *words, const char *what,
                      unsigned *out)
{
    g_autofree char *field = take_field(ps, sep);
    if (!field)
        return false;
    for (const struct word *w = words; w->text; w++) {
        if (strcmp(w->text, field) == 0) {
            *out = w->value;
            return true;
        }
    }
    return wrong(ps, "\"%s\" is no %s", field, what);
}

static bool take_prefix(struct parser *ps, char sep, char **out)
{
    *out = take_field(ps, sep);
    if (*out && strlen(*out) > XATTR_NAME_MAX)
        return wrong(ps, "a field is longer than an attribute's name can be, %d", XATTR_NAME_MAX);
    return *out != NULL;
}

static void add(struct parser *ps, enum type type, unsigned scope, const char *key,
                const char *prepend)
{
    struct rule r = {type, scope, g_strdup(key), g_strdup(prepend)};
    g_array_append_val(ps->map->rules, r);
}

/* The shorthand: everything that begins with @key moves below @prepend; what the host has under
 * the old names, and what the guest would reach below the new ones directly, is out of reach. */
static void add_map(struct parser *ps, const char *key, const char *prepend)
{
    add(ps, TYPE_PREFIX, SCOPE_ALL, key, prepend);
    if (*key == '\0') {
        add(ps, TYPE_BAD, SCOPE_ALL, "", "");
        return;
    }
    add(ps, TYPE_BAD, SCOPE_SERVER, "", key);
    add(ps, TYPE_BAD, SCOPE_CLIENT, prepend, "");
    add(ps, TYPE_OK, SCOPE_ALL, "", "");
}

static bool take_rule(struct parser *ps)
{
    g_autofree char *key = NULL, *prepend = NULL;
    unsigned type = TYPE_OK, scope = SCOPE_ALL;
    char sep = *ps->p;

    ps->start = ps->p++;
    ps->number++;
    if (ps->ended)
        return wrong(ps, "a \"map\" rule must be the only one of its kind and the last");
    if (!g_ascii_isprint(sep))
        return wrong(ps, "begins with a separator that is not a printable ASCII character");
    if (!take_word(ps, sep, types, "type (prefix, ok, bad, unsupported, map)", &type))
        return false;
    if (type != TYPE_MAP && !take_word(ps, sep, scopes, "scope (client, server, all)", &scope))
        return false;
    if (!take_prefix(ps, sep, &key) || !take_prefix(ps, sep, &prepend))
        return false;
    if (type == TYPE_MAP) {
        ps->ended = true;
        add_map(ps, key, prepend);
    } else {
        add(ps, (enum type)type, scope, key, prepend);
    }
    return true;
}

/* Whether some rule takes every name of that scope. */
static bool catches_all(const struct fs_xattrmap *map, unsigned scope)
{
    for (unsigned i = 0; i < map->rules->len; i++) {
        const struct rule *r = &g_array_index(map->rules, struct rule, i);
        if ((r->scope & scope) && *(scope == SCOPE_CLIENT ? r->key : r->prepend) == '\0')
            return true;
    }
    return false;
}

static bool check_complete(const struct parser *ps)
{
    const char *lack = ps->number == 0                       ? "there is no rule"
                       : !catches_all(ps->map, SCOPE_CLIENT) ? "not every name of the guest matches"
                       : !catches_all(ps->map, SCOPE_SERVER) ? "not every name of the host matches"
                                                             : NULL;
    if (!lack)
        return true;
    g_set_error(ps->err, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                "%s: end with a rule for all that is left, :ok:all::: or :bad:all:::", lack);
    return false;
}

static const char *skip_space(const char *p)
{
    while (g_ascii_isspace(*p))
        p++;
    return p;
}

static void rule_clear(gpointer p)
{
    struct rule *r = p;
    g_free(r->key);
    g_free(r->prepend);
}

struct fs_xattrmap *fs_xattrmap_parse(const char *text, GError **err)
{
    struct fs_xattrmap *map = g_new(struct fs_xattrmap, 1);
    struct parser ps = {.map = map, .p = text, .err = err};
    bool good = true;

    map->rules = g_array_new(FALSE, FALSE, sizeof(struct rule));
    g_array_set_clear_func(map->rules, rule_clear);
    while (good && *(ps.p = skip_space(ps.p)) != '\0')
        good = take_rule(&ps);
    if (good && check_complete(&ps))
        return map;
    fs_xattrmap_free(map);
    return NULL;
}

void fs_xattrmap_free(struct fs_xattrmap *map)
{
    if (!map)
        return;
    g_array_unref(map->rules);
    g_free(map);
}

/* ---- mapping ---- */

/* The first rule that matches; there is always one (check_complete()). */
static const struct rule *find(const struct fs_xattrmap *map, unsigned scope, const char *name)
{
    for (unsigned i = 0; i < map->rules->len; i++) {
        const struct rule *r = &g_array_index(map->rules, struct rule, i);
        if ((r->scope & scope) &&
            g_str_has_prefix(name, scope == SCOPE_CLIENT ? r->key : r->prepend))
            return r;
    }
    g_assert_not_reached();
}

static int prepend(const char *prefix, const char *name, char buf[XATTR_NAME_MAX + 1])
{
    size_t a = strlen(prefix), b = strlen(name);
    if (a + b > XATTR_NAME_MAX)
        return -ERANGE;
    memcpy(buf, prefix, a);
    memcpy(buf + a, name, b + 1);
    return 0;
}

int fs_xattrmap_to_host(const struct fs_xattrmap *map, const char *name,
                        char buf[XATTR_NAME_MAX + 1], const char **host)
{
    const struct rule *r = find(map, SCOPE_CLIENT, name);
    int rc;

    switch (r->type) {
    case TYPE_OK:
        *host = name;
        return 0;
    case TYPE_BAD:
        return -EPERM;
    case TYPE_UNSUPPORTED:
        return -EOPNOTSUPP;
    default:
        rc = prepend(r->prepend, name, buf);
        if (rc == 0)
            *host = buf;
        return rc;
    }
}

const char *fs_xattrmap_to_guest(const struct fs_xattrmap *map, const char *name)
{
    const struct rule *r = find(map, SCOPE_SERVER, name);

    if (r->type == TYPE_BAD || r->type == TYPE_UNSUPPORTED)
        return NULL;
    if (r->type == TYPE_PREFIX)
        name += strlen(r->prepend);
    return *name ? name : NULL;
}
