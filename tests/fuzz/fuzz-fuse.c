/* SPDX-License-Identifier: BSD-3-Clause
 * Fuzz target: sequences of FUSE requests against the real server and the real core, on a tree in a
 * private, otherwise read-only mount namespace.
 *
 * Input: records of {u8 opcode, u8 flags, u8 node, u8 handle, u8 out, u8 len, bytes[len]}. Node and
 * handle pick among those the server gave out, so that sequences stay alive; flags choose what is
 * made wrong about the framing. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/lib/jail.h"
#include "virtiofsd/base/log.h"
#include "virtiofsd/fuse/fuse-priv.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LIVE = 16, OUT_MAX = 70000, RECORD = 6, MAX_RECORDS = 64 };

static struct fs *fs;
static struct fuse_srv *srv;

/* What the server gave out in this run. */
static uint64_t nodes[LIVE], handles[LIVE];
static unsigned n_nodes, n_handles;
static size_t completed;
static unsigned completions;

static void on_complete(struct chain *c, size_t len)
{
    if (len > c->out_len)
        abort();
    completed = len;
    __atomic_add_fetch(&completions, 1, __ATOMIC_SEQ_CST);
}

static void on_flush(struct chain *c)
{
}

static const struct chain_ops ops = {on_complete, on_flush};

static void make_tree(const char *dir)
{
    char path[256];

    for (int i = 0; i < 4; i++) {
        snprintf(path, sizeof(path), "%s/%c", dir, 'a' + i);
        FILE *f = fopen(path, "w");
        if (!f)
            abort();
        fprintf(f, "file %d\n", i);
        fclose(f);
    }
    snprintf(path, sizeof(path), "%s/d", dir);
    remove(path);
    if (mkdir(path, 0755) != 0)
        abort();
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    char dir[64];
    char cwd[4096];
    GError *err = NULL;

    if (!getcwd(cwd, sizeof(cwd)) || !jail_enter(dir, sizeof(dir), cwd)) {
        perror("private mount namespace");
        exit(77);
    }
    make_tree(dir);
    log_init(LOG_LVL_OFF, false);
    struct fs_config fc = {
        .root_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC),
        .proc_self_fd = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC),
        .mountinfo_fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC),
        .handles = FS_HANDLES_PREFER,
        .cache = FS_CACHE_AUTO,
        .xattr = true,
        .announce_submounts = true,
        .max_fds = 256,
        .max_lock_waiters = 4,
    };
    fs_thread_start();
    fs = fs_new(&fc, &err);
    if (!fs) {
        fprintf(stderr, "%s\n", err->message);
        exit(77);
    }
    struct fuse_srv_config sc = {
        .fs = fs,
        .sink_fd = open("/dev/null", O_WRONLY | O_CLOEXEC),
        .cache = FS_CACHE_AUTO,
        .timeout = 1,
        .negative_timeout = 1,
        .readdirplus = true,
        .posix_lock = true,
        .flock = true,
        .xattr = true,
        .killpriv_v2 = true,
        .announce_submounts = true,
        .security_ctx = true,
    };
    srv = fuse_srv_new(&sc);
    return 0;
}

/* Note ids and handles of an answer, so that later records can name them. */
static void learn(uint32_t opcode, const uint8_t *out, size_t len)
{
    struct fuse_out_header oh;
    struct fuse_entry_out entry;
    struct fuse_open_out open_out;
    size_t off = sizeof(oh);

    if (len < sizeof(oh))
        return;
    memcpy(&oh, out, sizeof(oh));
    if (oh.len != len)
        abort(); /* used length and header must agree */
    if (oh.error)
        return;
    bool creates = opcode == FUSE_CREATE || opcode == FUSE_TMPFILE;
    if ((creates || opcode == FUSE_LOOKUP || opcode == FUSE_MKDIR || opcode == FUSE_MKNOD ||
         opcode == FUSE_SYMLINK || opcode == FUSE_LINK) &&
        len >= off + sizeof(entry)) {
        memcpy(&entry, out + off, sizeof(entry));
        nodes[n_nodes++ % LIVE] = entry.nodeid;
        off += sizeof(entry);
    }
    if ((creates || opcode == FUSE_OPEN || opcode == FUSE_OPENDIR) &&
        len >= off + sizeof(open_out)) {
        memcpy(&open_out, out + off, sizeof(open_out));
        handles[n_handles++ % LIVE] = open_out.fh;
    }
}

/* Send one request from memory of exactly its size, so that ASan sees any over-read. */
static void send_request(const struct fuse_in_header *in, const uint8_t *body, size_t body_len,
                         size_t out_len, unsigned split)
{
    static uint8_t out[OUT_MAX];
    size_t len = sizeof(*in) + body_len;
    uint8_t *msg = malloc(len);
    if (!msg)
        abort();
    memcpy(msg, in, sizeof(*in));
    if (body_len)
        memcpy(msg + sizeof(*in), body, body_len);
    size_t cut = len > 1 ? split % len : 0;
    struct iovec iin[2] = {{msg, cut}, {msg + cut, len - cut}};
    struct iovec iout[2] = {{out, out_len / 3}, {out + out_len / 3, out_len - out_len / 3}};
    struct chain c = {
        .ops = &ops,
        .in = iin,
        .out = iout,
        .in_cnt = 2,
        .out_cnt = 2,
        .in_len = len,
        .out_len = out_len,
        .queue = 1,
    };
    unsigned before = __atomic_load_n(&completions, __ATOMIC_SEQ_CST);

    completed = 0;
    fuse_srv_handle(srv, &c);
    if (__atomic_load_n(&completions, __ATOMIC_SEQ_CST) == before)
        fs_locks_cancel(fs); /* a lock that waits: its end must answer */
    if (__atomic_load_n(&completions, __ATOMIC_SEQ_CST) != before + 1)
        abort(); /* exactly one answer */
    learn(in->opcode, out, completed);
    free(msg);
}

static void send_init(void)
{
    struct fuse_in_header in = {.opcode = FUSE_INIT, .unique = 1};
    struct fuse_init_in init = {
        .major = FUSE_KERNEL_VERSION, .minor = 38, .flags = 0xffffffffu, .flags2 = 0xffffffffu};

    in.len = sizeof(in) + sizeof(init);
    send_request(&in, (const uint8_t *)&init, sizeof(init), 4096, 40);
}

static bool takes_handle(uint32_t opcode)
{
    switch (opcode) {
    case FUSE_READ:
    case FUSE_WRITE:
    case FUSE_RELEASE:
    case FUSE_RELEASEDIR:
    case FUSE_FSYNC:
    case FUSE_FSYNCDIR:
    case FUSE_FLUSH:
    case FUSE_READDIR:
    case FUSE_READDIRPLUS:
    case FUSE_LSEEK:
    case FUSE_FALLOCATE:
    case FUSE_GETLK:
    case FUSE_SETLK:
    case FUSE_SETLKW:
    case FUSE_COPY_FILE_RANGE:
    case FUSE_COPY_FILE_RANGE_64:
        return true;
    default:
        return false;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t body[512];

    n_nodes = n_handles = 0;
    memset(nodes, 0, sizeof(nodes));
    memset(handles, 0, sizeof(handles));
    nodes[n_nodes++] = FS_ROOT_ID;
    send_init();
    for (unsigned i = 0; i < MAX_RECORDS && size >= RECORD; i++) {
        uint8_t op = data[0], flags = data[1], node = data[2], handle = data[3], outs = data[4];
        size_t len = data[5];
        data += RECORD;
        size -= RECORD;
        len = MIN(len, size);
        memset(body, 0, sizeof(body));
        /* The fixed part starts as zeroes with a live handle; the input is laid over it. */
        memcpy(body, data, len);
        data += len;
        size -= len;
        const struct fuse_op *row = op < FUSE_WIRE_OPS ? &fuse_ops[op] : NULL;
        size_t body_len = flags & 1 || !row ? len : MAX(len, (size_t)row->fixed + row->strings);
        if (takes_handle(op) && !(flags & 2))
            memcpy(body, &handles[handle % LIVE], sizeof(handles[0]));
        struct fuse_in_header in = {
            .len = (uint32_t)(sizeof(in) + body_len),
            .opcode = op,
            .unique = i + 2,
            .nodeid = flags & 4 ? node : nodes[node % LIVE],
            .uid = flags & 8 ? 1000 : 0,
            .gid = flags & 8 ? 1000 : 0,
            .total_extlen = flags & 16 ? handle : 0,
        };
        if (flags & 32)
            in.len += node;
        send_request(&in, body, body_len, flags & 64 ? outs : 8192, flags & 128 ? outs : 40);
    }
    fuse_srv_reset(srv);
    return 0;
}
