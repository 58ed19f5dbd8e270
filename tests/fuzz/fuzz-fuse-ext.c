/* SPDX-License-Identifier: BSD-3-Clause
 * Fuzz target: the extensions behind a request, supplementary groups and security contexts. The
 * input is what stands behind the body. What is taken from it must lie in it. */
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/target.h"
#include "virtiofsd/base/log.h"
#include "virtiofsd/fuse/fuse-priv.h"

static struct fuse_rq *rq;
static struct fuse_srv srv = {.flags = FUSE_CREATE_SUPP_GROUP};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    log_level = LOG_LVL_OFF;
    rq = g_new0(struct fuse_rq, 1);
    rq->srv = &srv;
    rq->in = (struct fuse_in_header *)rq->buf;
    return 0;
}

static void check(const struct fs_cred *cred, const uint8_t *ext, size_t size)
{
    if (cred->ngroups > FS_MAX_GROUPS)
        abort();
    if (!cred->secctx_name)
        return;
    const uint8_t *name = (const uint8_t *)cred->secctx_name, *value = cred->secctx;
    if (name < ext || name >= ext + size || value < name || value > ext + size)
        abort();
    if (*name == 0 || strlen(cred->secctx_name) + 1 > (size_t)(value - name) ||
        cred->secctx_len > (size_t)(ext + size - value))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *ext = malloc(size ? size : 1); /* of exactly its size, for ASan */
    if (!ext)
        abort();
    if (size)
        memcpy(ext, data, size);
    rq->ext = ext;
    rq->ext_len = size;
    const struct fs_cred *cred = fuse_rq_cred(rq, 022);
    if (cred)
        check(cred, ext, size);
    free(ext);
    return 0;
}
