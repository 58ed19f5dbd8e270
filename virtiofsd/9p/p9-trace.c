/* SPDX-License-Identifier: BSD-3-Clause
 * What the log says of a message, before it is known to be well formed. */
#include "virtiofsd/9p/p9-priv.h"

/* Where strings and flags are behind the header. */
static const struct layout {
    uint8_t at;      /* of the first string */
    uint8_t strings; /* how many */
    uint8_t gap;     /* bytes between two of them */
    enum { NO_FLAGS, FLAGS_AT, FLAGS_BEHIND } flags;
    uint8_t flags_at; /* or how far behind the last string */
} layouts[P9_TYPES] = {
    [P9_TLOPEN] = {.flags = FLAGS_AT, .flags_at = 4},
    [P9_TLCREATE] = {4, 1, .flags = FLAGS_BEHIND},
    [P9_TSYMLINK] = {4, 2},
    [P9_TMKNOD] = {4, 1},
    [P9_TRENAME] = {8, 1},
    [P9_TGETATTR] = {.flags = FLAGS_AT, .flags_at = 4},
    [P9_TSETATTR] = {.flags = FLAGS_AT, .flags_at = 4},
    [P9_TXATTRWALK] = {8, 1},
    [P9_TXATTRCREATE] = {4, 1, .flags = FLAGS_BEHIND, .flags_at = 8},
    [P9_TLOCK] = {29, 1, .flags = FLAGS_AT, .flags_at = 5},
    [P9_TGETLOCK] = {25, 1},
    [P9_TLINK] = {8, 1},
    [P9_TMKDIR] = {4, 1},
    [P9_TRENAMEAT] = {4, 2, .gap = 4},
    [P9_TUNLINKAT] = {4, 1, .flags = FLAGS_BEHIND},
    [P9_TVERSION] = {4, 1},
    [P9_TAUTH] = {4, 2},
    [P9_TATTACH] = {8, 2},
    [P9_TWALK] = {10, P9_MAX_WALK},
};

/* Little endian; 0 when it is not all there. */
static uint32_t number(const struct p9_in *in, size_t at, unsigned bytes)
{
    uint32_t v = 0;

    if (at > in->left || in->left - at < bytes)
        return 0;
    for (unsigned i = bytes; i-- > 0;)
        v = v << 8 | in->p[at + i];
    return v;
}

/* Returns where the last one ends. */
static size_t names(struct trace *t, const struct p9_in *in, const struct layout *l)
{
    size_t at = l->at;

    for (unsigned i = 0; i < l->strings && at + 2 <= in->left; i++) {
        size_t len = MIN(number(in, at, 2), in->left - at - 2);
        trace_name(t, (const char *)in->p + at + 2, len);
        at += 2 + len + (i + 1 < l->strings ? l->gap : 0);
    }
    return at;
}

void p9_trace_begin(struct p9_rq *rq)
{
    const struct p9_in *in = &rq->in;
    bool fid = rq->type != P9_TVERSION && rq->type != P9_TFLUSH;

    trace_begin(&rq->trace, rq->op ? rq->op->name : NULL, rq->type, fid ? "fid" : "tag",
                fid ? number(in, 0, 4) : rq->tag);
    if (!rq->op)
        return;
    const struct layout *l = &layouts[rq->type];
    size_t behind = names(&rq->trace, in, l);
    if (l->flags != NO_FLAGS)
        rq->trace.flags = number(in, l->flags_at + (l->flags == FLAGS_BEHIND ? behind : 0), 4);
}
