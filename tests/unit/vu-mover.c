/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/vu-mover.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct mover mover;

static int on_save(void *user, const GArray *taken, GByteArray *out)
{
    mover.n_taken = taken->len;
    if (taken->len)
        memcpy(mover.taken, taken->data, taken->len * sizeof(struct vu_taken));
    if (mover.flood)
        g_byte_array_set_size(out, (guint)mover.flood);
    else
        g_byte_array_append(out, (const uint8_t *)mover.saved, (guint)strlen(mover.saved));
    return 0;
}

static int on_load(void *user, const uint8_t *bytes, size_t len, GArray *taken)
{
    assert_true(len < sizeof(mover.loaded));
    memcpy(mover.loaded, bytes, len);
    mover.loaded[len] = '\0';
    g_array_append_vals(taken, mover.taken, mover.n_taken);
    return mover.load_rc;
}

static void on_announce(void *user, bool on)
{
    mover.announced = mover.announced * 10 + (on ? 1 : 2);
}

/* What waits is put back, where it may. */
static void on_drain(void *user)
{
    struct peer *p = user;
    pthread_mutex_lock(&p->lock);
    unsigned kept = 0;
    for (unsigned i = 0; i < p->nheld; i++) {
        struct chain *c = p->held[i];
        if (chain_again(c))
            mover.taken_back++;
        else
            p->held[kept++] = c;
    }
    p->nheld = kept;
    pthread_mutex_unlock(&p->lock);
    peer_release(p);
}

int mover_setup(void **state)
{
    int rc = peer_setup(state);
    struct peer *p = *state;
    memset(&mover, 0, sizeof(mover));
    strcpy(mover.saved, "all that there is");
    mover.ops = peer_ops_hang_up;
    mover.ops.save = on_save;
    mover.ops.load = on_load;
    mover.ops.announce = on_announce;
    mover.ops.drain = on_drain;
    p->cfg.ops = &mover.ops;
    return rc;
}

int mover_file(size_t size)
{
    int fd = memfd_create("log", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    return fd;
}

void mover_set_log(struct peer *p, int fd)
{
    struct vu_wire_log l = {LOG_SIZE, LOG_OFF}, back = {0};
    peer_send(p, VU_SET_LOG_BASE, VU_VERSION, &l, sizeof(l), &fd, 1);
    assert_int_equal(peer_recv(p, VU_SET_LOG_BASE, &back, sizeof(back)), sizeof(back));
    assert_memory_equal(&back, &l, sizeof(l));
}
