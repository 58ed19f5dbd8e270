/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/bench/bench.h"
#include "tests/lib/fe-time.h"

#define MAX_WORDS 32

/* Each daemon at its best settings. %S = socket, %D = shared directory. Below the open-file limit
 * of a small machine on purpose: the Rust and C daemons do not start when they cannot have the
 * limit they ask for. */
static const struct {
    const char *name, *key, *args;
} kinds[] = {
    {"ours", "ours", "--socket-path=%S --shared-dir=%D --sandbox=none"},
    {"ours-fd", "ours",
     "--socket-path=%S --shared-dir=%D --sandbox=none --inode-file-handles=never"},
    {"ours-fence", "ours",
     "--socket-path=%S --shared-dir=%D --sandbox=none --inode-file-handles=fenced"},
    /* So few descriptors that most files are opened again by their handles. */
    {"ours-cold", "ours",
     "--socket-path=%S --shared-dir=%D --sandbox=none --inode-file-handles=prefer --max-fds=256"},
    {"ours-fence-cold", "ours",
     "--socket-path=%S --shared-dir=%D --sandbox=none --inode-file-handles=fenced --max-fds=256"},
    {"ours-box", "ours", "--socket-path=%S --shared-dir=%D"},
    {"rust", "rust",
     "--socket-path=%S --shared-dir=%D --sandbox=none --cache=auto --inode-file-handles=never "
     "--thread-pool-size=0 --rlimit-nofile=%N"},
    {"rust-always", "rust",
     "--socket-path=%S --shared-dir=%D --sandbox=none --cache=always --inode-file-handles=never "
     "--thread-pool-size=0 --rlimit-nofile=%N"},
    {"rust-fh", "rust",
     "--socket-path=%S --shared-dir=%D --sandbox=none --cache=auto --inode-file-handles=prefer "
     "--thread-pool-size=0 --rlimit-nofile=%N"},
    {"rust-box", "rust",
     "--socket-path=%S --shared-dir=%D --sandbox=namespace --cache=auto "
     "--inode-file-handles=never --thread-pool-size=0 --rlimit-nofile=%N"},
    {"c", "c",
     "--socket-path=%S -o source=%D -o sandbox=namespace -o cache=auto --thread-pool-size=0 "
     "--rlimit-nofile=%N"},
};

static struct {
    const char *key;
    char *words;
} commands[8];

void bn_kind_command(const char *key, const char *words)
{
    for (unsigned i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (!commands[i].key) {
            commands[i].key = key;
            commands[i].words = strdup(words);
            return;
        }
    }
    bn_die("too many commands");
}

static const char *command_of(const char *key)
{
    for (unsigned i = 0; i < sizeof(commands) / sizeof(commands[0]) && commands[i].key; i++)
        if (strcmp(commands[i].key, key) == 0)
            return commands[i].words;
    return NULL;
}

static int find(const char *name)
{
    for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (strcmp(kinds[i].name, name) == 0)
            return (int)i;
    return -1;
}

bool bn_kind_ready(const char *name)
{
    int i = find(name);
    if (i < 0)
        bn_die("no daemon is called \"%s\"", name);
    return command_of(kinds[i].key) != NULL;
}

/* Copy @word with its %S, %D, %N replaced. */
static char *expand(const char *word, const char *dir, const char *path)
{
    char out[8192];
    size_t n = 0;
    for (; *word && n < sizeof(out) - 4200; word++) {
        const char *what = NULL;
        char number[24];
        snprintf(number, sizeof(number), "%ld", sysconf(_SC_OPEN_MAX));
        if (word[0] == '%')
            what = word[1] == 'S' ? path : word[1] == 'D' ? dir : word[1] == 'N' ? number : NULL;
        if (!what) {
            out[n++] = *word;
            continue;
        }
        n += (size_t)snprintf(out + n, sizeof(out) - n, "%s", what);
        word++;
    }
    out[n] = '\0';
    return strdup(out);
}

static unsigned split(const char *text, const char *dir, const char *path, char **argv, unsigned n)
{
    char *copy = strdup(text), *save = NULL;
    for (char *w = strtok_r(copy, " \n", &save); w; w = strtok_r(NULL, " \n", &save)) {
        if (n == MAX_WORDS)
            bn_die("too many words: %s", text);
        argv[n++] = expand(w, dir, path);
    }
    free(copy);
    return n;
}

void bn_kind_spawn(const char *name, const char *dir, const char *path, struct fe_daemon *d)
{
    char *argv[MAX_WORDS + 1] = {0};
    int k = find(name);
    unsigned n = split(command_of(kinds[k].key), dir, path, argv, 0);
    n = split(kinds[k].args, dir, path, argv, n);
    unlink(path);
    if (fe_daemon_spawn(d, argv, -1) < 0)
        bn_die("%s: cannot be started", name);
    for (unsigned i = 0; i < n; i++)
        free(argv[i]);
}

void bn_kind_stop(struct fe_daemon *d)
{
    int status;
    fe_daemon_wait(d, &status, 2000); /* all of them end when the front-end is gone */
    fe_daemon_stop(d);
}
