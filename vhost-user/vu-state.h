/* SPDX-License-Identifier: BSD-3-Clause
 * Moving the device's state by DEVICE_STATE: one transfer at a time, while all rings rest.
 * vhost-user specification, "Migrating back-end state". */
#pragma once

#include <pthread.h>
#include <stdbool.h>

struct vu_dev;

struct vu_state {
    bool begun; /* and not checked yet: rings do not start */
    bool has_thread;
    pthread_t thread;
    bool save;
    int fd;      /* the front-end's, taken over; the thread closes it */
    int done_fd; /* eventfd: the thread has ended */
    int stop_fd; /* eventfd: it shall */
    int result;  /* 0 or -errno */
};

void vu_state_init(struct vu_state *s);
void vu_state_fini(struct vu_state *s);
/* End a transfer whose result nobody will ask for. May wait for what the device does just then. */
void vu_state_cancel(struct vu_dev *dev);
