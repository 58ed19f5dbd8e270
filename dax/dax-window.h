/* SPDX-License-Identifier: BSD-3-Clause
 * The DAX window: which pieces of which files the guest sees where. VIRTIO 1.2, 5.11.6.4 "Device
 * operation: DAX window"; FUSE_SETUPMAPPING and FUSE_REMOVEMAPPING.
 *
 * This module knows files only as a number (the guest's nodeid), a descriptor, a size and a stamp.
 * It never touches mapped memory: a file that the host shortens under a mapping faults elsewhere.
 *
 * A slot is what the guest asked for with one SETUPMAPPING. It has at most two parts:
 *
 *     |  real: the file's own pages  |  private: pages of our own  |
 *     moffset                        first page not whole in the file        moffset + len
 *
 * A front-end that cannot map a file's last, partial page (struct dax_caps.tail) gets the private
 * part in its place: pages of a memfd, a copy of the file's bytes, zeroes behind them. The memfd is
 * as large as the window and sparse, and the page for window offset X is at its offset X. The copy
 * is refreshed when the file was seen to change, and what the guest stored there is written back to
 * the file (byte by byte against a baseline copy, so that the host's own changes stay) at
 * each request that touches the file, and at the latest one timeout later. A part once private
 * stays so until its slot is removed: the guest may be using it. It is at most 2 MiB long, which is
 * all of a slot of Linux; in a longer slot, what the file grows by beyond it is mapped for real.
 *
 * Locks: `order` serialises what is said to the front-end and is held across a round trip; the
 * table's lock is short; each file has a lock of its own for its private pages. Order: order ->
 * file -> table. None of them is needed by the thread that answers the front-end, except in
 * dax_window_forget(), when nothing else runs. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct dax_window;

/* What the front-end was found to accept. */
struct dax_caps {
    bool readonly_fd; /* maps descriptors opened O_RDONLY */
    bool tail;        /* maps a file's last, partial page */
};

/* How to speak with the front-end. All may block for a round trip; 0 or -errno. */
struct dax_ops {
    int (*map)(void *user, int fd, uint64_t fd_offset, uint64_t window_offset, uint64_t len,
               bool writable);
    int (*unmap)(void *user, uint64_t window_offset, uint64_t len);
    /* Returns when everything mapped so far is in place for the guest, not only accepted. */
    int (*commit)(void *user);
    /* Find out what the front-end accepts. Called once, before the first map. */
    int (*probe)(void *user, struct dax_caps *caps);
    /* Whether the front-end has dropped all mappings by itself since this was asked last; may be
     * NULL. Does not block. */
    bool (*dropped)(void *user);
};

struct dax_config {
    const struct dax_ops *ops;
    void *user;
    uint64_t size;      /* bytes; a power of two, at least 2 MiB */
    uint64_t granule;   /* bytes: what offsets and lengths are multiples of; the page size */
    unsigned max_slots; /* most slots at once; 0 = size / 2 MiB, but at least 64 */
    unsigned max_files; /* most files mapped at once, a descriptor each; 0 = max_slots */
    double timeout;     /* seconds a private page may differ from its file; 0 = by requests only */
    void (*thread_start)(void *user); /* first call in the thread that does it; may be NULL */
    void *thread_user;                /* for thread_start */
};

/* A file as it was seen last: what changes when its bytes do. */
struct dax_stamp {
    uint64_t size;
    int64_t mtime_ns, ctime_ns;
};

/* NULL with errno when the sizes are not as above, or there is no memory file. */
struct dax_window *dax_window_new(const struct dax_config *cfg);
void dax_window_free(struct dax_window *w); /* nothing else runs; sends nothing */
uint64_t dax_window_size(const struct dax_window *w);

/* The guest said INIT: probe the front-end when that was not done yet on this connection. Returns 0
 * with *caps, or -errno: there is no window. */
int dax_window_start(struct dax_window *w, struct dax_caps *caps);

struct dax_request {
    uint64_t file;    /* the guest's number of the file */
    uint64_t foffset; /* in the file */
    uint64_t moffset; /* in the window */
    uint64_t len;
    bool write; /* the guest is going to store */
};

/* Map. @fd: the file, open O_RDWR (@fd_writable) or O_RDONLY, regular; taken over in any case.
 * All of the request is checked before anything is sent: -EINVAL (alignment, bounds, overflow,
 * partial overlap with a live slot, not a regular file), -ENOSPC (too many slots or files), -EACCES
 * (@write without a writable descriptor, or none at all that the front-end takes), -EBADF (@fd is
 * -1 and no descriptor is held, any more: call again with one), -ENODEV (dax_window_start() was not
 * called). The same slot of the same file again is an upgrade to writing; when it fails, the guest
 * goes on reading there. Another live slot that lies whole in the range is unmapped first.
 * Otherwise 0 or what ops->map said; on failure nothing of this request stays mapped. */
int dax_map(struct dax_window *w, const struct dax_request *rq, int fd, bool fd_writable);

/* What fd dax_map() wants for @file: >= 0 is not needed when the file is mapped already. True when
 * a descriptor of that file is held that fits (writable or not needed). dax_map() may then be
 * called with fd -1. */
bool dax_has_file(struct dax_window *w, uint64_t file, bool writable);

/* Unmap the slots that lie whole in [moffset, moffset + len); private bytes stored by the guest are
 * written back first. A slot that lies partly in it: -EINVAL, nothing done. None: 0. */
int dax_unmap(struct dax_window *w, uint64_t moffset, uint64_t len);
void dax_unmap_file(struct dax_window *w, uint64_t file); /* FORGET: the guest dropped the inode */
/* DESTROY, and the INIT of the next guest. Says nothing when ops->dropped: QEMU refuses to unmap
 * what a reboot has dropped. */
void dax_unmap_all(struct dax_window *w);

/* Device reset or a new front-end: the front-end dropped the mappings itself. Carries private bytes
 * back, forgets, sends nothing. @new_peer: probe again at the next start. No other call may run. */
void dax_window_forget(struct dax_window *w, bool new_peer);

/* Whether so many files are mapped that no more should be offered to the guest: three quarters of
 * those that may be. */
bool dax_crowded(struct dax_window *w);

/* Whether anything of @file is mapped. Cheap; false is exact as long as no dax_map() of it runs. */
bool dax_is_mapped(struct dax_window *w, uint64_t file);

/* The guest is going to be shown @stamp (attributes): map what the file grew by in its live slots,
 * refresh private pages when it changed. Returns 0, or -errno when that failed: the new size must
 * not be shown. Does nothing for a file that is not mapped. */
int dax_revalidate(struct dax_window *w, uint64_t file, const struct dax_stamp *stamp);

/* The daemon changed the file for the guest (WRITE, FALLOCATE, COPY_FILE_RANGE, truncation): like
 * dax_revalidate(), with the file's own size and times. Before the answer. */
int dax_changed(struct dax_window *w, uint64_t file);
/* The same where only these bytes were written, and what the file grew by. */
int dax_changed_part(struct dax_window *w, uint64_t file, uint64_t from, uint64_t len);

/* Write what the guest stored in private pages of @file back to it (FLUSH, FSYNC, READ, GETATTR,
 * COPY_FILE_RANGE ...), before the request itself. 0 or -errno of the write. */
int dax_store(struct dax_window *w, uint64_t file);
/* The same for these bytes of it (READ, WRITE). */
int dax_store_part(struct dax_window *w, uint64_t file, uint64_t from, uint64_t len);
/* The same for all files (SYNCFS); goes on after an error and returns the first. */
int dax_store_all(struct dax_window *w);

/* For tests and the log. */
struct dax_counts {
    unsigned slots, files;
    uint64_t private_bytes; /* bytes of window backed by private pages */
    uint64_t maps, unmaps;  /* said to the front-end so far */
    uint64_t compared;      /* bytes of private pages so far */
};
void dax_window_counts(struct dax_window *w, struct dax_counts *out);

/* What dax_map() cost since this was asked last: its good calls, the messages that they needed, and
 * how long they waited for the front-end's answers. */
struct dax_times {
    uint64_t maps, messages;
    uint64_t wait_ns;
};
void dax_window_times(struct dax_window *w, struct dax_times *out);
