/* SPDX-License-Identifier: BSD-3-Clause
 * Fuzz target: messages of a daemon that was taken over to its broker. A record is one message: how
 * many descriptors come with it, where its bytes begin, how many they are, the bytes. They are laid
 * over a request that would be taken, which may be one for an opening with a code that is right.
 * Whatever is opened must be what was signed: the one file, or the directory. */
#include <fcntl.h>
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sandbox/sb-handles.h"
#include "tests/fuzz/target.h"

enum { KINDS = 4 };

static struct file {
    int fd; /* O_PATH */
    struct stat st;
} mine[2];
static int top = -1, others[2];

static void prepare(void)
{
    char dir[] = "/tmp/fuzz-broker.XXXXXX";
    if (!mkdtemp(dir))
        abort();
    top = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int file = openat(top, "file", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    mine[0].fd = openat(top, "file", O_PATH | O_CLOEXEC);
    mine[1].fd = open(dir, O_PATH | O_CLOEXEC);
    if (file < 0 || pipe2(others, O_CLOEXEC) != 0)
        abort();
    close(file);
    for (unsigned i = 0; i < 2; i++)
        if (fstat(mine[i].fd, &mine[i].st) != 0)
            abort();
    unlinkat(top, "file", 0); /* our descriptor keeps it */
    rmdir(dir);
}

static bool is_mine(int fd)
{
    struct stat st;
    if (fstat(fd, &st) != 0 || !(fcntl(fd, F_GETFL) & O_PATH))
        return false;
    for (unsigned i = 0; i < 2; i++)
        if (st.st_dev == mine[i].st.st_dev && st.st_ino == mine[i].st.st_ino)
            return true;
    return false;
}

static int pick(unsigned kind)
{
    const int fds[KINDS] = {mine[1].fd, top, mine[0].fd, others[0]};
    return dup(fds[kind % KINDS]);
}

static void check(const struct broker_reply *r, size_t len, int fd, uint32_t op)
{
    if (len != broker_reply_len(r->n) || r->n > BROKER_BATCH || r->error < 0 ||
        (fd >= 0) != (r->error == 0 && op == BROKER_OPEN))
        abort();
    for (unsigned i = 0; i < r->n; i++)
        if (r->h[i].error < 0 || r->h[i].h.bytes > MAX_HANDLE_SZ)
            abort();
    if (fd >= 0 && !is_mine(fd))
        abort();
}

/* What the next message is when no byte is changed. */
static void learn(struct broker_request *next, uint32_t op, const struct broker_reply *r)
{
    if (op == BROKER_MOUNT && r->error == 0)
        next->op = BROKER_SIGN;
    for (unsigned i = 0; i < r->n; i++)
        if (r->h[i].error == 0)
            *next = (struct broker_request){.op = BROKER_OPEN, .h = r->h[i].h};
}

static void send_one(struct sb_handles *h, struct broker_request *next, unsigned n, size_t from,
                     const uint8_t *bytes, size_t cnt)
{
    static struct broker_reply reply;
    struct {
        struct broker_request r;
        uint8_t more[64];
    } msg = {.r = *next};
    int fds[BROKER_BATCH], fd;
    size_t len = sizeof(msg.r);

    for (size_t i = 0; i < cnt && from + i < sizeof(msg); i++) {
        ((uint8_t *)&msg)[from + i] = bytes[i];
        len = MAX(len, from + i + 1);
    }
    if (from == UINT8_MAX)
        len = cnt; /* a short one */
    for (unsigned i = 0; i < MIN(n, BROKER_BATCH); i++)
        fds[i] = pick(n + i);
    size_t out = sb_handles_answer(h, &msg, len, fds, n, &reply, &fd);
    check(&reply, out, fd, msg.r.op);
    for (unsigned i = 0; i < MIN(n, BROKER_BATCH); i++)
        if (fds[i] >= 0)
            close(fds[i]);
    if (fd >= 0)
        close(fd);
    learn(next, msg.r.op, &reply);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t key[SB_HANDLES_KEY] = "of this fuzzer";
    struct broker_request next = {.op = BROKER_MOUNT};

    if (top < 0)
        prepare();
    struct sb_handles *h = sb_handles_new(key);
    if (!h)
        abort();
    for (size_t at = 0; at + 3 <= size;) {
        size_t cnt = MIN((size_t)data[at + 2], size - at - 3);
        send_one(h, &next, data[at] % (BROKER_BATCH + 2), data[at + 1], data + at + 3, cnt);
        at += 3 + cnt;
    }
    sb_handles_free(h);
    return 0;
}
