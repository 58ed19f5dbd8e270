/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/fs-opened.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void prepare(struct open_tree *o)
{
    memset(o, 0, sizeof(*o));
    tree_make(&o->t);
    tree_write(&o->t, "f", "");
    o->mem = aligned_alloc(BLOCK, (size_t)8 * BLOCK);
    assert_non_null(o->mem);
}

int reopen(struct open_tree *o, int flags)
{
    if (o->f)
        fs_file_put(o->t.fs, o->f);
    if (o->o.fh)
        assert_ok(fs_release(o->t.fs, o->o.fh));
    o->f = NULL;
    o->o.fh = 0;
    int rc = fs_open(o->t.fs, o->i, flags, 0, &o->o);
    if (rc == 0)
        o->f = fs_file_get(o->t.fs, o->o.fh, o->i);
    return rc;
}

void start(struct open_tree *o, const struct share_config *cfg, int flags)
{
    tree_open(&o->t, cfg);
    o->i = tree_look(&o->t, o->t.root, "f");
    assert_ok(reopen(o, flags));
}

void stop(struct open_tree *o)
{
    if (o->f)
        fs_file_put(o->t.fs, o->f);
    fs_inode_put(o->t.fs, o->i);
    unsigned with = count_fds();
    if (o->o.fh)
        fs_release(o->t.fs, o->o.fh);
    assert_true(count_fds() < with || !o->o.fh);
    tree_stop(&o->t);
    free(o->mem);
}

ssize_t put(struct open_tree *o, const char *text, off_t off, unsigned how)
{
    struct iovec iov = {(char *)(uintptr_t)text, strlen(text)};
    return fs_write(o->t.fs, o->f, &iov, 1, off, how);
}

void holds(struct open_tree *o, const char *want)
{
    char buf[256] = "";
    int fd = open(tree_path(&o->t, "f"), O_RDONLY | O_CLOEXEC);
    assert_true(read(fd, buf, sizeof(buf) - 1) >= 0);
    close(fd);
    assert_string_equal(buf, want);
}

void host_line(struct open_tree *o, const char *text)
{
    int fd = open(tree_path(&o->t, "f"), O_WRONLY | O_APPEND | O_CLOEXEC);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

unsigned fds_with(struct open_tree *o, int flag)
{
    unsigned n = 0;
    struct stat want, st;
    DIR *d = opendir("/proc/self/fd");
    assert_ok(stat(tree_path(&o->t, "f"), &want));
    for (struct dirent *e; (e = readdir(d));) {
        int fd = atoi(e->d_name);
        int fl = fcntl(fd, F_GETFL);
        if (fl >= 0 && !(fl & O_PATH) && fstat(fd, &st) == 0 && st.st_ino == want.st_ino &&
            st.st_dev == want.st_dev && (fl & flag) == flag)
            n++;
    }
    closedir(d);
    return n;
}
