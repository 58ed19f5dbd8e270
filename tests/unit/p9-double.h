/* SPDX-License-Identifier: BSD-3-Clause
 * A double of the 9P server (virtiofsd/9p/p9-srv.h): what a message does is in its type. */
#pragma once

#include <pthread.h>
#include <stdbool.h>

#include "virtiofsd/9p/p9-srv.h"

enum {
    ECHO = 1,     /* attached; the message comes back, type + 1, 8 KiB of it if it is large */
    SLOW = 3,     /* as above, when `gate` is opened; occupies its thread */
    WAIT = 5,     /* answered when cancelled; occupies nothing */
    NOTHING = 7,  /* completed with 0 bytes */
    READ = 116,   /* as many bytes as it asks for */
    VERSION = 100 /* the message size becomes what it says */
};

#define HEADER 7
#define MSIZE  (256u * 1024)

/* All of the following is guarded by the lock; every change is broadcast. */
extern pthread_mutex_t double_lock;
extern pthread_cond_t double_changed;
extern bool double_gate;                   /* open: slow ones go on */
extern unsigned double_slow, double_conns; /* slow ones at work; connections not freed */
extern unsigned double_handled;
