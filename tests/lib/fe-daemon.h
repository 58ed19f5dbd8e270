/* SPDX-License-Identifier: BSD-3-Clause
 * A daemon process under test: start it, watch it, measure it, end it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct fe_daemon {
    pid_t pid;
    int log_fd; /* its stdout and stderr: a file without a name */
    char *socket;
};

/* Start @argv. @keep_fd (or -1) is inherited as the same number. The daemon is told to die with
 * us. Returns 0 or -errno. */
int fe_daemon_spawn(struct fe_daemon *d, char *const argv[], int keep_fd);

/* Connect to its listening socket @path; waits for the socket to appear.
 * Returns the descriptor, FE_EGONE when the daemon ended, or FE_ETIMEOUT. */
int fe_daemon_connect(struct fe_daemon *d, const char *path, int ms);

/* Wait for its end. Returns 0 and the wait status, or FE_ETIMEOUT. */
int fe_daemon_wait(struct fe_daemon *d, int *status, int ms);
/* End it: TERM, then KILL after a moment. Returns the wait status (or -1 if it was gone already).
 * Frees what the struct holds. */
int fe_daemon_stop(struct fe_daemon *d);
bool fe_daemon_alive(struct fe_daemon *d);

/* What it has printed so far; to be freed. */
char *fe_daemon_log(struct fe_daemon *d);
/* How often @text occurs in what it has printed. */
unsigned fe_daemon_log_count(struct fe_daemon *d, const char *text);

/* CPU time of the process and of all its children (a sandbox forks), in ns. */
uint64_t fe_daemon_cpu_ns(const struct fe_daemon *d);
/* Its memory in KiB without what it shares with us (guest RAM), children included. */
uint64_t fe_daemon_rss_kib(const struct fe_daemon *d);
/* Open descriptors, children included. */
unsigned fe_daemon_fds(const struct fe_daemon *d);
/* Let all its threads run on @cpu only, or everywhere with -1. */
void fe_daemon_pin(const struct fe_daemon *d, int cpu);
