/* SPDX-License-Identifier: BSD-3-Clause
 * An answer on the wire: of a request that ends now, or that waited. */
#include "virtiofsd/9p/p9-priv.h"
#include "virtiofsd/base/iov.h"

void p9_answer(struct p9_conn *conn, struct chain *c, uint8_t type, uint16_t tag, const void *body,
               size_t len, size_t data)
{
    uint8_t head[P9_HEAD];
    size_t size = P9_HEAD + len + data;

    p9_encode_head(head, (uint32_t)size, type, tag);
    if (type == P9_RLERROR)
        c->note.what |= NOTE_FAILED;
    iov_from_buf(c->out, c->out_cnt, P9_HEAD, body, len);
    iov_from_buf(c->out, c->out_cnt, 0, head, sizeof(head));
    chain_complete(c, size);
}

void p9_answer_err(struct p9_conn *conn, struct chain *c, uint16_t tag, int err)
{
    uint8_t body[4];
    struct p9_out out = {.p = body, .max = sizeof(body)};

    p9_put32(&out, (uint32_t)-err);
    p9_answer(conn, c, P9_RLERROR, tag, body, sizeof(body), 0);
}
