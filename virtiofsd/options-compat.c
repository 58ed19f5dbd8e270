/* SPDX-License-Identifier: BSD-3-Clause
 * The old form of options: -o source=DIR,cache=auto,no_xattr, as QEMU's daemon in C had it and the
 * one in Rust still takes. A word is the long option's name with '_' for '-', or stands here. */
#include <string.h>

#include "virtiofsd/options-table.h"

static const struct old_word {
    const char *word;
    const char *option; /* long option meant; NULL: the word does nothing */
    const char *value;  /* its value; NULL: the word brings its own */
    bool has_value;
} old_words[] = {
    {"source", "shared-dir", NULL, true},
    {"loglevel", "log-level", NULL, true},
    {"debug", "log-level", "debug", false},
    {"no_posix_acl", "posix-acl", "never", false},
    {"no_security_label", "security-label", "never", false},
    {"max_idle_threads", NULL, NULL, true}, /* our threads are as many as the queues, or the pool */
    {"allow_root", NULL, NULL, false},      /* a word of FUSE mounts; there is no mount here */
};

static bool unknown(const char *word, GError **err)
{
    g_set_error(err, OPTIONS_ERROR, OPTIONS_ERROR_USAGE,
                "-o %s: no such word; see --help for the long options", word);
    return false;
}

/* Whether the word has a value exactly when it should. */
static bool value_fits(const char *word, const char *value, bool want, bool may_lack, GError **err)
{
    if (value && !want) {
        g_set_error(err, OPTIONS_ERROR, OPTIONS_ERROR_USAGE, "-o %s: takes no value (\"%s\")", word,
                    value);
        return false;
    }
    if (!value && want && !may_lack) {
        g_set_error(err, OPTIONS_ERROR, OPTIONS_ERROR_USAGE, "-o %s: needs a value: %s=...", word,
                    word);
        return false;
    }
    return true;
}

static bool set_old(struct options *out, const struct old_word *old, const char *value,
                    const char *shown, GError **err)
{
    if (!value_fits(old->word, value, old->has_value, false, err))
        return false;
    if (!old->option) {
        g_ptr_array_add(out->notes, g_strdup_printf("%s has no effect here", shown));
        return true;
    }
    bool on;
    const struct opt_def *def = opt_find(old->option, strlen(old->option), &on);
    return opt_set(out, def, old->value ? old->value : value, on, shown, err);
}

/* @word: "name" or "name=value"; it is cut at the '='. */
static bool old_word(struct options *out, char *word, GError **err)
{
    char *value = strchr(word, '=');
    if (value)
        *value++ = '\0';
    g_autofree char *shown = g_strdup_printf("-o %s", word);
    for (unsigned i = 0; i < G_N_ELEMENTS(old_words); i++) {
        if (strcmp(word, old_words[i].word) == 0)
            return set_old(out, &old_words[i], value, shown, err);
    }

    if (strchr(word, '-'))
        return unknown(word, err);
    g_autofree char *name = g_strdelimit(g_strdup(word), "_", '-');
    bool on;
    const struct opt_def *def = opt_find(name, strlen(name), &on);
    if (!def || !(def->flags & OPT_OLD_NAME))
        return unknown(word, err);
    if (!value_fits(word, value, def->arg != NULL, def->bare != NULL, err))
        return false;
    return opt_set(out, def, value ? value : def->bare, on, shown, err);
}

/* The next word of @list, which is moved behind it. A comma that is part of the word is written
 * twice, as libvirt does, or behind a backslash, as libfuse takes it. The caller frees it. */
static char *next_word(const char **list)
{
    GString *word = g_string_new(NULL);
    const char *p = *list;

    for (; *p && (*p != ',' || p[1] == ','); p++) {
        p += (*p == '\\' || *p == ',') && p[1] == ',';
        g_string_append_c(word, *p);
    }
    *list = p + (*p == ',');
    return g_string_free(word, FALSE);
}

bool opt_old_list(struct options *out, const char *list, GError **err)
{
    while (*list) {
        g_autofree char *word = next_word(&list);
        if (*word != '\0' && !old_word(out, word, err))
            return false;
    }
    return true;
}
