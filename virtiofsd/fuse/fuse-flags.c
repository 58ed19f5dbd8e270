/* SPDX-License-Identifier: BSD-3-Clause */
#include "virtiofsd/fuse/fuse-flags.h"

#include <glib.h>

#include "virtiofsd/fuse/fuse-wire.h"

#define FLAG(name)          \
    {                       \
        FUSE_##name, #name, \
    }

/* All that may be granted: of fuse-init.c and, with a window, of fuse-dax.c. */
static const struct {
    uint64_t flag;
    const char *name;
} flags_known[] = {
    FLAG(ASYNC_READ),           FLAG(POSIX_LOCKS),     FLAG(ATOMIC_O_TRUNC),
    FLAG(EXPORT_SUPPORT),       FLAG(BIG_WRITES),      FLAG(DONT_MASK),
    FLAG(FLOCK_LOCKS),          FLAG(AUTO_INVAL_DATA), FLAG(DO_READDIRPLUS),
    FLAG(READDIRPLUS_AUTO),     FLAG(ASYNC_DIO),       FLAG(WRITEBACK_CACHE),
    FLAG(PARALLEL_DIROPS),      FLAG(POSIX_ACL),       FLAG(MAX_PAGES),
    FLAG(CACHE_SYMLINKS),       FLAG(MAP_ALIGNMENT),   FLAG(SUBMOUNTS),
    FLAG(HANDLE_KILLPRIV_V2),   FLAG(SETXATTR_EXT),    FLAG(INIT_EXT),
    FLAG(SECURITY_CTX),         FLAG(HAS_INODE_DAX),   FLAG(CREATE_SUPP_GROUP),
    FLAG(DIRECT_IO_ALLOW_MMAP), FLAG(ALLOW_IDMAP),     FLAG(NO_OPEN_SUPPORT),
    FLAG(NO_OPENDIR_SUPPORT),
};

char *fuse_flags_text(uint64_t flags)
{
    GString *s = g_string_new(NULL);

    for (unsigned i = 0; i < G_N_ELEMENTS(flags_known); i++) {
        if (!(flags & flags_known[i].flag))
            continue;
        g_string_append_printf(s, "%s%s", s->len ? " " : "", flags_known[i].name);
        flags &= ~flags_known[i].flag;
    }
    g_string_ascii_down(s);
    if (flags)
        g_string_append_printf(s, "%s%#" G_GINT64_MODIFIER "x", s->len ? " " : "", flags);
    return g_string_free(s, FALSE);
}
