/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/wire/wire-steps.h"

#include <string.h>

static struct fuse_attr attr_of(const struct answer *a, size_t at)
{
    struct fuse_attr attr;
    assert_true(a->len >= at + sizeof(attr));
    memcpy(&attr, a->body + at, sizeof(attr));
    return attr;
}

void is_dir(const struct answer *a)
{
    assert_true(S_ISDIR(attr_of(a, offsetof(struct fuse_entry_out, attr)).mode));
}

void is_file(const struct answer *a)
{
    assert_true(S_ISREG(attr_of(a, offsetof(struct fuse_entry_out, attr)).mode));
}

void is_link(const struct answer *a)
{
    assert_true(S_ISLNK(attr_of(a, offsetof(struct fuse_entry_out, attr)).mode));
}

void size_is_5(const struct answer *a)
{
    assert_int_equal(attr_of(a, offsetof(struct fuse_attr_out, attr)).size, 5);
}

void size_is_7(const struct answer *a)
{
    assert_int_equal(attr_of(a, offsetof(struct fuse_attr_out, attr)).size, 7);
}

void size_is_2(const struct answer *a)
{
    assert_int_equal(attr_of(a, offsetof(struct fuse_attr_out, attr)).size, 2);
}

void mode_is_444(const struct answer *a)
{
    assert_int_equal(attr_of(a, offsetof(struct fuse_attr_out, attr)).mode, S_IFREG | 0444);
}

void says_hello(const struct answer *a)
{
    assert_memory_equal(a->body, "hello\n", 6);
}

void says_file(const struct answer *a)
{
    assert_int_equal(a->len, 4);
    assert_memory_equal(a->body, "file", 4);
}

void at_6(const struct answer *a)
{
    assert_memory_equal(a->body, &(uint64_t){6}, 8);
}

void long_names(const struct answer *a)
{
    struct fuse_kstatfs st;
    memcpy(&st, a->body, sizeof(st));
    assert_true(st.namelen > 0 && st.namelen <= 4096 && st.bsize > 0 && st.blocks >= st.bfree);
}

void entries_plus(const struct answer *a)
{
    unsigned dots = 0, others = 0;

    for (size_t at = 0; at < a->len;) {
        struct fuse_direntplus e;
        assert_true(a->len - at >= FUSE_NAME_OFFSET_DIRENTPLUS);
        memcpy(&e, a->body + at, FUSE_NAME_OFFSET_DIRENTPLUS);
        const char *name = (const char *)a->body + at + FUSE_NAME_OFFSET_DIRENTPLUS;
        bool dot = name[0] == '.';
        dots += dot;
        others += !dot;
        assert_int_equal(e.entry_out.nodeid == 0, dot);
        if (dot)
            assert_int_equal(e.dirent.type, DT_DIR);
        if ((e.entry_out.attr.mode & S_IFMT) != DTTOIF(e.dirent.type))
            fail_msg("%.*s: mode %#o for type %u", (int)e.dirent.namelen, name,
                     e.entry_out.attr.mode, e.dirent.type);
        at += FUSE_DIRENTPLUS_SIZE(&e);
    }
    assert_int_equal(dots, 2);
    assert_true(others > 0);
}

void one_entry(const struct answer *a)
{
    struct fuse_dirent e;
    assert_true(a->len > FUSE_NAME_OFFSET);
    memcpy(&e, a->body, FUSE_NAME_OFFSET);
    assert_true(FUSE_NAME_OFFSET + e.namelen <= a->len);
    assert_true(e.type == DT_DIR || e.type == DT_REG || e.type == DT_LNK || e.type == DT_FIFO);
    assert_true(e.off != 0);
}
