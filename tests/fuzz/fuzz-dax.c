/* SPDX-License-Identifier: BSD-3-Clause
 * Fuzz target: what a guest, the host and requests do to the DAX window, in any order, on a
 * front-end with QEMU's rules. After every step that would show the guest a file, what is mapped of
 * it must read as the file does; and what the guest stored must have reached it. */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "dax/dax-window.h"
#include "tests/fuzz/target.h"

enum { PAGE = 4096, PAGES = 512, WINDOW = PAGE * PAGES, FILES = 3, FILE_MAX = 24 * PAGE, STEP = 6 };

/* A page of the window: which page of which descriptor's file the guest finds there. The pages of
 * one message share a descriptor. */
static struct page {
    int fd;                   /* -1: nothing */
    uint64_t pos, start, len; /* start and length of its message */
} pages[PAGES];

/* What the guest asked for, by its first page; len 0: nothing. */
static struct slot {
    unsigned file, foffset, len; /* pages */
    bool write;
} slots[PAGES];

static int files[FILES]; /* the host's descriptors */
static struct dax_caps caps;
static unsigned refuse_in;

#define must(what)   \
    do {             \
        if (!(what)) \
            abort(); \
    } while (0)

static int front_map(void *user, int fd, uint64_t pos, uint64_t at, uint64_t len, bool writable)
{
    off_t size = lseek(fd, 0, SEEK_END);
    uint64_t end = caps.tail ? ((uint64_t)size + PAGE - 1) / PAGE * PAGE : (uint64_t)size;
    must(size > 0 && len > 0 && at + len <= WINDOW && (pos | at | len) % PAGE == 0);
    must(pos + len <= end && writable);
    if (refuse_in && --refuse_in == 0)
        return -EIO;
    for (uint64_t i = at / PAGE; i < (at + len) / PAGE; i++)
        must(pages[i].fd < 0);
    int own = dup(fd);
    for (uint64_t i = at / PAGE; i < (at + len) / PAGE; i++)
        pages[i] = (struct page){own, pos + i * PAGE - at, at, len};
    return 0;
}

static void drop(uint64_t from, uint64_t to)
{
    for (uint64_t i = from; i < to; i++) {
        if (pages[i].fd >= 0 && pages[i].start == i * PAGE)
            close(pages[i].fd);
        pages[i].fd = -1;
    }
}

static int front_unmap(void *user, uint64_t at, uint64_t len)
{
    const struct page *p = &pages[at / PAGE];
    must(at % PAGE == 0 && at < WINDOW);
    if (p->fd < 0 || p->start != at || p->len != len)
        return -ENOENT;
    drop(at / PAGE, (at + len) / PAGE);
    return 0;
}

static int front_commit(void *user)
{
    return refuse_in && --refuse_in == 0 ? -EIO : 0;
}

static int front_probe(void *user, struct dax_caps *out)
{
    *out = caps;
    return 0;
}

/* The file's pages in a slot are the guest's, byte by byte up to the file's end. */
static void check_slot(const struct slot *s, unsigned at)
{
    static uint8_t want[FILE_MAX + PAGE], got[FILE_MAX + PAGE];
    unsigned len = MIN(s->len, FILE_MAX / PAGE + 1);
    ssize_t n = pread(files[s->file], want, (size_t)len * PAGE, (off_t)s->foffset * PAGE);
    must(n >= 0);
    for (ssize_t i = 0; i < n;) { /* one message's pages at a time */
        const struct page *p = &pages[at + i / PAGE];
        must(p->fd >= 0);
        uint64_t left = p->start + p->len - (at * (uint64_t)PAGE + (uint64_t)i);
        size_t part = MIN((size_t)(n - i), (size_t)left);
        must(pread(p->fd, got, part, (off_t)p->pos) == (ssize_t)part);
        must(memcmp(want + i, got, part) == 0);
        i += (ssize_t)part;
    }
}

static void check_file(unsigned file)
{
    for (unsigned i = 0; i < PAGES; i++)
        if (slots[i].len && slots[i].file == file)
            check_slot(&slots[i], i);
}

/* What the guest forgets by a request for the range; false when a slot lies partly in it. */
static bool clear_slots(unsigned at, unsigned len)
{
    for (unsigned i = 0; i < PAGES; i++)
        if (slots[i].len && i < at + len && at < i + slots[i].len &&
            (i < at || i + slots[i].len > at + len))
            return false;
    for (unsigned i = at; i < MIN(at + len, PAGES); i++)
        slots[i].len = 0;
    return true;
}

static void do_map(struct dax_window *w, unsigned file, unsigned at, const uint8_t *arg)
{
    struct dax_request rq = {file, arg[0] % 26u * PAGE, at * PAGE, arg[1] % 40u * PAGE, arg[2] & 1};
    struct slot want = {file, arg[0] % 26u, arg[1] % 40u, arg[2] & 1};
    refuse_in = arg[2] >> 5; /* which of its messages fails */
    int rc = dax_map(w, &rq, dup(files[file]), true);
    refuse_in = 0;
    if (want.len == 0 || at + want.len > PAGES) {
        must(rc == -EINVAL);
        return;
    }
    struct slot old = slots[at];
    bool again = old.len == want.len && old.file == file && old.foffset == want.foffset;
    if (rc == -EINVAL) {
        must(!clear_slots(at, want.len));
        return;
    }
    if (again) { /* a failed upgrade leaves the right in doubt, not the bytes */
        slots[at].write |= want.write && rc == 0;
        return;
    }
    must(clear_slots(at, want.len));
    must(rc == 0 || rc == -EIO);
    if (rc == 0)
        slots[at] = want;
}

/* A guest's store: only where it may, below the file's end. It is written back at once, or at the
 * next look, before anyone changes the same byte. */
static void do_store(struct dax_window *w, unsigned at, const uint8_t *arg)
{
    const struct slot *s = &slots[at];
    if (s->len == 0 || !s->write)
        return;
    unsigned page = arg[0] % s->len;
    off_t pos = (off_t)(s->foffset + page) * PAGE + arg[1] * 16;
    if (pages[at + page].fd < 0 || pos >= lseek(files[s->file], 0, SEEK_END))
        return;
    must(pwrite(pages[at + page].fd, arg + 2, 1, (off_t)pages[at + page].pos + arg[1] * 16) == 1);
    if (arg[0] & 0x80) { /* the host, beside it */
        if (pos + 1 < lseek(files[s->file], 0, SEEK_END))
            must(pwrite(files[s->file], arg, 1, pos + 1) == 1);
        must(dax_changed(w, s->file) == 0);
    }
    must(dax_store(w, s->file) == 0);
    uint8_t got;
    must(pread(files[s->file], &got, 1, pos) == 1 && got == arg[2]);
    /* It was a host's change to another slot's private page of the same place. */
    must(dax_changed(w, s->file) == 0);
}

static void do_resize(struct dax_window *w, unsigned file, const uint8_t *arg)
{
    off_t size = (arg[0] | arg[1] << 8) % FILE_MAX;
    if (arg[2] & 1)
        size &= ~(off_t)(PAGE - 1);
    must(ftruncate(files[file], size) == 0);
    if (size && arg[2] & 2)
        must(pwrite(files[file], arg, 1, size - 1) == 1);
    must(dax_changed(w, file) == 0);
}

static void do_host_write(struct dax_window *w, unsigned file, const uint8_t *arg)
{
    struct dax_stamp stamp = {0};
    off_t pos = (arg[0] | arg[1] << 8) % FILE_MAX;
    must(pwrite(files[file], arg, 3, pos) == 3);
    stamp.size = (uint64_t)lseek(files[file], 0, SEEK_END);
    must(dax_revalidate(w, file, &stamp) == 0);
}

static void do_unmap(struct dax_window *w, unsigned at, unsigned len)
{
    int rc = dax_unmap(w, at * PAGE, (uint64_t)len * PAGE);
    if (at + len > PAGES)
        must(rc == -EINVAL);
    else if (len == 0)
        must(rc == 0);
    else
        must((rc == 0) == clear_slots(at, len));
}

static void step(struct dax_window *w, const uint8_t *d)
{
    unsigned file = d[0] / 8 % FILES, at = d[1] * 2u;
    switch (d[0] % 8) {
    case 0:
    case 1:
        do_map(w, file, at, d + 2);
        break;
    case 2:
        do_unmap(w, at, d[2]);
        break;
    case 3:
    case 4:
        do_store(w, at, d + 2);
        break;
    case 5:
        do_resize(w, file, d + 2);
        break;
    case 6:
        do_host_write(w, file, d + 2);
        break;
    default: /* the file, all, or the guest is reset */
        if (d[2] % 3 == 0)
            dax_unmap_file(w, file);
        else if (d[2] % 3 == 1)
            dax_unmap_all(w);
        else
            dax_window_forget(w, false);
        if (d[2] % 3 == 2)
            drop(0, PAGES);
        for (unsigned i = 0; i < PAGES; i++)
            if (d[2] % 3 || slots[i].file == file)
                slots[i].len = 0;
    }
    for (unsigned i = 0; i < FILES; i++)
        check_file(i);
}

static void nothing_left(struct dax_window *w)
{
    struct dax_counts c;
    dax_unmap_all(w);
    dax_window_counts(w, &c);
    must(c.slots == 0 && c.files == 0 && c.private_bytes == 0);
    for (unsigned i = 0; i < PAGES; i++)
        must(pages[i].fd < 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct dax_ops ops = {front_map, front_unmap, front_commit, front_probe};
    struct dax_config cfg = {.ops = &ops, .size = WINDOW, .granule = PAGE};
    struct dax_caps found;
    memset(slots, 0, sizeof(slots));
    for (unsigned i = 0; i < PAGES; i++)
        pages[i].fd = -1;
    for (unsigned i = 0; i < FILES; i++)
        files[i] = memfd_create("file", MFD_CLOEXEC);
    caps.tail = size && data[0] & 1;
    refuse_in = 0;
    struct dax_window *w = dax_window_new(&cfg);
    must(w && dax_window_start(w, &found) == 0);
    for (size_t i = 1; i + STEP <= size && i < 100 * STEP; i += STEP)
        step(w, data + i);
    nothing_left(w);
    dax_window_free(w);
    for (unsigned i = 0; i < FILES; i++)
        close(files[i]);
    return 0;
}
