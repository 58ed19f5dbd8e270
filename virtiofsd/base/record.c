/* SPDX-License-Identifier: BSD-3-Clause */
#include "virtiofsd/base/record.h"

#include <errno.h>
#include <string.h>

#define MAGIC_LEN 8
#define HEAD_LEN  16
#define LABEL_LEN 8 /* kind and length */
#define SUM_LEN   8
#define KIND_END  0u

/* ---- the sum ---- */

static uint64_t mix(uint64_t h, uint64_t v)
{
    h = (h ^ v) * 0x9fb21c651e98df25u;
    return h ^ (h >> 32);
}

static uint64_t sum(const uint8_t *p, size_t len)
{
    uint64_t h = 0x243f6a8885a308d3u ^ len, v;

    for (; len >= sizeof(v); p += sizeof(v), len -= sizeof(v)) {
        memcpy(&v, p, sizeof(v));
        h = mix(h, GUINT64_FROM_LE(v));
    }
    v = 0;
    memcpy(&v, p, len);
    return mix(h, GUINT64_FROM_LE(v));
}

/* ---- writing ---- */

void put_u16(GByteArray *out, uint16_t v)
{
    v = GUINT16_TO_LE(v);
    g_byte_array_append(out, (const uint8_t *)&v, sizeof(v));
}

void put_u32(GByteArray *out, uint32_t v)
{
    v = GUINT32_TO_LE(v);
    g_byte_array_append(out, (const uint8_t *)&v, sizeof(v));
}

void put_u64(GByteArray *out, uint64_t v)
{
    v = GUINT64_TO_LE(v);
    g_byte_array_append(out, (const uint8_t *)&v, sizeof(v));
}

void put_bytes(GByteArray *out, const void *bytes, uint16_t len)
{
    put_u16(out, len);
    g_byte_array_append(out, bytes, len);
}

void record_begin(GByteArray *out)
{
    g_byte_array_append(out, (const uint8_t *)RECORD_MAGIC, MAGIC_LEN);
    put_u32(out, RECORD_VERSION);
    put_u32(out, 0);
}

size_t record_open(GByteArray *out, uint32_t kind)
{
    put_u32(out, kind);
    put_u32(out, 0);
    return out->len;
}

void record_close(GByteArray *out, size_t record)
{
    uint32_t len = GUINT32_TO_LE(out->len - (uint32_t)record);
    memcpy(out->data + record - sizeof(len), &len, sizeof(len));
}

void record_end(GByteArray *out)
{
    uint64_t s = sum(out->data, out->len);
    size_t r = record_open(out, KIND_END);
    put_u64(out, s);
    record_close(out, r);
}

/* ---- reading ---- */

static const void *take(struct bytes *b, size_t n)
{
    const uint8_t *p = b->at;

    if (b->bad || (size_t)(b->end - b->at) < n) {
        b->bad = true;
        return NULL;
    }
    b->at += n;
    return p;
}

uint16_t get_u16(struct bytes *b)
{
    uint16_t v = 0;
    const void *p = take(b, sizeof(v));
    if (p)
        memcpy(&v, p, sizeof(v));
    return GUINT16_FROM_LE(v);
}

uint32_t get_u32(struct bytes *b)
{
    uint32_t v = 0;
    const void *p = take(b, sizeof(v));
    if (p)
        memcpy(&v, p, sizeof(v));
    return GUINT32_FROM_LE(v);
}

uint64_t get_u64(struct bytes *b)
{
    uint64_t v = 0;
    const void *p = take(b, sizeof(v));
    if (p)
        memcpy(&v, p, sizeof(v));
    return GUINT64_FROM_LE(v);
}

const uint8_t *get_bytes(struct bytes *b, uint16_t *len)
{
    *len = get_u16(b);
    const uint8_t *p = take(b, *len);
    if (!p)
        *len = 0;
    return p;
}

bool record_is_stream(const uint8_t *buf, size_t len)
{
    return len >= HEAD_LEN && memcmp(buf, RECORD_MAGIC, MAGIC_LEN) == 0;
}

/* A record with its label. */
static bool next(struct bytes *stream, struct record_view *out)
{
    out->kind = get_u32(stream);
    uint32_t len = get_u32(stream);
    const uint8_t *body = take(stream, len);
    out->body = (struct bytes){body, body ? body + len : NULL, false};
    return body != NULL;
}

int record_check(const uint8_t *buf, size_t len, struct bytes *out)
{
    if (!record_is_stream(buf, len))
        return -EPROTO;
    struct bytes all = {buf + MAGIC_LEN, buf + len, false};
    uint32_t version = get_u32(&all);
    if (version != RECORD_VERSION)
        return -EPROTONOSUPPORT;
    get_u32(&all);
    struct record_view r = {.kind = ~KIND_END};
    const uint8_t *last = all.at, *first = all.at;
    while (r.kind != KIND_END) {
        last = all.at;
        if (!next(&all, &r))
            return -EPROTO;
    }
    if (all.at != all.end || r.body.end - r.body.at != SUM_LEN ||
        get_u64(&r.body) != sum(buf, (size_t)(last - buf)))
        return -EPROTO;
    *out = (struct bytes){first, last, false};
    return 0;
}

bool record_next(struct bytes *stream, struct record_view *out)
{
    return stream->at < stream->end && next(stream, out);
}
