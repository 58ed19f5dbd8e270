/* SPDX-License-Identifier: BSD-3-Clause
 * Fuzz target: the state of a guest that arrives, over a real share.
 *
 * Input: {u8 how, patches of {u16 offset, u8 value}...}. A stream that we have saved is patched
 * and, unless how says no, given the right sum again, so that what is in the records is tried; with
 * how & 2 the patches are the stream. Whatever came: nothing but what may be there is there, bounds
 * hold, what was loaded can be saved, loaded once more, and is the same; and after a reset there is
 * nothing. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/core.h"
#include "tests/fuzz/fuse-tree.h"
#include "tests/fuzz/target.h"
#include "virtiofsd/fs/fs-move.h"
#include "virtiofsd/fs/fs-state.h"

enum { NO_SUM = 1, RAW = 2, PATCH = 3, END_RECORD = 16, MAX = 4096 };

#define must(what)   \
    do {             \
        if (!(what)) \
            abort(); \
    } while (0)

static struct fs *fs;
static char share[128];
static GByteArray *own; /* a stream of ours */

static uint64_t known(struct fs_inode *dir, const char *name)
{
    struct fs_entry e;
    if (fs_lookup(fs, dir, name, &e) < 0)
        return 0;
    uint64_t id = fs_inode_id(e.inode);
    fs_inode_remember(fs, e.inode);
    return id;
}

/* All that a directory has, known, and what can be opened, open. */
static void know_all(struct fs_inode *dir, const char *path, unsigned depth)
{
    g_autoptr(GDir) d = g_dir_open(path, 0, NULL);
    const char *name;

    while (d && (name = g_dir_read_name(d))) {
        struct fs_inode *i = fs_inode_get(fs, known(dir, name));
        struct fs_opened o;
        if (!i)
            continue;
        g_autofree char *below = g_build_filename(path, name, NULL);
        if (S_ISDIR(fs_inode_type(i))) {
            must(fs_opendir(fs, i, &o) == 0);
            if (depth < 3)
                know_all(i, below, depth + 1);
        } else if (S_ISREG(fs_inode_type(i))) {
            (void)fs_open(fs, i, O_RDWR | O_APPEND, 0, &o);
        }
        fs_inode_put(fs, i);
    }
}

static GByteArray *save(struct fs_moved *did)
{
    GByteArray *b = g_byte_array_new();
    record_begin(b);
    must(fs_move_save(fs, b, did) == 0);
    record_end(b);
    return b;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    char dir[64];
    struct fs_moved did;

    fuzz_jail(dir, sizeof(dir));
    g_snprintf(share, sizeof(share), "%s/share", dir);
    fs = fuzz_core(share);
    struct fs_inode *root = fs_inode_get(fs, FS_ROOT_ID);
    know_all(root, share, 0);
    fs_inode_put(fs, root);
    own = save(&did);
    must(did.inodes > 3 && did.files > 1);
    fs_reset(fs);
    return 0;
}

static GByteArray *patched(const uint8_t *data, size_t size, unsigned how)
{
    GByteArray *b = g_byte_array_new();

    if (how & RAW) {
        record_begin(b);
        g_byte_array_append(b, data, (guint)size);
    } else {
        g_byte_array_append(b, own->data, own->len - END_RECORD);
        for (; size >= PATCH; data += PATCH, size -= PATCH)
            b->data[(data[0] | data[1] << 8) % b->len] = data[2];
    }
    record_end(b);
    if (how & NO_SUM)
        b->data[b->len - 1] ^= 1;
    return b;
}

static bool same(GArray *a, GArray *b, size_t size)
{
    bool equal = a->len == b->len && (a->len == 0 || memcmp(a->data, b->data, a->len * size) == 0);
    g_array_unref(a);
    g_array_unref(b);
    return equal;
}

/* What is there can be saved, and loaded where nothing is. */
static void once_more(void)
{
    struct fs_moved did, again;
    struct bytes s;
    GArray *inodes = fs_inodes_list(fs), *files = fs_files_list(fs);
    must(inodes->len <= MAX && files->len <= MAX);
    g_autoptr(GByteArray) b = save(&did);
    fs_reset(fs);
    must(record_check(b->data, b->len, &s) == 0);
    int rc = fs_move_load(fs, s, &again);
    must(rc == 0 || rc == -ESTALE || rc == -ENFILE);
    if (rc < 0) {
        g_array_unref(inodes);
        g_array_unref(files);
        return;
    }
    must(same(inodes, fs_inodes_list(fs), sizeof(struct fs_inode_state)));
    must(same(files, fs_files_list(fs), sizeof(struct fs_file_state)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fs_moved did;
    struct bytes s;

    if (size < 1 || size > MAX)
        return 0;
    g_autoptr(GByteArray) b = patched(data + 1, size - 1, data[0]);
    int rc = record_check(b->data, b->len, &s);
    must(rc == 0 || rc == -EPROTO || rc == -EPROTONOSUPPORT);
    must(!(data[0] & NO_SUM) || rc < 0);
    if (rc == 0 && (rc = fs_move_load(fs, s, &did)) == 0)
        once_more();
    must(rc <= 0);
    fs_reset(fs);
    must(same(fs_inodes_list(fs), g_array_new(FALSE, FALSE, 1), 1));
    must(same(fs_files_list(fs), g_array_new(FALSE, FALSE, 1), 1));
    return 0;
}
