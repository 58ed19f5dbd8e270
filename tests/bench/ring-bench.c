/* SPDX-License-Identifier: BSD-3-Clause
 * Daemons compared at the ring, without a hypervisor: A B C A B C on the same files. */
#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/bench/bench-result.h"
#include "tests/bench/bench.h"

#define START_REPEATS 5

static struct {
    const char *dir, *tsv, *ops;
    char *daemons, *start_daemons, *inflight, *cpus;
    unsigned rounds;
    int ms;
} opt = {
    .rounds = 5,
    .ms = 150,
};

static const char usage[] =
    "usage: ring-bench --dir=DIR --cmd KEY=WORDS... [options]\n"
    "  --dir=DIR          an empty directory; files are made in it\n"
    "  --cmd KEY=WORDS    how to start a daemon: KEY is ours, rust or c\n"
    "  --daemons=LIST     ours,rust,rust-fh,c,direct (also ours-fd, ours-fence, ours-cold, "
    "ours-fence-cold, ours-box, rust-always, rust-box)\n"
    "  --start-daemons=L  the same for start-up and memory: ours,ours-box,rust,rust-box,rust-fh,c\n"
    "  --ops=LIST         what to measure, or all; plus start and many\n"
    "  --rounds=N         5\n"
    "  --ms=N             time for one operation in one round: 150\n"
    "  --inflight=LIST    16,1\n"
    "  --cpus=LIST        1,2: client and daemon on one CPU; on all\n"
    "  --quick            one short round on one CPU\n"
    "  --tsv=FILE         also write a table for programs\n";

static void on_alarm(int sig)
{
    static const char text[] = "ring-bench: no answer for a minute, giving up\n";
    (void)!write(STDERR_FILENO, text, sizeof(text) - 1);
    _exit(1); /* the daemon dies with us */
}

static bool listed(const char *list, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = list; p && *p; p += strcspn(p, ","), p += *p == ',')
        if (strcspn(p, ",") == n && strncmp(p, word, n) == 0)
            return true;
    return false;
}

static bool wanted(const char *op)
{
    return listed(opt.ops, op) || listed(opt.ops, "all");
}

/* Fill the columns from a list, leaving out what cannot be started. */
static void take_daemons(struct br *r, char *list)
{
    char *save = NULL;
    for (char *w = strtok_r(list, ",", &save); w; w = strtok_r(NULL, ",", &save)) {
        if (strcmp(w, "direct") != 0 && !bn_kind_ready(w))
            fprintf(stderr, "ring-bench: no command for %s: left out\n", w);
        else if (r->ndaemons < BR_MAX_DAEMONS)
            r->daemon[r->ndaemons++] = w;
    }
}

static void pin_self(bool one)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    int n = (int)sysconf(_SC_NPROCESSORS_ONLN);
    for (int i = 0; i < n; i++)
        if (!one || i == n - 1)
            CPU_SET((size_t)i, &set);
    sched_setaffinity(0, sizeof(set), &set);
}

static void add_sample(struct br *r, unsigned daemon, const char *mode, const char *op,
                       const struct bn_sample *s)
{
    struct br_row *row = br_row(r, mode, op, NULL);
    br_add(row, daemon, BR_OPS, s->ops / s->ns * 1e9);
    br_add(row, daemon, BR_CPU, s->cpu_ns / s->ops / 1e3);
    br_add(row, daemon, BR_KICKS, s->kicks / s->ops);
    br_add(row, daemon, BR_CALLS, s->calls / s->ops);
}

/* All operations in one mode. @b: NULL for the direct calls. */
static void run_mode(struct br *r, unsigned daemon, struct bn *b, unsigned inflight, bool one_cpu)
{
    char mode[40];
    snprintf(mode, sizeof(mode), "%u in flight, %s", inflight, one_cpu ? "one CPU" : "all CPUs");
    pin_self(one_cpu);
    if (b)
        fe_daemon_pin(&b->proc, one_cpu ? (int)sysconf(_SC_NPROCESSORS_ONLN) - 1 : -1);
    for (unsigned i = 0; i < bn_nops; i++) {
        struct bn_sample s;
        if (!wanted(bn_ops[i].name))
            continue;
        for (int warm = 1; warm >= 0; warm--) {
            int ms = warm ? opt.ms / 8 : opt.ms;
            if (b)
                bn_run(b, &bn_ops[i], inflight, ms, &s);
            else
                bn_direct_run(bn_ops[i].name, inflight, ms, &s);
        }
        add_sample(r, daemon, mode, bn_ops[i].name, &s);
    }
}

static void run_modes(struct br *r, unsigned daemon, struct bn *b)
{
    for (int cpus = 1; cpus <= 2; cpus++) {
        if (!listed(opt.cpus, cpus == 1 ? "1" : "2"))
            continue;
        for (unsigned i = 0; i < 2; i++) {
            static const unsigned depth[] = {BN_SLOTS, 1};
            if (listed(opt.inflight, i == 0 ? "16" : "1"))
                run_mode(r, daemon, b, depth[i], cpus == 1);
        }
    }
    pin_self(false);
}

static void run_daemon(struct br *r, unsigned i, const char *share, const char *sock)
{
    if (strcmp(r->daemon[i], "direct") == 0) {
        run_modes(r, i, NULL);
        return;
    }
    struct bn b = {.daemon = r->daemon[i]};
    bn_mem_make(&b);
    bn_kind_spawn(b.daemon, share, sock, &b.proc);
    bn_connect(&b, sock);
    bn_prepare(&b);
    run_modes(r, i, &b);
    bn_disconnect(&b);
    bn_kind_stop(&b.proc);
}

static void run_start(struct br *r, const char *share, const char *sock)
{
    for (unsigned k = 0; wanted("start") && k < START_REPEATS; k++)
        for (unsigned i = 0; i < r->ndaemons; i++)
            bn_start_round(r, i, share, sock);
}

static void parse(int argc, char **argv)
{
    enum { DIR = 1, CMD, DAEMONS, START, OPS, ROUNDS, MS, INFLIGHT, CPUS, QUICK, TSV, HELP };
    static const struct option longs[] = {
        {"dir", 1, NULL, DIR},
        {"cmd", 1, NULL, CMD},
        {"daemons", 1, NULL, DAEMONS},
        {"start-daemons", 1, NULL, START},
        {"ops", 1, NULL, OPS},
        {"rounds", 1, NULL, ROUNDS},
        {"ms", 1, NULL, MS},
        {"inflight", 1, NULL, INFLIGHT},
        {"cpus", 1, NULL, CPUS},
        {"quick", 0, NULL, QUICK},
        {"tsv", 1, NULL, TSV},
        {"help", 0, NULL, HELP},
        {NULL, 0, NULL, 0},
    };
    for (int c; (c = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
        char *eq;
        switch (c) {
        case DIR:
            opt.dir = optarg;
            break;
        case CMD:
            eq = strchr(optarg, '=');
            if (!eq)
                bn_die("--cmd %s: KEY=WORDS is wanted", optarg);
            *eq = '\0';
            bn_kind_command(optarg, eq + 1);
            break;
        case DAEMONS:
            opt.daemons = optarg;
            break;
        case START:
            opt.start_daemons = optarg;
            break;
        case OPS:
            opt.ops = optarg;
            break;
        case ROUNDS:
            opt.rounds = (unsigned)atoi(optarg);
            break;
        case MS:
            opt.ms = atoi(optarg);
            break;
        case INFLIGHT:
            opt.inflight = optarg;
            break;
        case CPUS:
            opt.cpus = optarg;
            break;
        case QUICK:
            opt.rounds = 1;
            opt.ms = 40;
            opt.cpus = strdup("1");
            break;
        case TSV:
            opt.tsv = optarg;
            break;
        default:
            fputs(usage, c == HELP ? stdout : stderr);
            exit(c == HELP ? 0 : 2);
        }
    }
}

int main(int argc, char **argv)
{
    static struct br speed, start;
    char share[4096], sock[4096];
    opt.daemons = strdup("ours,rust,rust-fh,c,direct");
    opt.start_daemons = strdup("ours,ours-box,rust,rust-box,rust-fh,c");
    opt.inflight = strdup("16,1");
    opt.cpus = strdup("1,2");
    opt.ops = "all";
    parse(argc, argv);
    if (!opt.dir || opt.rounds < 1 || opt.rounds > BR_MAX_ROUNDS / START_REPEATS || opt.ms < 1) {
        fputs(usage, stderr);
        return 2;
    }
    snprintf(share, sizeof(share), "%.4000s/share", opt.dir);
    snprintf(sock, sizeof(sock), "%.4000s/sock", opt.dir);
    signal(SIGALRM, on_alarm);
    take_daemons(&speed, opt.daemons);
    take_daemons(&start, opt.start_daemons);
    bn_tree_make(share, wanted("many"));
    bn_direct_open(share);

    for (unsigned round = 0; round < opt.rounds; round++) {
        for (unsigned i = 0; i < speed.ndaemons; i++) {
            fprintf(stderr, "ring-bench: round %u of %u: %s\n", round + 1, opt.rounds,
                    speed.daemon[i]);
            run_daemon(&speed, i, share, sock);
        }
        run_start(&start, share, sock);
    }
    for (unsigned i = 0; wanted("many") && i < start.ndaemons; i++)
        bn_many_round(&start, i, share, sock);

    br_print(&speed, stdout);
    br_print(&start, stdout);
    FILE *f = opt.tsv ? fopen(opt.tsv, "we") : NULL;
    if (opt.tsv && !f)
        bn_die("%s: %s", opt.tsv, strerror(errno));
    if (f) {
        br_tsv_head(f);
        br_tsv(&speed, f);
        br_tsv(&start, f);
        fclose(f);
    }
    return 0;
}
