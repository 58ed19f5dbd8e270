/* SPDX-License-Identifier: BSD-3-Clause
 * What the operator decides about FUSE. Options set these fields directly. What all clients of the
 * core share stands in fs-policy.h. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/* Whether the guest gets a feature: no; if it offers it; or it must, else its INIT fails. */
enum fuse_ask { FUSE_ASK_NEVER, FUSE_ASK_AUTO, FUSE_ASK_ALWAYS };

enum fuse_dax_policy { FUSE_DAX_AUTO, FUSE_DAX_ALWAYS, FUSE_DAX_NEVER };

/* What the share is for. ROOTFS: programs run from it, and hardly anybody but the guest changes it.
 */
enum fuse_profile { FUSE_PROFILE_NONE, FUSE_PROFILE_ROOTFS };

/* Which files are mapped. */
struct fuse_dax_config {
    enum fuse_dax_policy policy;
    uint64_t min_size;  /* bytes: smaller files stay off the window (policy auto) */
    GPtrArray *include; /* shell patterns of names; NULL or empty: all */
    GPtrArray *exclude;
};

struct fuse_policy {
    enum fuse_profile profile;
    double timeout;          /* seconds that the guest may trust names and attributes */
    double negative_timeout; /* seconds that the guest may trust absence; 0 = never */
    bool readdirplus;
    bool writeback;
    bool allow_mmap; /* shared mmap with cache policies that use direct I/O */
    bool posix_lock;
    bool flock;
    bool killpriv_v2;
    enum fuse_ask posix_acl;      /* only with xattr */
    enum fuse_ask security_label; /* take the guest's security context for new inodes */
    struct fuse_dax_config dax;   /* not owned */
};
