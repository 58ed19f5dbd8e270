/* SPDX-License-Identifier: BSD-3-Clause
 * A stream of records, in memory: how a guest's state is written down (docs/migration.md).
 *
 *   8 bytes magic, u32 version, u32 zero
 *   records: u32 kind, u32 bytes, the bytes
 *   the last record: kind 0, 8 bytes: a sum of all bytes before this record
 *
 * All numbers are little endian. A reader skips kinds that it does not know, unless they have
 * RECORD_NEEDED; a record may be longer than a reader expects. The sum finds accidents, not malice:
 * what is in a record is hostile. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RECORD_MAGIC   "VFSMOVE\n"
#define RECORD_VERSION 1u
#define RECORD_NEEDED  0x80000000u /* of a kind: who does not know it must refuse the stream */

/* ---- writing ---- */

void record_begin(GByteArray *out);
/* Begin a record; what is put until record_close() belongs to it. Returns what that wants. */
size_t record_open(GByteArray *out, uint32_t kind);
void record_close(GByteArray *out, size_t record);
void record_end(GByteArray *out);

void put_u16(GByteArray *out, uint16_t v);
void put_u32(GByteArray *out, uint32_t v);
void put_u64(GByteArray *out, uint64_t v);
/* A length of 16 bits and so many bytes. */
void put_bytes(GByteArray *out, const void *bytes, uint16_t len);

/* ---- reading ---- */

/* Bytes that are left of something. After a read beyond the end all is zero, and bad is set. */
struct bytes {
    const uint8_t *at, *end;
    bool bad;
};

struct record_view {
    uint32_t kind;
    struct bytes body;
};

/* Whether it begins as a stream of records does. */
bool record_is_stream(const uint8_t *buf, size_t len);
/* Look at the whole of a stream: 0; -EPROTO: it is none, or it is damaged; -EPROTONOSUPPORT: of
 * another version. Then *out is what record_next() takes. */
int record_check(const uint8_t *buf, size_t len, struct bytes *out);
/* The next record of a stream that was checked; false behind the last. */
bool record_next(struct bytes *stream, struct record_view *out);

uint16_t get_u16(struct bytes *b);
uint32_t get_u32(struct bytes *b);
uint64_t get_u64(struct bytes *b);
/* What put_bytes() wrote; points into the stream. */
const uint8_t *get_bytes(struct bytes *b, uint16_t *len);
