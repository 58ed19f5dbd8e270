/* SPDX-License-Identifier: BSD-3-Clause
 * Fuzz target: the command line, -o lists and the values of options included. The input is the
 * arguments, one a line. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/fuzz/target.h"
#include "virtiofsd/options.h"

enum { MAX_ARGS = 64 };

/* --help and its like answer on stdout: not here. */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (null < 0 || dup2(null, STDOUT_FILENO) < 0)
        abort();
    close(null);
    return 0;
}

static void check_map(const struct sb_idmaps *maps)
{
    if (maps->n > SB_MAX_MAPS)
        abort();
    for (unsigned i = 0; i < maps->n; i++) {
        const struct sb_idmap *m = &maps->map[i];
        if (m->count == 0 || m->inside + m->count < m->inside || m->outside + m->count < m->outside)
            abort();
    }
}

/* What options.h promises of a good parse. */
static void check(const struct options *o)
{
    if (!o->shared_dir || !o->socket_path == (o->fd < 0))
        abort();
    if (o->tag && (strlen(o->tag) == 0 || strlen(o->tag) > OPT_TAG_MAX))
        abort();
    if (o->num_request_queues < 1 || o->max_request_queues < o->num_request_queues ||
        o->max_request_queues > 255 || o->vu.max_queue_size < 2 ||
        (o->vu.max_queue_size & (o->vu.max_queue_size - 1)))
        abort();
    if (o->fs.cache > FS_CACHE_ALWAYS || o->host.handles > HOST_HANDLES_FENCED ||
        o->sandbox.mode > SB_NONE || o->sandbox.seccomp > SB_ACTION_TRAP)
        abort();
    if (!(o->fuse.timeout >= 0) || !(o->fuse.negative_timeout >= 0) || !o->notes)
        abort();
    check_map(&o->sandbox.uid_map);
    check_map(&o->sandbox.gid_map);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *text = g_strndup((const char *)data, size);
    g_auto(GStrv) lines = g_strsplit(text, "\n", MAX_ARGS);
    char *argv[MAX_ARGS + 2] = {(char *)(uintptr_t) "virtiofsd"};
    struct options o;
    GError *err = NULL;
    int argc = 1;

    for (char **l = lines; *l; l++)
        argv[argc++] = *l;
    enum options_result r = options_parse(argc, argv, &o, &err);
    /* One line that says something, exactly when something is wrong. */
    if ((r == OPTIONS_BAD) != (err != NULL) || (err && err->message[0] == '\0'))
        abort();
    if (r == OPTIONS_RUN)
        check(&o);
    g_clear_error(&err);
    options_free(&o);
    return 0;
}
