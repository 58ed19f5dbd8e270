/* SPDX-License-Identifier: BSD-3-Clause
 * Start-up, memory and descriptors. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/bench/bench-result.h"
#include "tests/bench/bench.h"
#include "tests/lib/fe-time.h"

static void add(struct br *r, unsigned i, const char *mode, const char *what, const char *unit,
                double v)
{
    br_add(br_row(r, mode, what, unit), i, BR_OPS, v);
}

static double ms_since(int64_t start)
{
    return (double)(fe_now_ns() - start) / 1e6;
}

void bn_start_round(struct br *r, unsigned i, const char *dir, const char *path)
{
    const char *mode = "start-up";
    struct bn b = {.daemon = r->daemon[i]};
    uint64_t id;
    bn_mem_make(&b);
    int64_t start = fe_now_ns();
    bn_kind_spawn(b.daemon, dir, path, &b.proc);
    int sock = fe_daemon_connect(&b.proc, path, FE_TIMEOUT_MS);
    double t_sock = ms_since(start);
    if (sock < 0)
        bn_die("%s: cannot connect\n%s", b.daemon, fe_daemon_log(&b.proc));
    bn_handshake(&b, sock);
    double t_init = ms_since(start);
    if (bn_lookup(&b, FUSE_ROOT_ID, "data", &id))
        bn_die("%s: lookup failed", b.daemon);
    double t_lookup = ms_since(start);
    add(r, i, mode, "spawn to connected", "ms", t_sock);
    add(r, i, mode, "spawn to INIT answered", "ms", t_init);
    add(r, i, mode, "spawn to 1st LOOKUP", "ms", t_lookup);
    add(r, i, mode, "CPU until then", "ms", (double)fe_daemon_cpu_ns(&b.proc) / 1e6);
    add(r, i, mode, "resident", "KiB", (double)fe_daemon_rss_kib(&b.proc));
    add(r, i, mode, "descriptors", "", fe_daemon_fds(&b.proc));
    bn_disconnect(&b);
    bn_kind_stop(&b.proc);
}

void bn_many_round(struct br *r, unsigned i, const char *dir, const char *path)
{
    const char *mode = "100,000 files looked up";
    struct bn b = {.daemon = r->daemon[i]};
    uint64_t parent, id;
    bn_mem_make(&b);
    bn_kind_spawn(b.daemon, dir, path, &b.proc);
    bn_connect(&b, path);
    if (bn_lookup(&b, FUSE_ROOT_ID, "many", &parent))
        bn_die("%s: lookup failed", b.daemon);
    double rss = (double)fe_daemon_rss_kib(&b.proc), fds = fe_daemon_fds(&b.proc);
    unsigned n = 0;
    for (; n < BN_MANY; n++) {
        char name[16];
        snprintf(name, sizeof(name), "f%05u", n);
        if (bn_lookup(&b, parent, name, &id))
            break;
    }
    add(r, i, mode, "files until an error", "", n);
    add(r, i, mode, "resident", "MiB", (double)fe_daemon_rss_kib(&b.proc) / 1024);
    add(r, i, mode, "memory per file", "bytes",
        ((double)fe_daemon_rss_kib(&b.proc) - rss) * 1024 / n);
    add(r, i, mode, "descriptors per file", "", (fe_daemon_fds(&b.proc) - fds) / n);
    bn_disconnect(&b);
    bn_kind_stop(&b.proc);
}
