/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/lib/fe-shmem.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/lib/fe-time.h"

/* Back-end requests and what belongs to them; numbers of the vhost-user specification. */
enum { OBJECT_REMOVE = 7, SHMEM_MAP = 9, SHMEM_UNMAP = 10 };

#define NEED_REPLY 0x9u /* version 1, wants an answer */
#define REPLY      0x5u
#define LATE_MS    100
#define EARLY_MS   200
#define MAX_FDS    4

struct header {
    uint32_t request, flags, size;
} __attribute__((packed));

struct payload {
    uint8_t shmid, pad[7];
    uint64_t fd_offset, shm_offset, len, flags;
};

struct request {
    struct header h;
    union {
        struct payload map;
        uint8_t raw[256];
    };
    int fds[MAX_FDS];
    unsigned nfds;
};

/* ---- messages ---- */

static void close_all(struct request *r)
{
    for (unsigned i = 0; i < r->nfds; i++)
        close(r->fds[i]);
    r->nfds = 0;
}

/* Receive @len bytes, with what descriptors come. Returns false at the end. */
static bool receive(struct fe_shmem *s, void *buf, size_t len, struct request *r)
{
    for (size_t got = 0; got < len;) {
        char control[CMSG_SPACE(MAX_FDS * sizeof(int))];
        struct iovec iov = {(char *)buf + got, len - got};
        struct msghdr m = {.msg_iov = &iov,
                           .msg_iovlen = 1,
                           .msg_control = control,
                           .msg_controllen = sizeof(control)};
        ssize_t n = recvmsg(s->sock, &m, MSG_CMSG_CLOEXEC);
        if (n <= 0)
            return false;
        for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
            size_t cnt = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
            for (size_t i = 0; i < cnt && r->nfds < MAX_FDS; i++)
                memcpy(&r->fds[r->nfds++], CMSG_DATA(c) + i * sizeof(int), sizeof(int));
        }
        got += (size_t)n;
    }
    return true;
}

static bool receive_request(struct fe_shmem *s, struct request *r)
{
    memset(r, 0, sizeof(*r));
    return receive(s, &r->h, sizeof(r->h), r) && r->h.size <= sizeof(r->raw) &&
           receive(s, r->raw, r->h.size, r);
}

static void send_bytes(struct fe_shmem *s, const void *buf, size_t len)
{
    (void)!send(s->sock, buf, len, MSG_NOSIGNAL);
}

static void send_with_fds(struct fe_shmem *s, const void *buf, size_t len)
{
    int fds[2] = {s->channel, s->wake_fd};
    char control[CMSG_SPACE(sizeof(fds))] = {0};
    struct iovec iov = {(void *)buf, len};
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = control,
                       .msg_controllen = sizeof(control)};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(fds));
    memcpy(CMSG_DATA(c), fds, sizeof(fds));
    (void)!sendmsg(s->sock, &m, MSG_NOSIGNAL);
}

/* ---- the window ---- */

static bool overlaps(const struct fe_shmem_map *m, uint64_t offset, uint64_t len)
{
    return m->offset < offset + len && offset < m->offset + m->len;
}

static bool in_window(const struct fe_shmem *s, const struct payload *p)
{
    return p->shmid == 0 && p->len > 0 && p->shm_offset <= s->size &&
           p->len <= s->size - p->shm_offset;
}

/* A program that asks for this is wrong whatever a front-end says to it. */
static const char *what_is_wrong(const struct fe_shmem *s, const struct request *r)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    const struct payload *p = &r->map;
    if (r->h.flags != NEED_REPLY)
        return "flags";
    if (r->h.request == OBJECT_REMOVE)
        return r->h.size != 16 || r->nfds ? "shape of SHARED_OBJECT_REMOVE" : NULL;
    if (r->h.request != SHMEM_MAP && r->h.request != SHMEM_UNMAP)
        return "request";
    if (r->h.size != sizeof(*p) || r->nfds != (r->h.request == SHMEM_MAP))
        return "shape";
    if ((p->shm_offset | p->len | p->fd_offset) % page || !in_window(s, p) || p->flags > 1)
        return "range or flags of the mapping";
    return NULL;
}

/* Whether a front-end of this kind maps the file of @fd so. QEMU makes an empty file as long as it
 * needs it. */
static bool file_fits(struct fe_shmem *s, const struct payload *p, int fd, struct stat *st)
{
    bool readonly = (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDWR;
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    if (fstat(fd, st) < 0 || !S_ISREG(st->st_mode))
        return false;
    uint64_t size = (uint64_t)st->st_size;
    if (s->kind == FE_SHMEM_QEMU) {
        if (readonly)
            return false;
        if (size == 0) {
            s->grown++;
            return ftruncate(fd, (off_t)(p->fd_offset + p->len)) == 0;
        }
        return p->fd_offset + p->len <= size;
    }
    return !(readonly && (p->flags & 1)) &&
           p->fd_offset + p->len <= (size + page - 1) / page * page;
}

/* The lock is held, as for all below that change the table. */
static bool map(struct fe_shmem *s, const struct payload *p, int fd)
{
    struct stat st;
    bool rw = s->kind == FE_SHMEM_QEMU || (p->flags & 1);
    if (s->nmaps == FE_SHMEM_MAPS)
        return false;
    for (unsigned i = 0; i < s->nmaps; i++) {
        if (overlaps(&s->map[i], p->shm_offset, p->len))
            return false;
    }
    if (!file_fits(s, p, fd, &st) ||
        mmap(s->window + p->shm_offset, p->len, PROT_READ | (rw ? PROT_WRITE : 0),
             MAP_SHARED | MAP_FIXED, fd, (off_t)p->fd_offset) == MAP_FAILED)
        return false;
    s->map[s->nmaps++] =
        (struct fe_shmem_map){p->shm_offset, p->len, p->fd_offset, st.st_dev, st.st_ino, rw};
    return true;
}

/* Zeroes again. */
static void clear(struct fe_shmem *s, uint64_t offset, uint64_t len)
{
    if (mmap(s->window + offset, len, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED)
        perror("fe-shmem: window");
}

static bool unmap(struct fe_shmem *s, const struct payload *p)
{
    for (unsigned i = 0; i < s->nmaps; i++) {
        struct fe_shmem_map *m = &s->map[i];
        if (m->offset != p->shm_offset || (s->kind == FE_SHMEM_QEMU && m->len != p->len))
            continue;
        clear(s, m->offset, m->len);
        *m = s->map[--s->nmaps];
        return true;
    }
    return false;
}

/* ---- serving ---- */

/* Returns the answer's value. */
static uint64_t serve(struct fe_shmem *s, struct request *r, enum fe_shmem_fault fault)
{
    bool done = false;
    const char *wrong = what_is_wrong(s, r);
    if (wrong) {
        s->malformed++;
        fprintf(stderr, "fe-shmem: request %u: wrong %s\n", r->h.request, wrong);
    }
    s->maps += r->h.request == SHMEM_MAP;
    s->unmaps += r->h.request == SHMEM_UNMAP;
    s->others += r->h.request != SHMEM_MAP && r->h.request != SHMEM_UNMAP;
    s->while_suspended += s->suspended;
    if (wrong || fault == FE_SHMEM_REFUSE)
        done = false;
    else if (r->h.request == SHMEM_MAP)
        done = fault != FE_SHMEM_REFUSE_MAP && map(s, &r->map, r->fds[0]);
    else if (r->h.request == SHMEM_UNMAP)
        done = unmap(s, &r->map);
    s->refused += !done && r->h.request != OBJECT_REMOVE;
    return !done;
}

static void answer(struct fe_shmem *s, uint32_t request, uint64_t value, enum fe_shmem_fault fault)
{
    struct {
        struct header h;
        uint64_t value;
    } __attribute__((packed)) a = {{request, REPLY, sizeof(value)}, value};

    switch (fault) {
    case FE_SHMEM_WRONG_REQUEST:
        a.h.request = request + 1;
        break;
    case FE_SHMEM_WRONG_FLAGS:
        a.h.flags = 1;
        break;
    case FE_SHMEM_WRONG_SIZE:
        a.h.size = 4;
        break;
    case FE_SHMEM_TWICE:
        send_bytes(s, &a, sizeof(a));
        break;
    case FE_SHMEM_FDS:
        send_with_fds(s, &a, sizeof(a));
        return;
    case FE_SHMEM_BYTES:
        for (size_t i = 0; i < sizeof(a); i++) {
            send_bytes(s, (const char *)&a + i, 1);
            usleep(500);
        }
        return;
    case FE_SHMEM_CLOSE_HALF:
        send_bytes(s, &a, sizeof(a) / 2);
        shutdown(s->sock, SHUT_RDWR);
        return;
    case FE_SHMEM_CLOSE:
        shutdown(s->sock, SHUT_RDWR);
        return;
    default:
        break;
    }
    send_bytes(s, &a, a.h.size + sizeof(a.h));
}

/* The fault for the request at hand. The lock is held. */
static enum fe_shmem_fault next_fault(struct fe_shmem *s)
{
    if (s->good_first == 0)
        return s->fault;
    s->good_first--;
    return FE_SHMEM_GOOD;
}

/* The lock is held. */
static void wait_released(struct fe_shmem *s)
{
    while (!s->released && !s->quit)
        pthread_cond_wait(&s->changed, &s->lock);
    s->released = false;
}

/* One request. Returns false when there are no more. */
static bool serve_one(struct fe_shmem *s)
{
    struct request r;
    char next;
    bool more = receive_request(s, &r);
    if (more) {
        pthread_mutex_lock(&s->lock);
        enum fe_shmem_fault fault = next_fault(s);
        bool early = fault == FE_SHMEM_EARLY && r.h.request == SHMEM_MAP;
        if (early) {
            answer(s, r.h.request, 0, fault);
            pthread_mutex_unlock(&s->lock); /* who looks now sees nothing yet */
            usleep(EARLY_MS * 1000);
            pthread_mutex_lock(&s->lock);
        }
        uint64_t value = serve(s, &r, fault);
        pthread_cond_broadcast(&s->changed);
        if (fault == FE_SHMEM_SILENT)
            wait_released(s);
        pthread_mutex_unlock(&s->lock);
        if (fault == FE_SHMEM_LATE)
            usleep(LATE_MS * 1000);
        pthread_mutex_lock(&s->lock);
        s->overlapped += !early && recv(s->sock, &next, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
        pthread_mutex_unlock(&s->lock);
        if (!early)
            answer(s, r.h.request, value, fault);
    }
    close_all(&r);
    return more;
}

static void *run(void *arg)
{
    struct fe_shmem *s = arg;
    bool more = true;
    while (more) {
        struct pollfd p[2] = {{s->wake_fd, POLLIN, 0}, {s->sock, POLLIN, 0}};
        poll(p, 2, -1);
        pthread_mutex_lock(&s->lock);
        if (s->fault == FE_SHMEM_FREEZE && !s->quit)
            wait_released(s);
        more = !s->quit;
        pthread_mutex_unlock(&s->lock);
        if (more && p[1].revents)
            more = serve_one(s);
    }
    return NULL;
}

/* ---- what tests say ---- */

int fe_shmem_start(struct fe_shmem *s, enum fe_shmem_kind kind, uint64_t size)
{
    int sv[2];
    memset(s, 0, sizeof(*s));
    s->kind = kind;
    s->size = size;
    s->window = mmap(NULL, size, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (s->window == MAP_FAILED || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv) < 0)
        return -errno;
    s->sock = sv[0];
    s->channel = sv[1];
    s->wake_fd = eventfd(0, EFD_CLOEXEC);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    return -pthread_create(&s->thread, NULL, run, s);
}

void fe_shmem_stop(struct fe_shmem *s)
{
    pthread_mutex_lock(&s->lock);
    s->quit = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    shutdown(s->sock, SHUT_RDWR);
    eventfd_write(s->wake_fd, 1);
    pthread_join(s->thread, NULL);
    close(s->sock);
    close(s->channel);
    close(s->wake_fd);
    munmap(s->window, s->size);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
}

void fe_shmem_set_fault(struct fe_shmem *s, enum fe_shmem_fault fault, unsigned good_first)
{
    pthread_mutex_lock(&s->lock);
    s->released = s->fault == FE_SHMEM_SILENT || s->fault == FE_SHMEM_FREEZE;
    s->fault = fault;
    s->good_first = good_first;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

void fe_shmem_release(struct fe_shmem *s)
{
    pthread_mutex_lock(&s->lock);
    s->released = true;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

uint8_t *fe_shmem_at(struct fe_shmem *s, uint64_t offset)
{
    pthread_mutex_lock(&s->lock);
    uint8_t *at = s->window + offset;
    pthread_mutex_unlock(&s->lock);
    return at;
}

void fe_shmem_suspend(struct fe_shmem *s, bool suspended)
{
    pthread_mutex_lock(&s->lock);
    s->suspended = suspended;
    pthread_mutex_unlock(&s->lock);
}

void fe_shmem_reset(struct fe_shmem *s)
{
    pthread_mutex_lock(&s->lock);
    clear(s, 0, s->size);
    s->nmaps = 0;
    pthread_mutex_unlock(&s->lock);
}

unsigned fe_shmem_get(struct fe_shmem *s, const unsigned *field)
{
    pthread_mutex_lock(&s->lock);
    unsigned n = *field;
    pthread_mutex_unlock(&s->lock);
    return n;
}

unsigned fe_shmem_requests(struct fe_shmem *s)
{
    pthread_mutex_lock(&s->lock);
    unsigned n = s->maps + s->unmaps + s->others;
    pthread_mutex_unlock(&s->lock);
    return n;
}

bool fe_shmem_wait(struct fe_shmem *s, unsigned n, int ms)
{
    for (int64_t end = fe_now_ms() + ms; fe_shmem_requests(s) < n; usleep(1000)) {
        if (fe_now_ms() > end)
            return false;
    }
    return true;
}

bool fe_shmem_find(struct fe_shmem *s, uint64_t offset, struct fe_shmem_map *out)
{
    bool found = false;
    pthread_mutex_lock(&s->lock);
    for (unsigned i = 0; i < s->nmaps && !found; i++) {
        found = s->map[i].offset == offset;
        if (found)
            *out = s->map[i];
    }
    pthread_mutex_unlock(&s->lock);
    return found;
}
