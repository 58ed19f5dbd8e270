/* SPDX-License-Identifier: BSD-3-Clause
 * Walks the command line along the table, then fills in and checks what spans several options. */
#include "virtiofsd/options.h"

#include <string.h>

#include "virtiofsd/options-table.h"

#define CACHE_SECONDS 86400.0
#define AUTO_SECONDS  1.0
/* Long enough for a search path or an import to profit, too short for a guest that is told by other
 * means of a file that the host has just made. */
#define ABSENT_SECONDS 0.2

struct walk {
    struct options *out;
    char **argv;
    int argc, next; /* next: the first argument not looked at yet */
    GError **err;
};

static enum options_result bad(GError **err, const char *fmt, ...) G_GNUC_PRINTF(2, 3);

static enum options_result bad(GError **err, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    if (err)
        *err = g_error_new_valist(OPTIONS_ERROR, OPTIONS_ERROR_USAGE, fmt, ap);
    va_end(ap);
    return OPTIONS_BAD;
}

static enum options_result refuse(GError **err, const char *shown, const char *what)
{
    g_set_error(err, OPTIONS_ERROR, OPTIONS_ERROR_NOT_AVAILABLE,
                "%s: this version does not have it (%s); leave the option out", shown, what);
    return OPTIONS_BAD;
}

static void set_defaults(struct options *o)
{
    *o = opt_defaults;
    for (unsigned i = 0; i < opt_table_len; i++)
        opt_init(o, &opt_table[i]);
    o->notes = g_ptr_array_new_with_free_func(g_free);
}

void options_free(struct options *o)
{
    for (unsigned i = 0; i < opt_table_len; i++)
        opt_clear(o, &opt_table[i]);
    g_ptr_array_unref(o->notes);
    *o = (struct options){.fd = -1};
}

static enum options_result apply(struct walk *w, const struct opt_def *def, const char *value,
                                 bool on, const char *shown)
{
    bool ok;
    switch (def->type) {
    case OPT_HELP:
        opt_print_help();
        return OPTIONS_EXIT;
    case OPT_VERSION:
        opt_print_version();
        return OPTIONS_EXIT;
    case OPT_CAPABILITIES:
        opt_print_capabilities();
        return OPTIONS_EXIT;
    case OPT_ABSENT:
        return refuse(w->err, shown, def->help);
    case OPT_NOTHING:
        ok = opt_word_known(def, value, shown, w->err);
        if (ok && def->name)
            g_ptr_array_add(w->out->notes, g_strdup_printf("%s has no effect yet", shown));
        break;
    case OPT_ALIAS: {
        const struct opt_def *real = opt_find(def->alias, strlen(def->alias), &on);
        ok = opt_set(w->out, real, value ? value : def->alias_value, on, shown, w->err);
        break;
    }
    case OPT_OLD_LIST:
        ok = opt_old_list(w->out, value, w->err);
        break;
    default:
        ok = opt_set(w->out, def, value ? value : def->bare, on, shown, w->err);
    }
    return ok ? OPTIONS_RUN : OPTIONS_BAD;
}

/* The next argument as a value; NULL when there is none. What looks like a long option is none:
 * its own value was forgotten then. */
static const char *take_value(struct walk *w)
{
    if (w->next >= w->argc || g_str_has_prefix(w->argv[w->next], "--"))
        return NULL;
    return w->argv[w->next++];
}

static enum options_result unknown_long(struct walk *w, const char *shown)
{
    bool no = g_str_has_prefix(shown, "--no-");
    const struct opt_def *near = opt_near(shown + (no ? 5 : 2));

    if (near && (!no || near->type == OPT_SWITCH))
        return bad(w->err, "%s: no such option; did you mean --%s%s?", shown, no ? "no-" : "",
                   near->name);
    return bad(w->err, "%s: no such option; see --help", shown);
}

/* --name, --name=value, --name value */
static enum options_result long_option(struct walk *w, const char *arg)
{
    const char *eq = strchr(arg, '=');
    size_t len = eq ? (size_t)(eq - arg) : strlen(arg);
    g_autofree char *shown = g_strndup(arg, len);
    const char *value = eq ? eq + 1 : NULL;
    bool on;
    const struct opt_def *def = opt_find(arg + 2, len - 2, &on);

    if (!def)
        return unknown_long(w, shown);
    if (value && !def->arg)
        return bad(w->err, "%s: takes no value (\"%s\")", shown, value);
    if (!value && def->arg && def->type != OPT_ABSENT && !def->bare) {
        value = take_value(w);
        if (!value) {
            g_autofree char *allowed = opt_allowed(def);
            return bad(w->err, "%s: needs a value, %s", shown, allowed);
        }
    }
    return apply(w, def, value, on, shown);
}

static const struct opt_def *find_letter(char letter)
{
    for (unsigned i = 0; i < opt_table_len; i++) {
        if (opt_table[i].letter == letter)
            return &opt_table[i];
    }
    return NULL;
}

/* -f, -df, -o LIST, -oLIST */
static enum options_result letters(struct walk *w, const char *arg)
{
    for (const char *p = arg + 1; *p; p++) {
        const char shown[] = {'-', *p, '\0'};
        const struct opt_def *def = find_letter(*p);
        if (!def)
            return bad(w->err, "%s: no such option; see --help", shown);
        const char *value = NULL;
        if (def->arg) {
            value = p[1] ? p + 1 : take_value(w);
            if (!value)
                return bad(w->err, "%s: needs a value, %s", shown, def->arg);
        }
        enum options_result r = apply(w, def, value, true, shown);
        if (r != OPTIONS_RUN || def->arg)
            return r;
    }
    return OPTIONS_RUN;
}

static enum options_result walk(struct walk *w)
{
    enum options_result r = OPTIONS_RUN;
    while (r == OPTIONS_RUN && w->next < w->argc) {
        const char *arg = w->argv[w->next++];
        if (arg[0] == '-' && arg[1] == '-' && arg[2] != '\0')
            r = long_option(w, arg);
        else if (arg[0] == '-' && arg[1] != '\0' && arg[1] != '-')
            r = letters(w, arg);
        else
            r = bad(w->err, "\"%s\": not an option; see --help", arg);
    }
    return r;
}

/* Which sockets there must be for 9P, and which would do nothing. */
static enum options_result check_9p(const struct options *o, GError **err)
{
    bool own = o->socket_path || o->fd >= 0;

    if (o->protocol == OPT_PROTOCOL_VIRTIOFS && (o->p9_socket_path || o->p9_listen->len > 0))
        return bad(err, "--p9-socket-path and --p9-listen need --protocol=both or 9p");
    if (o->protocol == OPT_PROTOCOL_9P && o->p9_socket_path)
        return bad(err,
                   "--p9-socket-path=%s needs --protocol=both: with 9p alone the device's "
                   "socket is --socket-path",
                   o->p9_socket_path);
    if (o->protocol == OPT_PROTOCOL_BOTH && !o->p9_socket_path && o->p9_listen->len == 0)
        return bad(err, "--protocol=both needs --p9-socket-path or --p9-listen");
    if ((o->p9_socket_path || (o->protocol == OPT_PROTOCOL_9P && own)) && !o->tag)
        return bad(err, "a 9P device needs --tag: guests mount by it");
    return OPTIONS_RUN;
}

/* The daemon is user and group 0 of its namespace. */
static bool lacks_zero(const struct sb_idmaps *maps)
{
    for (unsigned i = 0; i < maps->n; i++) {
        if (maps->map[i].inside == 0)
            return false;
    }
    return maps->n > 0;
}

static enum options_result check_maps(const struct options *o, GError **err)
{
    bool any = o->sandbox.uid_map.n > 0 || o->sandbox.gid_map.n > 0;

    if (any && o->sandbox.mode != SB_NAMESPACE)
        return bad(err, "--uid-map and --gid-map need --sandbox=namespace: the user namespace "
                        "does the mapping");
    if (lacks_zero(&o->sandbox.uid_map) || lacks_zero(&o->sandbox.gid_map))
        return bad(err, "%s: one of the ranges must begin with the id 0 inside",
                   lacks_zero(&o->sandbox.uid_map) ? "--uid-map" : "--gid-map");
    return OPTIONS_RUN;
}

static enum options_result check_move(const struct options *o, GError **err)
{
    if (o->fs.move == FS_MOVE_HANDLES && (o->fs.move_verify || o->fs.move_confirm))
        return bad(err, "%s is about names: it cannot be used with --migration-mode=file-handles",
                   o->fs.move_verify ? "--migration-verify-handles" : "--migration-confirm-paths");
    return OPTIONS_RUN;
}

static enum options_result check_needed(const struct options *o, GError **err)
{
    if (!o->shared_dir)
        return bad(err, "--shared-dir is missing: give the directory to share");
    if (!o->socket_path && o->fd < 0 && (o->protocol != OPT_PROTOCOL_9P || o->p9_listen->len == 0))
        return bad(err, "--socket-path or --fd is missing: give the vhost-user socket");
    if (o->socket_path && o->fd >= 0)
        return bad(err, "--fd=%d and --socket-path=%s cannot be used together: give one of them",
                   o->fd, o->socket_path);
    if (o->socket_group && !o->socket_path && o->p9_listen->len == 0)
        return bad(err,
                   "--socket-group=%s needs --socket-path: with --fd the socket exists "
                   "already",
                   o->socket_group);
    if (o->dax.window > 0 && !o->tag)
        g_ptr_array_add(o->notes, g_strdup("--dax-window without --tag: front-ends that have a "
                                           "window (QEMU's generic device) ask us for the tag, "
                                           "and without one their guests find nothing to mount"));
    return OPTIONS_RUN;
}

/* With the profile the guest says neither that it opens a file nor that it closes it, and keeps all
 * that it has read. */
static enum options_result check_profile(const struct options *o, GError **err)
{
    const struct {
        bool set;
        const char *shown, *why;
    } rows[] = {
        {o->fuse.posix_lock, "--posix-lock",
         "locks end when a file is closed, of which the guest does not tell"},
        {o->fuse.flock, "--flock",
         "locks end when a file is closed, of which the guest does not tell"},
        {o->fuse.writeback, "--writeback", "the guest would delay what the host may refuse"},
        {o->fs.cache == FS_CACHE_NEVER, "--cache=never", "the guest keeps what it has read"},
        {o->fs.cache == FS_CACHE_METADATA, "--cache=metadata", "the guest keeps what it has read"},
    };

    if (o->fuse.profile == FUSE_PROFILE_NONE)
        return OPTIONS_RUN;
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++)
        if (rows[i].set)
            return bad(err, "%s and --profile=rootfs cannot be used together: %s", rows[i].shown,
                       rows[i].why);
    return OPTIONS_RUN;
}

static bool given(const struct options *o, const char *name)
{
    bool on;
    return o->given[opt_find(name, strlen(name), &on) - opt_table];
}

/* What was not given and depends on something else. */
static void resolve(struct options *o)
{
    static const double by_policy[] = {
        [FS_CACHE_NEVER] = 0,
        [FS_CACHE_METADATA] = CACHE_SECONDS,
        [FS_CACHE_AUTO] = AUTO_SECONDS,
        [FS_CACHE_ALWAYS] = CACHE_SECONDS,
    };
    bool rootfs = o->fuse.profile == FUSE_PROFILE_ROOTFS;
    if (!given(o, "timeout"))
        o->fuse.timeout = rootfs ? CACHE_SECONDS : by_policy[o->fs.cache];
    if (!given(o, "negative-timeout"))
        o->fuse.negative_timeout = rootfs || o->fs.cache == FS_CACHE_ALWAYS ? o->fuse.timeout
                                   : o->fs.cache == FS_CACHE_AUTO
                                       ? MIN(o->fuse.timeout, ABSENT_SECONDS)
                                       : 0;
    o->fs.xattr |= o->xattrmap || o->fuse.posix_acl != FUSE_ASK_NEVER ||
                   o->fuse.security_label != FUSE_ASK_NEVER;
    if (!given(o, "p9-lock"))
        o->p9.lock = !o->fs.readonly;
    if (o->fs.cache == FS_CACHE_NEVER)
        o->fuse.readdirplus = false; /* the guest would throw the attributes away */

    /* With a tag the front-end may read the number in our configuration space: then it is the
     * number. Without, it is the front-end's to choose. */
    o->max_request_queues =
        o->num_request_queues || o->tag ? MAX(o->num_request_queues, 1) : OPT_MAX_QUEUES_DEFAULT;
    o->num_request_queues = MAX(o->num_request_queues, 1);
}

enum options_result options_parse(int argc, char **argv, struct options *out, GError **err)
{
    set_defaults(out);
    struct walk w = {.out = out, .argv = argv, .argc = argc, .next = 1, .err = err};
    enum options_result r = walk(&w);
    if (r == OPTIONS_RUN)
        r = check_needed(out, err);
    if (r == OPTIONS_RUN)
        r = check_maps(out, err);
    if (r == OPTIONS_RUN)
        r = check_move(out, err);
    if (r == OPTIONS_RUN)
        r = check_9p(out, err);
    if (r == OPTIONS_RUN)
        r = check_profile(out, err);
    if (r == OPTIONS_RUN)
        resolve(out);
    return r;
}
