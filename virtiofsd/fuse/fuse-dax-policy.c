/* SPDX-License-Identifier: BSD-3-Clause
 * Which files the guest is told to map.
 *
 * Linux has no way back: when a mapping is refused, read() fails and an access to memory is SIGBUS.
 * So FUSE_ATTR_DAX is shown only for files that can surely be mapped: not on layered or pseudo file
 * systems, and open for writing where the front-end takes nothing less. A guest mounted with
 * dax=always asks for every file; what cannot be mapped then is an error and a line in the log.
 *
 * While a program is mapped with a descriptor that may write, the host cannot execute it (ETXTBSY),
 * and a program that the host is executing cannot be mapped so. */
#include "virtiofsd/fuse/fuse-priv.h"

#include <fnmatch.h>

#include "dax/dax-window.h"

/* Notes on an inode: its name was compared with the patterns, and fits; the guest was told that it
 * may be mapped. */
enum { NAME_SEEN = 1 << 0, NAME_TAKEN = 1 << 1, GRANTED = 1 << 2 };

static bool any(const GPtrArray *patterns)
{
    return patterns && patterns->len > 0;
}

static bool matches(const GPtrArray *patterns, const char *name)
{
    for (unsigned i = 0; i < patterns->len; i++)
        if (fnmatch(g_ptr_array_index(patterns, i), name, 0) == 0)
            return true;
    return false;
}

bool fuse_dax_name_fits(const struct fuse_dax_config *cfg, const char *name)
{
    return (!any(cfg->include) || matches(cfg->include, name)) &&
           !(any(cfg->exclude) && matches(cfg->exclude, name));
}

/* By the name under which the inode was found first: a renamed file keeps what it got. One that
 * never had a name fits only where no name is asked for. */
static bool name_fits(struct fuse_srv *srv, struct fs_inode *inode, const char *name)
{
    const struct fuse_dax_config *cfg = &srv->cfg.dax;

    if (!any(cfg->include) && !any(cfg->exclude))
        return true;
    unsigned mark = fs_inode_mark(inode);
    if (!(mark & NAME_SEEN)) {
        if (!name)
            return !any(cfg->include);
        mark = fuse_dax_name_fits(cfg, name) ? NAME_SEEN | NAME_TAKEN : NAME_SEEN;
        fs_inode_set_mark(inode, mark);
    }
    return mark & NAME_TAKEN;
}

bool fuse_dax_kind_fits(const struct fuse_srv *srv, unsigned kind)
{
    if (!(kind & FS_MAP) || !((kind & FS_MAP_WRITE) || srv->dax.readonly_fd))
        return false;
    return srv->cfg.dax.policy == FUSE_DAX_ALWAYS || !(kind & FS_MAP_SLOW);
}

bool fuse_dax_takes(struct fuse_srv *srv, struct fs_inode *inode, const char *name,
                    const struct fs_attr *a)
{
    const struct fuse_dax_config *cfg = &srv->cfg.dax;

    if (!srv->dax.show)
        return false;
    bool fits = name_fits(srv, inode, name); /* in any case: the name may not come again */
    /* A file that got small keeps what it has: when the flag goes, Linux evicts the inode at its
     * last close, and 6.1 hangs if that has to remove a mapping. */
    bool granted = fs_inode_mark(inode) & GRANTED;
    if (cfg->policy == FUSE_DAX_AUTO && !granted && (uint64_t)a->st.st_size < MAX(cfg->min_size, 1))
        return false;
    if (!fits || !fuse_dax_kind_fits(srv, fs_map_kind(srv->fs, inode, a)))
        return false;
    if (granted)
        return true;
    if (dax_crowded(srv->cfg.window))
        return false;
    fs_inode_set_mark(inode, GRANTED);
    return true;
}
