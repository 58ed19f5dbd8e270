/* SPDX-License-Identifier: BSD-3-Clause */
#include "virtiofsd/9p/p9-wire.h"

#include <fcntl.h>
#include <glib.h>
#include <string.h>

/* @n bytes as a number. */
static uint64_t get(struct p9_in *in, unsigned n)
{
    uint64_t v = 0;

    if (in->bad || in->left < n) {
        in->bad = true;
        return 0;
    }
    for (unsigned i = 0; i < n; i++)
        v |= (uint64_t)in->p[i] << (8 * i);
    in->p += n;
    in->left -= n;
    return v;
}

uint8_t p9_get8(struct p9_in *in)
{
    return (uint8_t)get(in, 1);
}

uint16_t p9_get16(struct p9_in *in)
{
    return (uint16_t)get(in, 2);
}

uint32_t p9_get32(struct p9_in *in)
{
    return (uint32_t)get(in, 4);
}

uint64_t p9_get64(struct p9_in *in)
{
    return get(in, 8);
}

const char *p9_get_str(struct p9_in *in)
{
    size_t len = p9_get16(in);

    if (in->bad || in->left < len || memchr(in->p, 0, len)) {
        in->bad = true;
        return "";
    }
    char *s = (char *)in->p - 2;
    memmove(s, in->p, len);
    s[len] = '\0';
    in->p += len;
    in->left -= len;
    return s;
}

static uint8_t *room(struct p9_out *out, size_t n)
{
    if (out->full || out->max - out->len < n) {
        out->full = true;
        return NULL;
    }
    uint8_t *p = out->p + out->len;
    out->len += n;
    return p;
}

static void put(struct p9_out *out, uint64_t v, unsigned n)
{
    uint8_t *p = room(out, n);

    for (unsigned i = 0; p && i < n; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

void p9_put8(struct p9_out *out, uint8_t v)
{
    put(out, v, 1);
}

void p9_put16(struct p9_out *out, uint16_t v)
{
    put(out, v, 2);
}

void p9_put32(struct p9_out *out, uint32_t v)
{
    put(out, v, 4);
}

void p9_put64(struct p9_out *out, uint64_t v)
{
    put(out, v, 8);
}

void p9_put_qid(struct p9_out *out, const struct p9_qid *qid)
{
    p9_put8(out, qid->type);
    p9_put32(out, qid->version);
    p9_put64(out, qid->path);
}

void p9_put_str(struct p9_out *out, const char *s, size_t len)
{
    if (len > UINT16_MAX) {
        out->full = true;
        return;
    }
    p9_put16(out, (uint16_t)len);
    uint8_t *p = room(out, len);
    if (p && len > 0)
        memcpy(p, s, len);
}

void p9_encode_head(uint8_t head[P9_HEAD], uint32_t size, uint8_t type, uint16_t tag)
{
    struct p9_out out = {.p = head, .max = P9_HEAD};

    p9_put32(&out, size);
    p9_put8(&out, type);
    p9_put16(&out, tag);
}

int p9_open_flags(uint32_t dotl)
{
    static const struct {
        uint32_t wire;
        int ours;
    } bits[] = {
        {P9_DOTL_WRONLY, O_WRONLY}, {P9_DOTL_RDWR, O_RDWR},       {P9_DOTL_EXCL, O_EXCL},
        {P9_DOTL_TRUNC, O_TRUNC},   {P9_DOTL_APPEND, O_APPEND},   {P9_DOTL_DSYNC, O_DSYNC},
        {P9_DOTL_SYNC, O_SYNC},     {P9_DOTL_NOATIME, O_NOATIME}, {P9_DOTL_DIRECTORY, O_DIRECTORY},
    };
    int flags = 0;

    for (unsigned i = 0; i < G_N_ELEMENTS(bits); i++)
        flags |= dotl & bits[i].wire ? bits[i].ours : 0;
    return flags;
}
