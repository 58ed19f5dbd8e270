/* SPDX-License-Identifier: BSD-3-Clause
 * From the text of one value to the field of its option. */
#include <string.h>

#include "virtiofsd/options-table.h"

G_DEFINE_QUARK(virtiofsd - options - error, options_error)

/* The id 2^32 - 1 means "no change" to the kernel and is never mapped. */
#define ID_MAX UINT32_MAX

static bool name_is(const struct opt_def *def, const char *name, size_t len)
{
    return def->name && strlen(def->name) == len && memcmp(def->name, name, len) == 0;
}

const struct opt_def *opt_find(const char *name, size_t len, bool *on)
{
    bool no = len > 3 && memcmp(name, "no-", 3) == 0;
    for (unsigned i = 0; i < opt_table_len; i++) {
        const struct opt_def *def = &opt_table[i];
        *on = true;
        if (name_is(def, name, len))
            return def;
        *on = false;
        if (no && def->type == OPT_SWITCH && name_is(def, name + 3, len - 3))
            return def;
    }
    return NULL;
}

static char *words_text(const struct opt_word *words)
{
    GString *s = g_string_new("one of ");
    const char *sep = "";
    for (const struct opt_word *w = words; w->text; w++) {
        if (w->hidden)
            continue;
        g_string_append_printf(s, "%s%s", sep, w->text);
        sep = ", ";
    }
    return g_string_free(s, FALSE);
}

/* "2M", "1T": as short as it can be said exactly. */
static char *size_text(uint64_t n)
{
    const char *unit = " KMGTP";

    if (n == INT64_MAX)
        return g_strdup("8E");
    while (n >= 1024 && n % 1024 == 0 && unit[1]) {
        n /= 1024;
        unit++;
    }
    return g_strdup_printf("%" G_GUINT64_FORMAT "%.*s", n, *unit == ' ' ? 0 : 1, unit);
}

static char *sizes_text(const struct opt_def *def)
{
    g_autofree char *min = size_text(def->min), *max = size_text(def->max);

    return g_strdup_printf("%s%s from %s to %s, in bytes or with K, M, G or T behind it",
                           def->flags & OPT_ZERO_TOO ? "0, or " : "",
                           def->flags & OPT_POWER_OF_2 ? "a power of two" : "a size", min, max);
}

char *opt_allowed(const struct opt_def *def)
{
    if (def->words)
        return words_text(def->words);
    switch (def->type) {
    case OPT_SIZE:
        return sizes_text(def);
    case OPT_NUMBER:
    case OPT_SECONDS:
        return g_strdup_printf("%s from %" G_GUINT64_FORMAT " to %" G_GUINT64_FORMAT,
                               def->type == OPT_SECONDS      ? "a number of seconds"
                               : def->flags & OPT_POWER_OF_2 ? "a power of two"
                                                             : "a number",
                               def->min, def->max);
    case OPT_STRING:
    case OPT_TEXTS:
        return g_strdup_printf("a text of %" G_GUINT64_FORMAT " to %" G_GUINT64_FORMAT " bytes",
                               def->min, def->max);
    case OPT_ID_MAP:
        return g_strdup("a map like :0:100000:65536: (first id inside, first id outside, count)");
    default:
        return g_strdup("a value");
    }
}

static const struct opt_word *find_word(const struct opt_def *def, const char *value)
{
    for (const struct opt_word *w = def->words; w->text; w++) {
        if (g_ascii_strcasecmp(w->text, value) == 0)
            return w;
    }
    return NULL;
}

static bool set_word(struct options *out, const struct opt_def *def, const char *value)
{
    const struct opt_word *w = find_word(def, value);

    if (w)
        *(unsigned *)G_STRUCT_MEMBER_P(out, def->offset) = w->value;
    return w != NULL;
}

static bool not_allowed(const struct opt_def *def, const char *value, const char *shown,
                        GError **err)
{
    g_autofree char *allowed = opt_allowed(def);

    g_set_error(err, OPTIONS_ERROR, OPTIONS_ERROR_USAGE, "%s: \"%s\" is not %s", shown, value,
                allowed);
    return false;
}

bool opt_word_known(const struct opt_def *def, const char *value, const char *shown, GError **err)
{
    return !def->words || find_word(def, value) || not_allowed(def, value, shown, err);
}

static bool set_number(struct options *out, const struct opt_def *def, const char *value)
{
    guint64 n;
    if (!g_ascii_string_to_unsigned(value, 10, def->min, def->max, &n, NULL))
        return false;
    if (def->flags & OPT_POWER_OF_2 && (n & (n - 1)) != 0)
        return false;
    if (def->most && n > def->most) {
        n = def->most;
        g_ptr_array_add(out->notes, g_strdup_printf("--%s=%s: taken as %" G_GUINT64_FORMAT
                                                    ", the most there can be",
                                                    def->name, value, n));
    }
    if (def->size == sizeof(uint64_t))
        *(uint64_t *)G_STRUCT_MEMBER_P(out, def->offset) = n;
    else
        *(uint32_t *)G_STRUCT_MEMBER_P(out, def->offset) = (uint32_t)n;
    return true;
}

/* Digits, and perhaps a letter for a power of 1024. */
static bool set_size(struct options *out, const struct opt_def *def, const char *value)
{
    static const char units[] = "KMGT";
    size_t len = strspn(value, "0123456789");
    const char *unit = value[len] ? strchr(units, g_ascii_toupper(value[len])) : NULL;
    unsigned shift = unit ? 10 * (unsigned)(unit - units + 1) : 0;
    g_autofree char *digits = g_strndup(value, len);
    guint64 n;

    if (value[len] && (!unit || value[len + 1]))
        return false;
    if (!g_ascii_string_to_unsigned(digits, 10, 0, def->max >> shift, &n, NULL))
        return false;
    n <<= shift;
    if (n < def->min && !(n == 0 && (def->flags & OPT_ZERO_TOO)))
        return false;
    if (def->flags & OPT_POWER_OF_2 && (n & (n - 1)) != 0)
        return false;
    *(uint64_t *)G_STRUCT_MEMBER_P(out, def->offset) = n;
    return true;
}

static bool set_seconds(struct options *out, const struct opt_def *def, const char *value)
{
    /* Digits and a point only: strtod() would also take "inf", "nan" and hexadecimal. */
    if (*value == '\0' || value[strspn(value, "0123456789.")] != '\0')
        return false;
    char *end;
    double d = g_ascii_strtod(value, &end);
    if (end == value || *end != '\0' || d > (double)def->max)
        return false;
    *(double *)G_STRUCT_MEMBER_P(out, def->offset) = d;
    return true;
}

static bool add_text(struct options *out, const struct opt_def *def, const char *value)
{
    size_t len = strlen(value);
    if (len < def->min || len > def->max)
        return false;
    g_ptr_array_add(*(GPtrArray **)G_STRUCT_MEMBER_P(out, def->offset), g_strdup(value));
    return true;
}

static bool set_string(struct options *out, const struct opt_def *def, const char *value)
{
    size_t len = strlen(value);
    if (len < def->min || len > def->max)
        return false;
    char **field = G_STRUCT_MEMBER_P(out, def->offset);
    g_free(*field);
    *field = g_strdup(value);
    return true;
}

/* ":inside:outside:count:", where any character that is no digit may stand for the colon. */
static bool set_id_map(struct options *out, const struct opt_def *def, const char *value)
{
    const char delim[2] = {value[0], '\0'};
    size_t len = strlen(value);
    if (len < 2 || g_ascii_isdigit(delim[0]) || value[len - 1] != delim[0])
        return false;

    g_autofree char *inner = g_strndup(value + 1, len - 2);
    g_auto(GStrv) part = g_strsplit(inner, delim, -1);
    guint64 n[3];
    if (g_strv_length(part) != G_N_ELEMENTS(n))
        return false;
    for (unsigned i = 0; i < G_N_ELEMENTS(n); i++) {
        if (!g_ascii_string_to_unsigned(part[i], 10, i == 2 ? 1 : 0, ID_MAX, &n[i], NULL))
            return false;
    }
    if (n[0] + n[2] > ID_MAX || n[1] + n[2] > ID_MAX)
        return false;

    struct sb_idmaps *maps = G_STRUCT_MEMBER_P(out, def->offset);
    maps->map[maps->n++] = (struct sb_idmap){(uint32_t)n[0], (uint32_t)n[1], (uint32_t)n[2]};
    return true;
}

static bool set_value(struct options *out, const struct opt_def *def, const char *value)
{
    switch (def->type) {
    case OPT_WORD:
        return set_word(out, def, value);
    case OPT_NUMBER:
        return set_number(out, def, value);
    case OPT_SIZE:
        return set_size(out, def, value);
    case OPT_SECONDS:
        return set_seconds(out, def, value);
    case OPT_STRING:
        return set_string(out, def, value);
    case OPT_TEXTS:
        return add_text(out, def, value);
    case OPT_ID_MAP:
        return set_id_map(out, def, value);
    default:
        g_assert_not_reached();
    }
}

static void *field_of(struct options *out, const struct opt_def *def)
{
    return (char *)out + def->offset;
}

void opt_init(struct options *out, const struct opt_def *def)
{
    if (def->type == OPT_TEXTS)
        *(GPtrArray **)field_of(out, def) = g_ptr_array_new_with_free_func(g_free);
}

void opt_clear(struct options *out, const struct opt_def *def)
{
    if (def->type == OPT_TEXTS)
        g_ptr_array_unref(*(GPtrArray **)field_of(out, def));
    else if (def->type == OPT_STRING)
        g_free(*(char **)field_of(out, def));
}

bool opt_set(struct options *out, const struct opt_def *def, const char *value, bool on,
             const char *shown, GError **err)
{
    out->given[def - opt_table] = true;
    if (def->type == OPT_SWITCH) {
        *(bool *)G_STRUCT_MEMBER_P(out, def->offset) = on;
        return true;
    }
    if (def->flags & OPT_ONCE && *(char **)G_STRUCT_MEMBER_P(out, def->offset) != NULL) {
        /* A second share must not replace the first in silence: whoever can add arguments (an
         * annotation of a container, say) could otherwise choose what the guest gets. */
        g_set_error(err, OPTIONS_ERROR, OPTIONS_ERROR_USAGE,
                    "%s: given twice (\"%s\" and \"%s\"); give it once", shown,
                    *(char **)G_STRUCT_MEMBER_P(out, def->offset), value);
        return false;
    }
    if (def->type == OPT_ID_MAP &&
        ((struct sb_idmaps *)G_STRUCT_MEMBER_P(out, def->offset))->n == SB_MAX_MAPS) {
        g_set_error(err, OPTIONS_ERROR, OPTIONS_ERROR_USAGE, "%s: at most %d ranges are allowed",
                    shown, SB_MAX_MAPS);
        return false;
    }
    return set_value(out, def, value) || not_allowed(def, value, shown, err);
}
