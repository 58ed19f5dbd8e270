/* SPDX-License-Identifier: BSD-3-Clause
 * The ring-level benchmark: requests that are built once and sent again and again, so that the
 * client, which shares the CPU with the daemon, costs little. One thread, no allocation while
 * measuring. Everything ends the process with a message when a daemon misbehaves. */
#pragma once

#include <linux/fuse.h>
#include <stdbool.h>
#include <stdint.h>

#include "tests/lib/fe-daemon.h"
#include "tests/lib/fe-mem.h"
#include "tests/lib/fe-vhost.h"

#define BN_SLOTS    16
#define BN_DATA_MAX (1u << 20)
#define BN_PAGE     4096u

/* The shared tree, made by bn_tree_make(). */
#define BN_KNOWN    1000 /* known/f0000...: empty files, looked up beforehand */
#define BN_WALK     1000 /* walk/f0000...: 16 KiB each */
#define BN_WALK_LEN 16384u
#define BN_BIG      10000 /* big/f00000...: empty */
#define BN_MANY     100000
#define BN_FILE_LEN (64u << 20) /* data; random 4 KiB pieces of all of it */
#define BN_BIG_LEN  (4u << 20)  /* the part that large pieces come from: fits the cache */

struct bn_slot {
    struct vring_desc *tab;     /* indirect table */
    struct fuse_in_header *ih;  /* followed by the arguments */
    uint8_t *arg;               /* request arguments */
    struct fuse_out_header *oh; /* reply */
    uint8_t *out;               /* reply arguments */
    uint8_t *data;              /* payload pages, either direction */
    uint64_t tab_gpa, page_gpa, data_gpa;
    uint16_t head;
    unsigned step, item;
    uint64_t nodeid, fh;
};

/* One client and its connection. */
struct bn {
    const char *daemon; /* for messages */
    struct fe_daemon proc;
    struct fe_vhost v;
    struct fe_mem mem;
    struct bn_slot slot[BN_SLOTS];
    unsigned inflight;
    /* hiprio: a FORGET buffer per descriptor */
    struct fuse_forget_in *forget_arg;
    uint8_t *forget_buf;
    uint16_t *forget_free;
    unsigned forget_nfree;
    /* known numbers */
    uint64_t known_dir, walk_dir, big_dir, data_node, data_fh;
    uint64_t known[BN_KNOWN];
    uint64_t rnd;
    uint64_t *seen; /* node ids to be forgotten after a pass */
    unsigned nseen;
    bool no_flush; /* FLUSH is answered with ENOSYS */
};

struct bn_sample {
    double ops, ns, cpu_ns, kicks, calls;
};

/* An operation to measure: either by slots, or in passes of its own. */
struct bn_op {
    const char *name;
    void (*first)(struct bn *b, struct bn_slot *s); /* build the first request of a slot */
    /* A reply without error arrived: build the next request. Returns operations completed. */
    unsigned (*next)(struct bn *b, struct bn_slot *s);
    int expect; /* the error in the replies, 0 or -errno */
    /* One pass, timed alone; returns its operations. @after: not timed. */
    unsigned (*pass)(struct bn *b);
    void (*after)(struct bn *b);
};

extern const struct bn_op bn_ops[];
extern const unsigned bn_nops;

_Noreturn void bn_die(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* bench-tree.c */
/* Fill @path (made beforehand) with the files; @many: also the 100,000. */
void bn_tree_make(const char *path, bool many);

/* bench-kind.c: the daemons and how they are started */
/* Command words of a daemon "ours", "rust" or "c", from the command line. */
void bn_kind_command(const char *key, const char *words);
/* Whether daemon @name is known and its command was given. */
bool bn_kind_ready(const char *name);
/* Start daemon @name on @dir with its socket at @path. */
void bn_kind_spawn(const char *name, const char *dir, const char *path, struct fe_daemon *d);
/* End a daemon whose connection was closed. */
void bn_kind_stop(struct fe_daemon *d);

/* bench-start.c */
struct br;
/* One start of daemon number @i of @r: times, memory, descriptors. */
void bn_start_round(struct br *r, unsigned i, const char *dir, const char *path);
/* Look up the 100,000 files of many/, forgetting none: memory and descriptors. */
void bn_many_round(struct br *r, unsigned i, const char *dir, const char *path);

/* bench-client.c */
/* Make guest memory and the slots in it; before the daemon is started, as it takes time. */
void bn_mem_make(struct bn *b);
/* Connect to the daemon that listens on @path, start the rings, send INIT. */
void bn_connect(struct bn *b, const char *path);
/* The same from a connected socket on. */
void bn_handshake(struct bn *b, int sock);
/* Look up and open what the operations need. */
void bn_prepare(struct bn *b);
void bn_disconnect(struct bn *b);
/* Lay out a request: @arg_len bytes of arguments and @data_in of payload, room for @out_len and
 * @data_out of reply. */
void bn_build(struct bn *b, struct bn_slot *s, uint32_t opcode, uint64_t nodeid, uint32_t arg_len,
              uint32_t data_in, uint32_t out_len, uint32_t data_out);
/* Send the request of @s and wait. Returns the reply's error. */
int bn_call(struct bn *b, struct bn_slot *s);
int bn_lookup(struct bn *b, uint64_t parent, const char *name, uint64_t *nodeid);
/* Queue a FORGET of one lookup; sent by bn_forget_flush(). */
void bn_forget(struct bn *b, uint64_t nodeid);
void bn_forget_flush(struct bn *b);
/* Send them and wait until all are taken. */
void bn_forget_wait(struct bn *b);
/* Run @op with @inflight requests for about @ms. */
void bn_run(struct bn *b, const struct bn_op *op, unsigned inflight, int ms, struct bn_sample *out);

/* bench-direct.c: the same system calls without any daemon. */
void bn_direct_open(const char *path);
bool bn_direct_run(const char *op, unsigned inflight, int ms, struct bn_sample *out);
