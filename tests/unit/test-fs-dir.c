/* SPDX-License-Identifier: BSD-3-Clause
 * Directories: every entry once, from any offset, within the room there is. */
#include "tests/unit/fs-tree.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#define MANY 10000

struct seen {
    struct share *t;
    unsigned count, dots, entries, stop_after;
    uint64_t last_off;
    unsigned char hit[MANY]; /* how often each numbered file came */
    uint64_t offs[64];
};

static bool see(void *user, const struct fs_dirent *d, struct fs_entry *entry)
{
    struct seen *s = user;
    if (s->stop_after && s->count == s->stop_after)
        return false;
    assert_int_equal(d->name_len, strlen(d->name));
    if (d->name[0] == '.') {
        assert_null(entry);
        assert_int_equal(d->type, 4); /* DT_DIR */
        s->dots++;
    } else {
        s->hit[strtoul(d->name, NULL, 10) % MANY]++;
    }
    if (entry) {
        assert_int_equal(entry->attr.st.st_ino, d->ino);
        s->entries++;
        fs_inode_put(s->t->fs, entry->inode);
    }
    if (s->count < 64)
        s->offs[s->count] = d->off;
    s->last_off = d->off;
    s->count++;
    return true;
}

static void fill(struct share *t, unsigned count)
{
    char name[16];
    for (unsigned n = 0; n < count; n++) {
        snprintf(name, sizeof(name), "%u", n);
        tree_write(t, name, "");
    }
}

static struct fs_file *open_dir(struct share *t, uint64_t *fh)
{
    struct fs_opened o;
    assert_ok(fs_opendir(t->fs, t->root, &o));
    *fh = o.fh;
    return fs_file_get(t->fs, o.fh, t->root);
}

static void close_dir(struct share *t, struct fs_file *f, uint64_t fh)
{
    fs_file_put(t->fs, f);
    assert_ok(fs_release(t->fs, fh));
}

/* Read everything in calls of @budget, each from where the last one stopped. */
static void read_all(struct share *t, struct fs_file *f, struct seen *s, bool plus, size_t budget)
{
    for (;;) {
        unsigned before = s->count;
        assert_ok(fs_readdir(t->fs, t->root, f, s->last_off, plus, budget, see, s));
        assert_in_range(s->count - before, 0, budget / 32);
        if (s->count == before)
            return;
    }
}

static void check_all(const struct seen *s, unsigned count, bool plus)
{
    assert_int_equal(s->dots, 2);
    assert_int_equal(s->count, count + 2);
    assert_int_equal(s->entries, plus ? count : 0);
    for (unsigned n = 0; n < count; n++)
        assert_int_equal(s->hit[n], 1);
}

static void test_many(void **state)
{
    struct share t;
    struct share_config cfg = tree_config();
    static const size_t budgets[] = {4096, 65536, 1 << 20, 200};
    uint64_t fh;
    cfg.max_fds = 15000;
    tree_make(&t);
    tree_open(&t, &cfg);
    fill(&t, MANY);
    for (unsigned n = 0; n < 4; n++) {
        for (int plus = 0; plus < 2; plus++) {
            struct seen *s = calloc(1, sizeof(*s));
            s->t = &t;
            struct fs_file *f = open_dir(&t, &fh);
            read_all(&t, f, s, plus, budgets[n]);
            check_all(s, MANY, plus);
            close_dir(&t, f, fh);
            free(s);
        }
    }
    tree_stop(&t);
}

/* ---- what the guest knows already ---- */

struct known {
    struct share *t;
    uint64_t id[200], off; /* 0: none */
    unsigned old, new;
};

static bool compare_known(void *user, const struct fs_dirent *d, struct fs_entry *entry)
{
    struct known *k = user;

    k->off = d->off;
    if (!entry)
        return true;
    uint64_t id = fs_inode_id(entry->inode), *known = &k->id[strtoul(d->name, NULL, 10)];
    if (*known) {
        assert_int_equal(id, *known);
        k->old++;
    } else {
        k->new ++;
    }
    *known = id;
    fs_inode_remember(k->t->fs, entry->inode);
    return true;
}

static void list_known(struct known *k, size_t budget)
{
    uint64_t fh, before;
    struct fs_file *f = open_dir(k->t, &fh);

    k->old = k->new = 0;
    k->off = 0;
    do {
        before = k->off;
        assert_ok(fs_readdir(k->t->fs, k->t->root, f, k->off, true, budget, compare_known, k));
    } while (k->off != before);
    close_dir(k->t, f, fh);
}

/* However many were new before it, an inode that is known stays the one it is; also where handles
 * do not serve. The next listing finds all of them. */
static void known_among_new(enum host_handles handles, size_t budget)
{
    struct share t;
    struct share_config cfg = tree_config();
    static struct known k;

    cfg.host.policy.handles = handles;
    cfg.max_fds = 1000;
    memset(&k, 0, sizeof(k));
    k.t = &t;
    tree_make(&t);
    tree_open(&t, &cfg);
    fill(&t, 200);
    for (unsigned n = 0; n < 200; n += 37) {
        char name[16];
        snprintf(name, sizeof(name), "%u", n);
        k.id[n] = tree_guest_look(&t, t.root, name);
    }
    list_known(&k, budget);
    assert_int_equal(k.old, 6);
    assert_int_equal(k.new, 194);
    list_known(&k, budget);
    assert_int_equal(k.old, 200);
    for (unsigned n = 0; n < 200; n++)
        fs_forget(t.fs, k.id[n], n % 37 == 0 ? 3 : 2);
    for (unsigned n = 0; n < 200; n++)
        assert_null(fs_inode_get(t.fs, k.id[n]));
    tree_stop(&t);
}

static void test_known_among_new(void **state)
{
    static const enum host_handles how[] = {HOST_HANDLES_PREFER, HOST_HANDLES_NEVER};

    for (unsigned i = 0; i < 2; i++) {
        known_among_new(how[i], 1 << 20);
        known_among_new(how[i], 4096);
    }
}

/* The callback may stop anywhere; the entry it refused comes first next time. */
static void test_stop(void **state)
{
    struct share t;
    uint64_t fh;
    tree_start(&t);
    fill(&t, 500);
    for (int plus = 0; plus < 2; plus++) {
        struct seen *s = calloc(1, sizeof(*s));
        s->t = &t;
        struct fs_file *f = open_dir(&t, &fh);
        unsigned before;
        unsigned fds = count_fds();
        do {
            before = s->count;
            s->stop_after = before + 7;
            assert_ok(fs_readdir(t.fs, t.root, f, s->last_off, plus, 1 << 20, see, s));
        } while (s->count > before);
        check_all(s, 500, plus);
        assert_int_equal(count_fds(), fds); /* refused entries were dropped */
        close_dir(&t, f, fh);
        free(s);
    }
    tree_stop(&t);
}

static void test_seek(void **state)
{
    struct share t;
    uint64_t fh;
    struct seen *s = calloc(1, sizeof(*s));
    tree_start(&t);
    fill(&t, 2000);
    s->t = &t;
    struct fs_file *f = open_dir(&t, &fh);
    read_all(&t, f, s, false, 4096);
    check_all(s, 2000, false);
    /* Back to remembered places, in any order. */
    for (int n = 60; n >= 1; n -= 7) {
        struct seen *b = calloc(1, sizeof(*b));
        b->t = &t;
        b->last_off = s->offs[n];
        read_all(&t, f, b, false, 8192);
        assert_int_equal(b->count, s->count - (unsigned)n - 1);
        free(b);
    }
    /* A new start sees what is new. */
    tree_write(&t, "2000", "");
    struct seen *again = calloc(1, sizeof(*again));
    again->t = &t;
    read_all(&t, f, again, true, 1 << 20);
    check_all(again, 2001, true);
    assert_int_equal(fs_readdir(t.fs, t.root, f, UINT64_MAX, false, 4096, see, again), -EINVAL);
    free(again);
    free(s);
    close_dir(&t, f, fh);
    tree_stop(&t);
}

/* More directories in the middle of reading than buffers are kept for. */
static void test_without_buffers(void **state)
{
    enum { DIRS = 1100 };
    struct share t;
    struct share_config cfg = tree_config();
    uint64_t fh[DIRS];
    struct fs_file *f[DIRS];
    static struct seen s[DIRS];

    cfg.max_fds = 15000;
    tree_make(&t);
    tree_open(&t, &cfg);
    fill(&t, 20);
    for (unsigned n = 0; n < DIRS; n++) {
        f[n] = open_dir(&t, &fh[n]);
        memset(&s[n], 0, sizeof(s[n]));
        s[n].t = &t;
        s[n].stop_after = 3;
        assert_ok(fs_readdir(t.fs, t.root, f[n], 0, n % 2, 4096, see, &s[n]));
        assert_int_equal(s[n].count, 3);
    }
    for (unsigned n = 0; n < DIRS; n++) {
        s[n].stop_after = 0;
        read_all(&t, f[n], &s[n], n % 2, 512);
        check_all(&s[n], 20, n % 2);
        close_dir(&t, f[n], fh[n]);
    }
    tree_stop(&t);
}

static bool find_dotdot(void *user, const struct fs_dirent *d, struct fs_entry *entry)
{
    if (strcmp(d->name, "..") == 0)
        *(uint64_t *)user = d->ino;
    return true;
}

static void test_root_dotdot(void **state)
{
    struct share t;
    struct fs_attr a;
    uint64_t fh, ino = 0;
    tree_start(&t);
    struct fs_file *f = open_dir(&t, &fh);
    assert_ok(fs_readdir(t.fs, t.root, f, 0, false, 4096, find_dotdot, &ino));
    assert_ok(fs_getattr(t.fs, t.root, NULL, &a));
    assert_int_equal(ino, a.st.st_ino);
    close_dir(&t, f, fh);
    tree_stop(&t);
}

static void test_wrong_kind(void **state)
{
    struct share t;
    struct fs_opened o;
    struct seen s = {.t = &t};
    char buf[8];
    struct iovec iov = {buf, sizeof(buf)};
    uint64_t fh;
    tree_start(&t);
    tree_write(&t, "f", "x");
    struct fs_inode *i = tree_look(&t, t.root, "f");
    assert_ok(fs_open(t.fs, i, 0, 0, &o));
    struct fs_file *f = fs_file_get(t.fs, o.fh, i);
    assert_int_equal(fs_readdir(t.fs, i, f, 0, false, 4096, see, &s), -ENOTDIR);
    close_dir(&t, f, o.fh);
    fs_inode_put(t.fs, i);
    f = open_dir(&t, &fh);
    assert_int_equal(fs_read(t.fs, f, &iov, 1, 0, 0), -EISDIR);
    assert_int_equal(fs_write(t.fs, f, &iov, 1, 0, 0), -EISDIR);
    assert_int_equal(fs_lseek(t.fs, f, 0, SEEK_SET), -EISDIR);
    assert_int_equal(fs_fallocate(t.fs, f, 0, 0, 10, 0), -EISDIR);
    assert_int_equal(fs_copy_range(t.fs, f, 0, f, 0, 10, 0, 0), -EISDIR);
    assert_ok(fs_fsync(t.fs, f, false));
    close_dir(&t, f, fh);
    tree_stop(&t);
}

/* A directory that is removed while it is open. */
static void test_removed(void **state)
{
    struct share t;
    struct fs_opened o;
    struct seen s = {.t = &t};
    tree_start(&t);
    assert_ok(mkdir(tree_path(&t, "d"), 0755));
    struct fs_inode *d = tree_look(&t, t.root, "d");
    assert_ok(fs_opendir(t.fs, d, &o));
    assert_ok(fs_rmdir(t.fs, t.root, "d"));
    struct fs_file *f = fs_file_get(t.fs, o.fh, d);
    assert_ok(fs_readdir(t.fs, d, f, 0, true, 4096, see, &s));
    assert_int_equal(s.entries, 0);
    close_dir(&t, f, o.fh);
    fs_inode_put(t.fs, d);
    tree_stop(&t);
}

/* ---- where another file system begins ---- */

static struct fs *entry_fs;

static bool take_m(void *user, const struct fs_dirent *d, struct fs_entry *entry)
{
    uint64_t *ino = user;
    if (d->name_len == 1 && d->name[0] == 'm' && entry) {
        assert_int_equal(d->ino, entry->attr.st.st_ino);
        *ino = d->ino;
    }
    if (entry)
        fs_inode_put(entry_fs, entry->inode);
    return true;
}

/* Two file systems of a kind, one in the other: their first directories have one number on the
 * host. In the guest a walk would take the inner one for the outer, and for a loop. */
static void test_first_directories(void **state)
{
    struct share t;
    struct share_config cfg = tree_config();
    struct fs_attr top, a;
    struct fs_entry e, up;
    struct fs_opened o;
    struct statx stx;
    struct stat host[2];
    uint64_t listed = 0;

    tree_make_tmpfs(&t);
    assert_ok(mkdir(tree_path(&t, "m"), 0755));
    assert_ok(mount("none", tree_path(&t, "m"), "tmpfs", 0, "mode=0755"));
    assert_ok(mkdir(tree_path(&t, "m/below"), 0755));
    assert_ok(stat(t.dir, &host[0]));
    assert_ok(stat(tree_path(&t, "m"), &host[1]));
    assert_int_equal(host[0].st_ino, host[1].st_ino);
    tree_open(&t, &cfg);
    entry_fs = t.fs;
    assert_ok(fs_getattr(t.fs, t.root, NULL, &top));
    assert_int_equal(top.st.st_ino, host[0].st_ino);
    assert_ok(fs_lookup(t.fs, t.root, "m", &e));
    assert_int_not_equal(e.attr.st.st_ino, top.st.st_ino);
    /* Whoever asks hears the same. */
    assert_ok(fs_getattr(t.fs, e.inode, NULL, &a));
    assert_int_equal(a.st.st_ino, e.attr.st.st_ino);
    assert_ok(fs_getstat(t.fs, e.inode, NULL, &a));
    assert_int_equal(a.st.st_ino, e.attr.st.st_ino);
    assert_ok(fs_statx(t.fs, e.inode, NULL, 0, STATX_BASIC_STATS, &stx));
    assert_int_equal(stx.stx_ino, e.attr.st.st_ino);
    struct fs_inode *below = tree_look(&t, e.inode, "below");
    assert_ok(fs_lookup(t.fs, below, "..", &up));
    assert_ptr_equal(up.inode, e.inode);
    assert_int_equal(up.attr.st.st_ino, e.attr.st.st_ino);
    fs_inode_put(t.fs, up.inode);
    fs_inode_put(t.fs, below);
    assert_ok(fs_opendir(t.fs, t.root, &o));
    struct fs_file *f = fs_file_get(t.fs, o.fh, t.root);
    assert_ok(fs_readdir(t.fs, t.root, f, 0, true, 4096, take_m, &listed));
    assert_int_equal(listed, e.attr.st.st_ino);
    fs_file_put(t.fs, f);
    assert_ok(fs_release(t.fs, o.fh));
    fs_inode_put(t.fs, e.inode);
    tree_close(&t);
    assert_ok(umount(tree_path(&t, "m")));
    tree_remove(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_known_among_new),
        cmocka_unit_test(test_stop),
        cmocka_unit_test(test_seek),
        cmocka_unit_test(test_without_buffers),
        cmocka_unit_test(test_root_dotdot),
        cmocka_unit_test(test_wrong_kind),
        cmocka_unit_test(test_removed),
        cmocka_unit_test(test_first_directories),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
