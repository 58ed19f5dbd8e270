/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/wire/wire-move.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MEM_SIZE0 (4u << 20)
#define MEM_BUFS  (32u << 20)

void move_mount_with(struct wire *w, const char *const *extra)
{
    wire_spawn(w, extra);
    wire_connect(w);
    assert_int_equal(fe_mem_init(&w->mem, MEM_SIZE0, MEM_BUFS, MEM_BUFS), 0);
    assert_int_equal(fe_move_start(&w->v, &w->mem, 2, WIRE_QUEUE), 0);
    assert_true(w->v.proto & VU_PF_DEVICE_STATE);
    fe_fuse_init(&w->f, &w->v);
    assert_int_equal(fe_init(&w->f, fe_init_linux), 0);
}

int move_mount(void **state)
{
    struct wire *w = *state;
    move_mount_with(w, w->options);
    return 0;
}

void move_save(struct wire *w, struct fe_state *s)
{
    assert_int_equal(fe_move_stop(&w->v), 0);
    assert_int_equal(fe_move_save(&w->v, s), 0);
}

int move_to(struct wire *w, const struct fe_state *s, const char *const *extra,
            struct fe_daemon *old)
{
    struct wire *next = calloc(1, sizeof(*next));
    *next = *w;
    size_t len = strlen(next->socket); /* two names by turns */
    bool plus = next->socket[len - 1] == '+';
    assert_true(len + 2 < sizeof(next->socket));
    strcpy(next->socket + len - plus, plus ? "" : "+");
    next->d = (struct fe_daemon){.pid = -1, .log_fd = -1};
    wire_spawn(next, extra);
    next->v.sock = fe_daemon_connect(&next->d, next->socket, FE_TIMEOUT_MS);
    assert_true(next->v.sock >= 0);
    int e = fe_move_arrive(&next->v, s, NULL);
    if (e) {
        char *log = fe_daemon_log(&next->d);
        print_message("%s", log);
        free(log);
        close(next->v.sock);
        fe_daemon_stop(&next->d);
        unlink(next->socket);
        free(next);
        return e;
    }
    close(w->v.sock);
    if (old)
        *old = w->d;
    else
        fe_daemon_stop(&w->d);
    unlink(w->socket);
    w->v = next->v;
    w->d = next->d;
    memcpy(w->socket, next->socket, sizeof(w->socket));
    free(next);
    return 0;
}

void move(struct wire *w, const char *const *extra)
{
    struct fe_state s;
    move_save(w, &s);
    assert_int_equal(move_to(w, &s, extra ? extra : w->options, NULL), 0);
    free(s.bytes);
}
