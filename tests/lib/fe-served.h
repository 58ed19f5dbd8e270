/* SPDX-License-Identifier: BSD-3-Clause
 * A FUSE file system that stops answering: one file, "f", of 16 MiB, which is served by a thread of
 * ours until it is told to read requests and say nothing, or not to read them; or one that has
 * written nothing when it is closed. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

enum fe_served_how {
    FE_SERVED_WELL,    /* each request is answered, READ with zeroes */
    FE_SERVED_TAKEN,   /* requests are read and never answered: who waits cannot even be killed */
    FE_SERVED_IGNORED, /* nor read */
    FE_SERVED_FULL     /* well, but each FLUSH is EDQUOT */
};

struct fe_served {
    int fd, wake[2];
    char at[128];
    atomic_int how;
    atomic_uint taken; /* requests that were read and not answered */
    pthread_t thread;
};

/* Mount it at @dir, in this mount namespace. Returns 0, or -errno where that cannot be done. */
int fe_served_mount(struct fe_served *s, const char *dir);
/* Serve differently from now on. */
void fe_served_set(struct fe_served *s, enum fe_served_how how);
/* Unmount; whoever waits gets an error. */
void fe_served_unmount(struct fe_served *s);
