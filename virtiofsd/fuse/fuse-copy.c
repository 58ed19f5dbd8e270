/* SPDX-License-Identifier: BSD-3-Clause
 * Copies on the host. Two operations: the answer of the second has 64 bits. */
#include "virtiofsd/fuse/fuse-priv.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

static bool is64(const struct fuse_rq *rq)
{
    return rq->in->opcode != FUSE_COPY_FILE_RANGE;
}

/* ---- what must be fetched first ---- */

struct copy_wait {
    struct fuse_wait w;
    uint64_t node; /* that changes */
    bool is64;     /* the answer has 64 bits */
};

static void copy_done(void *user, ssize_t result)
{
    struct copy_wait *c = user;
    const struct chain *chain = c->w.chain;
    struct fuse_write_out out = {.size = (uint32_t)result};
    struct fuse_copy_file_range_out out64 = {.bytes_copied = (uint64_t)result};
    size_t len = c->is64 ? sizeof(out64) : sizeof(out);
    int err = result < 0 ? (int)result : fuse_dax_changed(c->w.srv, c->node);

    if (err == 0)
        iov_from_buf(chain->out, chain->out_cnt, sizeof(struct fuse_out_header),
                     c->is64 ? (const void *)&out64 : &out, len);
    fuse_wait_answer(&c->w, err, len);
    g_free(c);
}

static void copy_later(struct fuse_rq *rq, const struct fuse_copy_file_range_in *arg,
                       struct fs_file *in, struct fs_file *out, size_t len)
{
    struct fuse_srv *srv = rq->srv;
    struct copy_wait *c = g_new(struct copy_wait, 1);
    uint64_t unique = rq->in->unique;

    *c = (struct copy_wait){
        .w = fuse_wait_begin(rq),
        .node = arg->nodeid_out,
        .is64 = is64(rq),
    };
    fs_copy_range_wait(srv->fs, in, (off_t)arg->off_in, out, (off_t)arg->off_out, len,
                       fuse_kill_of(rq), unique, copy_done, c);
    fuse_wait_interrupt_if_told(srv, unique);
}

/* ---- the operations ---- */

void fuse_do_copy_range(struct fuse_rq *rq)
{
    struct fuse_copy_file_range_in arg;
    struct fs *fs = rq->srv->fs;

    memcpy(&arg, rq->body, sizeof(arg));
    if (arg.flags != 0) { /* none is defined */
        fuse_rq_reply_err(rq, -EINVAL);
        return;
    }
    int err_in, err_out;
    struct fs_file *in = fuse_file_get(rq, rq->in->nodeid, arg.fh_in, O_RDONLY, &err_in);
    struct fs_file *out = fuse_file_get(rq, arg.nodeid_out, arg.fh_out, O_WRONLY, &err_out);
    ssize_t done = in ? err_out : err_in;
    size_t len = MIN(arg.len, (uint64_t)(UINT32_MAX & ~0xfffu));
    if (in && out)
        done = fs_copy_range(fs, in, (off_t)arg.off_in, out, (off_t)arg.off_out, len, 0,
                             fuse_kill_of(rq));
    if (done == FS_LATER)
        copy_later(rq, &arg, in, out, len);
    if (in)
        fs_file_put(fs, in);
    if (out)
        fs_file_put(fs, out);
    if (done == FS_LATER)
        return;
    if (done < 0) {
        fuse_rq_reply_err(rq, (int)done);
    } else if (!is64(rq)) {
        struct fuse_write_out reply = {.size = (uint32_t)done};
        fuse_rq_reply_buf(rq, &reply, sizeof(reply));
    } else {
        struct fuse_copy_file_range_out reply = {.bytes_copied = (uint64_t)done};
        fuse_rq_reply_buf(rq, &reply, sizeof(reply));
    }
}
