/* SPDX-License-Identifier: BSD-3-Clause
 * 9P2000.L on the wire: numbers, a bounded reader, a bounded writer. Little endian always. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define P9_HEAD         7  /* size[4] type[1] tag[2] */
#define P9_RLERROR_SIZE 11 /* the smallest room in which every request can be answered */
#define P9_IO_HEAD      11 /* what stands before the data of Rread and Rreaddir */
#define P9_QID_SIZE     13

#define P9_NOTAG    0xffffu
#define P9_NOFID    0xffffffffu
#define P9_NONUNAME 0xffffffffu

#define P9_MAX_WALK 16

enum p9_type {
    P9_RLERROR = 7,
    P9_TSTATFS = 8,
    P9_TLOPEN = 12,
    P9_TLCREATE = 14,
    P9_TSYMLINK = 16,
    P9_TMKNOD = 18,
    P9_TRENAME = 20,
    P9_TREADLINK = 22,
    P9_TGETATTR = 24,
    P9_TSETATTR = 26,
    P9_TXATTRWALK = 30,
    P9_TXATTRCREATE = 32,
    P9_TREADDIR = 40,
    P9_TFSYNC = 50,
    P9_TLOCK = 52,
    P9_TGETLOCK = 54,
    P9_TLINK = 70,
    P9_TMKDIR = 72,
    P9_TRENAMEAT = 74,
    P9_TUNLINKAT = 76,
    P9_TVERSION = 100,
    P9_TAUTH = 102,
    P9_TATTACH = 104,
    P9_TFLUSH = 108,
    P9_TWALK = 110,
    P9_TREAD = 116,
    P9_TWRITE = 118,
    P9_TCLUNK = 120,
    P9_TREMOVE = 122,
    P9_TYPES = 128,
};

enum { P9_QTDIR = 0x80, P9_QTSYMLINK = 0x02, P9_QTFILE = 0 };

/* Tlopen, Tlcreate: the generic ABI's numbers, whatever the two machines are. */
enum {
    P9_DOTL_WRONLY = 1,
    P9_DOTL_RDWR = 2,
    P9_DOTL_ACCMODE = 3,
    P9_DOTL_CREATE = 0100,
    P9_DOTL_EXCL = 0200,
    P9_DOTL_TRUNC = 01000,
    P9_DOTL_APPEND = 02000,
    P9_DOTL_DSYNC = 010000,
    P9_DOTL_DIRECT = 040000,
    P9_DOTL_DIRECTORY = 0200000,
    P9_DOTL_NOATIME = 01000000,
    P9_DOTL_SYNC = 04000000,
};

enum { P9_AT_REMOVEDIR = 0x200 };

enum {
    P9_GETATTR_BASIC = 0x7ff,
    P9_GETATTR_BTIME = 0x800,
    P9_GETATTR_GEN = 0x1000,
};

enum {
    P9_SETATTR_MODE = 1,
    P9_SETATTR_UID = 2,
    P9_SETATTR_GID = 4,
    P9_SETATTR_SIZE = 8,
    P9_SETATTR_ATIME = 0x10,
    P9_SETATTR_MTIME = 0x20,
    P9_SETATTR_ATIME_SET = 0x80,
    P9_SETATTR_MTIME_SET = 0x100,
};

enum { P9_LOCK_RDLCK, P9_LOCK_WRLCK, P9_LOCK_UNLCK };
enum { P9_LOCK_BLOCK = 1, P9_LOCK_RECLAIM = 2 };
enum { P9_LOCK_SUCCESS, P9_LOCK_BLOCKED, P9_LOCK_ERROR, P9_LOCK_GRACE };

struct p9_qid {
    uint8_t type;
    uint32_t version;
    uint64_t path;
};

/* ---- reading a message ----
 * Each step takes its bytes or marks the cursor bad and returns 0 or ""; one look at the end tells
 * whether everything was there. */

struct p9_in {
    uint8_t *p;
    size_t left;
    bool bad;
};

uint8_t p9_get8(struct p9_in *in);
uint16_t p9_get16(struct p9_in *in);
uint32_t p9_get32(struct p9_in *in);
uint64_t p9_get64(struct p9_in *in);
/* A string, NUL-terminated in place (it moves over its own length). One with a NUL in it is bad. */
const char *p9_get_str(struct p9_in *in);

/* ---- building an answer ---- */

struct p9_out {
    uint8_t *p;
    size_t len, max;
    bool full; /* something did not fit and was left out */
};

void p9_put8(struct p9_out *out, uint8_t v);
void p9_put16(struct p9_out *out, uint16_t v);
void p9_put32(struct p9_out *out, uint32_t v);
void p9_put64(struct p9_out *out, uint64_t v);
void p9_put_qid(struct p9_out *out, const struct p9_qid *qid);
void p9_put_str(struct p9_out *out, const char *s, size_t len);

/* The first bytes of any message. */
void p9_encode_head(uint8_t head[P9_HEAD], uint32_t size, uint8_t type, uint16_t tag);

/* open(2) flags of this machine for those of Tlopen; creation flags and what has no meaning here
 * are left out, except O_EXCL. So is O_DIRECT: where data lies in a message, or in a stream of
 * them, is not the client's choice, and the host wants it aligned. */
int p9_open_flags(uint32_t dotl);
