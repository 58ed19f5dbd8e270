/* SPDX-License-Identifier: BSD-3-Clause
 * Up: the directory above one, as long as that is of the share. A host process may have moved the
 * directory out since the guest looked it up.
 *
 * Where the share is the root of a mount (always with --sandbox=namespace), the kernel knows: it
 * refuses to go up to a directory that is not below the root of its mount, so whatever is on the
 * root's mount is of the share. Landlock, where we are under it, lets nothing be listed that is not
 * below the share. Else the proof is that so many levels up lies the root. Near it each level is
 * looked at. Farther away that would take a deep tree milliseconds: there the levels up to the top
 * of all that we can see are counted, for the directory and for the root, many in one system call,
 * and the difference leads to the root or not. Counting is only a guess, the last step is the
 * proof.
 *
 * On a mount of a part of a file system the kernel looks at all levels above for each level that it
 * goes up. So the time of the last way is bounded, not the depth. */
/* #syscalls close dup openat */
#include "virtiofsd/tree/host-priv.h"

#include <time.h>

#define NEAR      16     /* levels that are looked at one by one */
#define LEAP_MIN  16u    /* levels in one system call: at first, */
#define LEAP_MAX  512u   /* and while it takes no longer than LEAP_NS */
#define LEAP_NS   20000  /* of processor time */
#define BUDGET_NS 800000 /* of processor time for one lookup */
#define TRIES     2      /* a level may come or go while we count */
#define UP        "../"
#define UP8       UP UP UP UP UP UP UP UP
#define UP64      UP8 UP8 UP8 UP8 UP8 UP8 UP8 UP8
#define UP512     UP64 UP64 UP64 UP64 UP64 UP64 UP64 UP64

struct climb {
    struct statx root, top; /* the share's root, and the top of all that can be seen from it */
    int64_t end;            /* processor time of this thread, in nanoseconds */
};

static bool same_place(const struct statx *a, const struct statx *b)
{
    return a->stx_ino == b->stx_ino && a->stx_dev_major == b->stx_dev_major &&
           a->stx_dev_minor == b->stx_dev_minor && a->stx_mnt_id == b->stx_mnt_id;
}

static int64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* What lies @levels (LEAP_MAX at most) above @fd, and its attributes. The topmost directory is its
 * own parent. Returns an O_PATH descriptor or -errno. */
static int leap(int fd, unsigned levels, struct statx *stx)
{
    static const char path[] = UP512;
    AUTO_FD int up = openat(fd, levels ? path + sizeof(path) - 1 - 3 * (size_t)levels : ".",
                            O_PATH | O_DIRECTORY | O_CLOEXEC);
    int rc = up < 0 ? host_open_errno() : host_statx_at(up, "", stx);
    return rc < 0 ? rc : steal_fd(&up);
}

/* One leap more: *fd, whose attributes are *here, moves up. -ESTALE when there is no time left. */
static int go_up(const struct climb *c, int *fd, unsigned *levels, struct statx *here)
{
    int64_t start = cpu_ns();
    if (start >= c->end)
        return -ESTALE;
    int up = leap(*fd, *levels, here);
    if (up < 0)
        return up;
    close(*fd);
    *fd = up;
    if (*levels < LEAP_MAX && cpu_ns() - start < LEAP_NS)
        *levels *= 2;
    return 0;
}

/* The number of levels, of at most @most, that lead from @fd to the top. */
static int levels_within(const struct climb *c, int fd, unsigned most)
{
    unsigned low = 0; /* not the top */
    AUTO_FD int at = dup(fd);

    if (at < 0)
        return host_open_errno();
    while (most - low > 1) {
        struct statx here;
        unsigned mid = low + (most - low) / 2;
        AUTO_FD int up = leap(at, mid - low, &here);
        if (up < 0)
            return up;
        if (same_place(&here, &c->top)) {
            most = mid;
        } else {
            low = mid;
            int old = at;
            at = up;
            up = old;
        }
    }
    return (int)most;
}

/* A directory *below levels above *fd takes the place of that. Returns how many levels lead from
 * there to the top, or -errno; -ESTALE: another top, or no time. @stx: attributes of *fd. */
static int count_levels(const struct climb *c, int *fd, const struct statx *stx, unsigned *below)
{
    struct statx before, here = *stx;
    unsigned step = LEAP_MIN;
    AUTO_FD int at = dup(*fd);

    *below = 0;
    if (at < 0)
        return host_open_errno();
    for (;;) {
        unsigned levels = step;
        before = here;
        int rc = go_up(c, &at, &step, &here);
        if (rc < 0)
            return rc;
        if (same_place(&here, &c->top))
            return levels_within(c, *fd, levels);
        if (same_place(&here, &before))
            return -ESTALE;
        close(*fd);
        *fd = dup(at);
        *below += levels;
        if (*fd < 0)
            return host_open_errno();
    }
}

/* Whether the root lies @levels above @fd: that is the proof. */
static int find_root(const struct climb *c, int fd, unsigned levels)
{
    struct statx here = {0};
    AUTO_FD int at = dup(fd);

    if (at < 0)
        return host_open_errno();
    for (unsigned step = LEAP_MIN, n; levels > 0; levels -= n) {
        n = MIN(step, levels);
        unsigned now = n;
        int rc = go_up(c, &at, &now, &here);
        if (rc < 0)
            return rc;
        step = n < step ? step : now;
    }
    return same_place(&here, &c->root) ? 0 : -ESTALE;
}

/* The top that is seen from the root, and how far that is. */
static int find_top(struct climb *c, int root_fd)
{
    struct statx here = c->root, above;
    AUTO_FD int at = dup(root_fd);

    for (unsigned levels = 0; at >= 0; levels++) {
        if (cpu_ns() >= c->end)
            return -ESTALE;
        int up = leap(at, 1, &above);
        if (up < 0)
            return up;
        close(at);
        at = up;
        if (same_place(&here, &above)) {
            c->top = here;
            return (int)levels;
        }
        here = above;
    }
    return host_open_errno();
}

static int far_below_root(struct climb *c, int root_fd, int fd, const struct statx *stx)
{
    int rc = -ESTALE;

    for (unsigned i = 0; i < TRIES && rc == -ESTALE && cpu_ns() < c->end; i++) {
        AUTO_FD int at = dup(fd);
        int high = at < 0 ? host_open_errno() : find_top(c, root_fd);
        unsigned below = 0;
        int low = high < 0 ? high : count_levels(c, &at, stx, &below);
        if (low < 0)
            rc = low;
        else if (low > high)
            rc = find_root(c, at, (unsigned)(low - high));
        else if (low + (int)below > high) /* we are above the root already */
            rc = find_root(c, fd, (unsigned)(low - high) + below);
    }
    return rc;
}

/* Whether the kernel's own limit lets us list @fd: then it is of the share. */
static bool inside_fence(const struct host *h, int fd)
{
    AUTO_FD int real = h->fenced ? openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    return real >= 0;
}

/* Whether directory @fd, whose attributes are @stx, lies below the root or is it. */
static int check_below_root(struct host *h, int fd, const struct statx *stx)
{
    struct climb c = {.end = cpu_ns() + BUDGET_NS};
    struct statx here = *stx, above;
    int root_fd = host_fd(h, h->root);
    int rc = root_fd < 0 ? root_fd : host_statx_at(root_fd, "", &c.root);
    AUTO_FD int at = rc < 0 ? -1 : dup(fd);

    if (at < 0)
        return rc < 0 ? rc : host_open_errno();
    for (unsigned level = 0; level < NEAR; level++) {
        if (same_place(&here, &c.root))
            return 0;
        int up = leap(at, 1, &above);
        if (up < 0)
            return up;
        close(at);
        at = up;
        if (same_place(&above, &here)) /* the top of what we can see, and it was not the root */
            return -ESTALE;
        here = above;
    }
    return same_place(&here, &c.root) ? 0 : far_below_root(&c, root_fd, at, &here);
}

bool host_is_inside(struct host *h, int fd, const struct statx *stx)
{
    return check_below_root(h, fd, stx) == 0;
}

static bool on_roots_mount(const struct host *h, const struct statx *stx)
{
    return h->root_is_mount && (stx->stx_mask & STATX_MNT_ID) &&
           stx->stx_mnt_id == h->root->mnt->mnt_id;
}

int host_up(struct tree *t, struct tree_node *dir, struct tree_found *out)
{
    struct host *h = host_of(t);
    int from = host_fd(h, dir);
    if (from < 0)
        return from;
    struct statx stx;
    AUTO_FD int fd = leap(from, 1, &stx);
    if (fd < 0)
        return fd;
    int rc = 0;
    if (!on_roots_mount(h, &stx) && !inside_fence(h, fd)) {
        bool search =
            host_search_begin(); /* on the way to the root nobody has asked for anything */
        rc = check_below_root(h, fd, &stx);
        if (search)
            host_search_end();
    }
    return rc < 0 ? rc : host_found_stx(h, steal_fd(&fd), &stx, out);
}
