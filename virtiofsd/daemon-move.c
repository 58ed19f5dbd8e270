/* SPDX-License-Identifier: BSD-3-Clause */
#include "virtiofsd/daemon-move.h"

#include <errno.h>

#include "vhost-user/vu-dev.h"
#include "virtiofsd/base/log.h"
#include "virtiofsd/fuse/fuse-srv.h"

#define MOVE_TAKEN 48u
#define TAKEN_MAX  (256u * 32768u)

static void put_taken(GByteArray *out, const GArray *taken)
{
    for (guint i = 0; i < taken->len; i++) {
        const struct vu_taken *t = &g_array_index(taken, struct vu_taken, i);
        size_t r = record_open(out, MOVE_TAKEN);
        put_u32(out, t->ring);
        put_u32(out, t->head);
        record_close(out, r);
    }
}

static int get_taken(struct bytes stream, GArray *taken)
{
    struct record_view r;

    while (record_next(&stream, &r)) {
        if (r.kind != MOVE_TAKEN)
            continue;
        struct vu_taken t = {.ring = get_u32(&r.body)};
        t.head = get_u32(&r.body);
        if (r.body.bad || taken->len >= TAKEN_MAX)
            return -EINVAL;
        g_array_append_val(taken, t);
    }
    return 0;
}

/* Kinds that must be understood, and are not. */
static int check_kinds(struct bytes stream)
{
    struct record_view r;

    while (record_next(&stream, &r))
        if (r.kind & RECORD_NEEDED)
            return -EOPNOTSUPP;
    return 0;
}

int daemon_move_save(struct fuse_srv *fuse, const GArray *taken, GByteArray *out)
{
    gint64 begin = g_get_monotonic_time();
    struct fs_moved did;

    record_begin(out);
    int rc = fuse_srv_save(fuse, out, &did);
    if (rc < 0)
        return rc;
    put_taken(out, taken);
    record_end(out);
    log_info("the guest moves: %" G_GUINT64_FORMAT " files known, %" G_GUINT64_FORMAT
             " open, %" G_GUINT64_FORMAT " locks, %u requests that wait; written down in "
             "%" G_GINT64_FORMAT " ms",
             did.inodes, did.files, did.locks, taken->len, (g_get_monotonic_time() - begin) / 1000);
    return 0;
}

int daemon_move_load(struct fuse_srv *fuse, const uint8_t *bytes, size_t len, GArray *taken)
{
    gint64 begin = g_get_monotonic_time();
    struct fs_moved did = {0};
    g_autoptr(GByteArray) theirs = g_byte_array_new();
    struct bytes stream;
    int rc = 0;

    if (!record_is_stream(bytes, len)) {
        rc = fuse_srv_translate(fuse, bytes, len, theirs);
        bytes = theirs->data;
        len = theirs->len;
    }
    if (rc == 0)
        rc = record_check(bytes, len, &stream);

    if (rc == 0)
        rc = check_kinds(stream);
    if (rc == 0)
        rc = get_taken(stream, taken);
    if (rc == 0)
        rc = fuse_srv_load(fuse, stream, &did);
    if (rc < 0)
        return rc;
    log_info("a guest arrives: %" G_GUINT64_FORMAT " files known, %" G_GUINT64_FORMAT
             " open, %u requests that wait; found in %" G_GINT64_FORMAT " ms",
             did.inodes, did.files, taken->len, (g_get_monotonic_time() - begin) / 1000);
    return 0;
}
