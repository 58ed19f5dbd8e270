/* SPDX-License-Identifier: BSD-3-Clause
 * Fuzz target: sequences of 9P messages against the real server and the real core, on a tree in a
 * private, otherwise read-only mount namespace.
 *
 * Input: records of {u8 type, u8 flags, u8 fid, u8 out, u8 len, bytes[len]}. The fid's number goes
 * in front of the payload, so that sequences stay alive; flags choose what is made wrong about the
 * framing, and missing bytes of the fixed part are zero. */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/fuzz/core.h"
#include "tests/fuzz/fuse-tree.h"
#include "tests/fuzz/records.h"
#include "tests/fuzz/target.h"
#include "virtiofsd/9p/p9-priv.h"

enum { RECORD = 5, MAX_RECORDS = 64, BODY_MAX = 512, OUT_SIZE = 8192, FIDS = 6 };

/* What is made wrong about a request. */
enum {
    RAW = 1 << 0,       /* the body is the payload: nothing is completed */
    BAD_LEN = 1 << 1,   /* the size in the header is wrong */
    SMALL_OUT = 1 << 2, /* little room for the answer */
    SPLIT = 1 << 3,     /* segments meet elsewhere */
    NO_TAG = 1 << 4,
    SAME_TAG = 1 << 5,
};

static char share[64];
static struct fs *fs;
static struct p9_srv *srv;
static struct p9_conn *conn;
static atomic_uint completions;
static size_t completed;
static bool touched; /* the tree may have changed */

static void on_complete(struct chain *c, size_t len)
{
    if (len > c->out_len)
        abort();
    completed = len;
    atomic_fetch_add(&completions, 1);
}

static void on_flush(struct chain *c)
{
}

static const struct chain_ops ops = {on_complete, on_flush};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    char dir[32];

    fuzz_jail(dir, sizeof(dir));
    snprintf(share, sizeof(share), "%s/share", dir);
    fs = fuzz_core(share);
    struct p9_config cfg = {.fs = fs,
                            .max_msize = 65536,
                            .max_fids = 32,
                            .max_fids_all = 32,
                            .lock = true,
                            .squash_uid = UINT32_MAX,
                            .squash_gid = UINT32_MAX};
    srv = p9_srv_new(&cfg);
    conn = p9_conn_new(srv);
    return 0;
}

/* ---- requests ---- */

/* An answer has a good header, the request's tag, and an errno when it is an error. */
static void check_answer(uint8_t type, uint16_t tag, const uint8_t *out, size_t len)
{
    uint8_t head[P9_RLERROR_SIZE] = {0};
    struct p9_in in = {.p = head, .left = sizeof(head)};

    memcpy(head, out, MIN(len, sizeof(head)));
    uint32_t size = p9_get32(&in);
    uint8_t answer = p9_get8(&in);
    uint16_t answer_tag = p9_get16(&in);
    uint32_t err = p9_get32(&in);
    if (size != len || answer_tag != tag)
        abort();
    if (answer == P9_RLERROR ? len != P9_RLERROR_SIZE || err == 0 || err >= 4096
                             : answer != type + 1)
        abort();
}

/* Whether a message that succeeded may have changed something. */
static bool changes(uint8_t type, const uint8_t *body, size_t len)
{
    static const uint8_t harmless[] = {
        P9_TSTATFS,  P9_TREADLINK, P9_TGETATTR, P9_TXATTRWALK, P9_TREADDIR, P9_TFSYNC, P9_TLOCK,
        P9_TGETLOCK, P9_TVERSION,  P9_TATTACH,  P9_TFLUSH,     P9_TWALK,    P9_TREAD};

    if (type == P9_TLOPEN)
        return len >= 8 && body[5] & (P9_DOTL_TRUNC >> 8);
    return !memchr(harmless, type, sizeof(harmless));
}

/* Send one message from and to memory of exactly its size, so that ASan sees any step outside. */
static void send_message(const uint8_t *body, size_t body_len, uint8_t type, uint16_t tag,
                         uint32_t size, size_t out_len, size_t split)
{
    size_t len = P9_HEAD + body_len;
    uint8_t *msg = malloc(len), *out = malloc(out_len ? out_len : 1);
    if (!msg || !out)
        abort();
    p9_encode_head(msg, size, type, tag);
    if (body_len)
        memcpy(msg + P9_HEAD, body, body_len);
    split = MIN(split, len);
    struct iovec iin[2] = {{msg, split}, {msg + split, len - split}};
    struct iovec iout[2] = {{out, out_len / 3}, {out + out_len / 3, out_len - out_len / 3}};
    struct chain c = {
        .ops = &ops, .in = iin, .out = iout, .in_cnt = 2, .out_cnt = 2, .in_len = len};
    c.out_len = out_len;
    unsigned before = atomic_load(&completions);

    completed = 0;
    p9_conn_handle(conn, &c);
    if (atomic_load(&completions) == before)
        p9_conn_cancel(conn); /* a lock that waits: its end must answer */
    if (atomic_load(&completions) != before + 1)
        abort(); /* exactly one answer */
    if (out_len < P9_RLERROR_SIZE ? completed != 0 : completed < P9_HEAD)
        abort();
    if (completed > 0)
        check_answer(type, tag, out, completed);
    bool partly = type == P9_TSETATTR || type == P9_TLCREATE; /* also when it failed */
    if (completed > 0 && (out[4] != P9_RLERROR || partly) && type != P9_TCLUNK)
        touched |= changes(type, body, body_len);
    free(msg);
    free(out);
}

static void start_session(void)
{
    static const uint8_t version[] = {0, 32, 0, 0, 8, 0, '9', 'P', '2', '0', '0', '0', '.', 'L'};
    static const uint8_t attach[] = {0, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0};

    send_message(version, sizeof(version), P9_TVERSION, P9_NOTAG, P9_HEAD + sizeof(version), 100,
                 9);
    send_message(attach, sizeof(attach), P9_TATTACH, 1, P9_HEAD + sizeof(attach), 100, 9);
}

static void send_record(const uint8_t *r, const uint8_t *payload, size_t len)
{
    uint8_t type = r[0], flags = r[1], body[BODY_MAX] = {0};
    const struct p9_op *op = type < P9_TYPES && p9_ops[type].name ? &p9_ops[type] : NULL;
    size_t at = 0;

    if (op && !(flags & RAW) && type != P9_TVERSION && type != P9_TFLUSH) {
        body[0] = r[2] % FIDS;
        at = 4;
    }
    memcpy(body + at, payload, len);
    len += at;
    if (op && !(flags & RAW))
        len = MAX(len, op->fixed);
    if (type == P9_TWRITE && !(flags & RAW)) {
        uint32_t count = (uint32_t)(len - op->fixed);
        memcpy(body + 12, &count, sizeof(count)); /* little endian machines run this */
    }
    bool notag = type == P9_TVERSION ? !(flags & NO_TAG) : flags & NO_TAG;
    uint16_t tag = notag ? P9_NOTAG : flags & SAME_TAG ? 7 : r[3];
    uint32_t size = (uint32_t)(P9_HEAD + len) + (flags & BAD_LEN ? r[3] : 0);
    send_message(body, len, type, tag, size, flags & SMALL_OUT ? r[3] : OUT_SIZE,
                 flags & SPLIT ? r[3] : P9_HEAD);
}

/* ---- runs ---- */

static int lowest_free_fd(void)
{
    int fd = dup(STDERR_FILENO);
    if (fd < 0)
        abort();
    close(fd);
    return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int fd = lowest_free_fd();

    start_session();
    for (unsigned i = 0; i < MAX_RECORDS && size >= RECORD; i++) {
        const uint8_t *r = data;
        data += RECORD;
        size -= RECORD;
        size_t len = MIN(r[RECORD - 1], size);
        send_record(r, data, len);
        data += len;
        size -= len;
    }
    p9_conn_reset(conn);
    if (lowest_free_fd() != fd)
        abort(); /* a descriptor is left over */
    if (touched)
        fuse_tree_reset(share, 0);
    touched = false;
    return 0;
}

/* ---- mutation ---- */

static const struct records_shape *shape(void)
{
    static uint8_t kinds[P9_TYPES];
    static struct records_shape s = {.header = RECORD, .kinds = kinds};

    if (s.n_kinds > 0)
        return &s;
    for (unsigned type = 0; type < P9_TYPES; type++) {
        if (p9_ops[type].name)
            kinds[s.n_kinds++] = (uint8_t)type;
    }
    return &s;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed)
{
    return records_mutate(shape(), data, size, max, seed);
}

size_t LLVMFuzzerCustomCrossOver(const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size,
                                 uint8_t *out, size_t max, unsigned seed)
{
    return records_cross(shape(), a, a_size, b, b_size, out, max, seed);
}
