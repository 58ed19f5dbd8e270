/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/fs-tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "tests/lib/remove.h"
#include "tests/unit/tree-over.h"

const struct fs_cred cred_root = {.uid = 0, .gid = 0};
const struct fs_cred cred_user = {.uid = USER_ID, .gid = USER_ID, .strict = true};

struct share_config tree_config(void)
{
    return (struct share_config){
        .host.policy.handles = HOST_HANDLES_NEVER,
        .cache = FS_CACHE_AUTO,
        .xattr = true,
        .announce_submounts = true,
        .max_fds = 1000,
        .max_lock_waiters = 4,
        .max_lock_ranges = 1000,
    };
}

void need_root(void)
{
    if (geteuid() != 0)
        skip();
}

void tree_make(struct share *t)
{
    memset(t, 0, sizeof(*t));
    strcpy(t->dir, "/tmp/fs-test-XXXXXX");
    assert_non_null(mkdtemp(t->dir));
    assert_ok(chmod(t->dir, 0755));
}

void tree_make_tmpfs(struct share *t)
{
    static bool private;
    need_root();
    tree_make(t);
    if (!private) {
        assert_ok(unshare(CLONE_NEWNS));
        assert_ok(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
        private = true;
    }
    assert_ok(mount("none", t->dir, "tmpfs", 0, "mode=0755"));
}

void tree_open(struct share *t, const struct share_config *cfg)
{
    static bool started;
    struct share_config c = *cfg;
    GError *err = NULL;

    if (!started) {
        fs_thread_start();
        started = true;
    }
    c.host.root_fd = open(t->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    c.host.proc_self_fd = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
    c.tree = TREE_OVER(host_new(&c.host, &err));
    t->fs = c.tree ? fs_new(&c.core, &err) : NULL;
    if (!t->fs)
        fail_msg("%s", err->message);
    t->root = fs_inode_get(t->fs, FS_ROOT_ID);
    assert_non_null(t->root);
}

void tree_close(struct share *t)
{
    fs_inode_put(t->fs, t->root);
    fs_free(t->fs);
    t->fs = NULL;
}

void tree_remove(struct share *t)
{
    while (umount2(t->dir, MNT_DETACH) == 0)
        ;
    assert_true(remove_tree(t->dir));
}

void tree_start(struct share *t)
{
    struct share_config cfg = tree_config();
    tree_make(t);
    tree_open(t, &cfg);
}

void tree_stop(struct share *t)
{
    tree_close(t);
    tree_remove(t);
}

const char *tree_path(const struct share *t, const char *name)
{
    static _Thread_local char path[4][512];
    static _Thread_local unsigned next;
    char *p = path[next++ % 4];
    snprintf(p, sizeof(path[0]), "%s/%s", t->dir, name);
    return p;
}

void tree_write(const struct share *t, const char *name, const char *text)
{
    int fd = open(tree_path(t, name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

const char *tree_nth(unsigned n)
{
    static __thread char name[16];
    snprintf(name, sizeof(name), "f%u", n);
    return name;
}

void tree_fill(const struct share *t, unsigned count)
{
    for (unsigned n = 0; n < count; n++)
        tree_write(t, tree_nth(n), tree_nth(n));
}

bool tree_has(const struct share *t, const char *name)
{
    struct stat st;
    return lstat(tree_path(t, name), &st) == 0;
}

unsigned count_fds(void)
{
    unsigned n = 0;
    DIR *d = opendir("/proc/self/fd");
    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

struct fs_inode *tree_look(struct share *t, struct fs_inode *parent, const char *name)
{
    struct fs_entry e;
    assert_ok(fs_lookup(t->fs, parent, name, &e));
    return e.inode;
}

uint64_t tree_guest_look(struct share *t, struct fs_inode *parent, const char *name)
{
    struct fs_inode *i = tree_look(t, parent, name);
    uint64_t id = fs_inode_id(i);
    fs_inode_remember(t->fs, i);
    return id;
}
