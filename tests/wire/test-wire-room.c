/* SPDX-License-Identifier: BSD-3-Clause
 * The bounds on inodes and descriptors, met by what makes or empties a file: it is refused before
 * anything has changed on the host, and works again when something was given back. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/wire/outside.h"
#include "tests/wire/wire-p9.h"

#define ROOT  FUSE_ROOT_ID
#define CROWD 40 /* more files than any of the bounds below */

/* ---- the crowd: inodes that the peer knows ---- */

struct crowd {
    uint64_t dir, node[CROWD];
    unsigned known;
};

static int make_crowd(void **state)
{
    char name[24];
    int rc = p9_make(state);
    struct wire *w = *state;

    if (rc != 0)
        return rc;
    mkdir(wire_path(w, "crowd"), 0755);
    for (unsigned i = 0; i < CROWD; i++) {
        snprintf(name, sizeof(name), "crowd/%u", i);
        wire_put(w, name, NULL);
    }
    return 0;
}

/* Look up until there is no room. */
static void fill(struct wire *w, struct crowd *c)
{
    struct fuse_entry_out e;
    char name[16];
    int rc = 0;

    while (c->known < CROWD) {
        snprintf(name, sizeof(name), "%u", c->known);
        rc = fe_lookup(&w->f, c->dir, name, &e);
        if (rc != 0)
            break;
        c->node[c->known++] = e.nodeid;
    }
    assert_int_equal(rc, -ENFILE);
}

static void forget(struct wire *w, struct crowd *c, unsigned n)
{
    for (; n > 0; n--)
        fe_forget(&w->f, c->node[--c->known], 1);
    assert_int_equal(fe_getattr(&w->f, ROOT, NULL), 0); /* so they are done */
}

static void begin(struct wire *w, const char *bound, const char *handles, struct crowd *c)
{
    wire_spawn(w, (const char *const[]){bound, handles, "--allow-direct-io", NULL});
    wire_rings(w);
    assert_int_equal(fe_init(&w->f, fe_init_linux), 0);
    *c = (struct crowd){.dir = wire_node(w, "crowd")};
    fill(w, c);
    assert_true(c->known > 8);
}

static bool there(struct wire *w, const char *name)
{
    struct stat st;
    return lstat(wire_path(w, name), &st) == 0;
}

/* ---- what makes something ---- */

static const struct maker {
    const char *what;
    uint32_t op, mode, flags;
    unsigned fds; /* that it needs when an inode needs one */
} makers[] = {
    {"MKDIR", FUSE_MKDIR, 0755, 0, 1},
    {"MKNOD of a file", FUSE_MKNOD, S_IFREG | 0644, 0, 1},
    {"MKNOD of a FIFO", FUSE_MKNOD, S_IFIFO | 0644, 0, 1},
    {"SYMLINK", FUSE_SYMLINK, 0, 0, 1},
    {"CREATE", FUSE_CREATE, 0644, O_CREAT | O_RDWR, 2},
    {"CREATE, O_EXCL", FUSE_CREATE, 0644, O_CREAT | O_EXCL | O_RDWR, 2},
    {"CREATE, O_DIRECT", FUSE_CREATE, 0644, O_CREAT | O_RDWR | O_DIRECT, 3},
};

struct made {
    struct fuse_entry_out e;
    struct fuse_open_out o;
} __attribute__((packed));

/* Make "new" in the root. */
static int make(struct wire *w, const struct maker *m, struct made *out)
{
    struct fuse_mkdir_in dir = {.mode = m->mode};
    struct fuse_mknod_in node = {.mode = m->mode};
    struct fuse_create_in file = {.flags = m->flags, .mode = m->mode};
    const bool opens = m->op == FUSE_CREATE, link = m->op == FUSE_SYMLINK;
    const void *in = opens ? (void *)&file : m->op == FUSE_MKDIR ? (void *)&dir : (void *)&node;
    size_t len = opens ? sizeof(file) : m->op == FUSE_MKDIR ? sizeof(dir) : sizeof(node);

    return fe_call_name(&w->f, m->op, ROOT, link ? NULL : in, link ? 0 : len, "new",
                        link ? "to" : NULL, out, opens ? sizeof(*out) : sizeof(out->e));
}

static void refused(struct wire *w, const struct maker *m)
{
    struct made out;
    int rc = make(w, m, &out);
    if (rc != -ENFILE || there(w, "new"))
        print_message("%s: %d\n", m->what, rc);
    assert_int_equal(rc, -ENFILE);
    assert_false(there(w, "new"));
}

/* It works, and all of it is given back. Not every file system has O_DIRECT. */
static void works(struct wire *w, const struct maker *m)
{
    struct made out;
    int rc = make(w, m, &out);
    if (rc != 0)
        print_message("%s: %d\n", m->what, rc);
    if (rc == -EINVAL && (m->flags & O_DIRECT)) {
        unlink(wire_path(w, "new"));
        return;
    }
    assert_int_equal(rc, 0);
    assert_true(there(w, "new"));
    if (m->op == FUSE_CREATE)
        assert_int_equal(fe_release(&w->f, out.e.nodeid, out.o.fh), 0);
    fe_forget(&w->f, out.e.nodeid, 1);
    assert_int_equal(remove(wire_path(w, "new")), 0);
    assert_int_equal(fe_getattr(&w->f, ROOT, NULL), 0);
}

/* Each with less than it needs, down to nothing, and with enough. @by_fds: descriptors are what
 * there is too few of. */
static void makers_are_checked(struct wire *w, struct crowd *c, bool by_fds)
{
    for (unsigned i = 0; i < sizeof(makers) / sizeof(makers[0]); i++) {
        const struct maker *m = &makers[i];
        unsigned need = by_fds ? m->fds : 1;
        for (unsigned left = 0; left < need; left++) {
            forget(w, c, left);
            refused(w, m);
            fill(w, c);
        }
        forget(w, c, need);
        works(w, m);
        fill(w, c);
    }
}

/* What needs no new inode goes on. */
static void others_go_on(struct wire *w, struct crowd *c)
{
    struct fuse_link_in link = {.oldnodeid = c->node[0]};
    struct fuse_rename_in ren = {.newdir = ROOT};
    struct fuse_entry_out e;

    assert_int_equal(
        fe_call_name(&w->f, FUSE_LINK, ROOT, &link, sizeof(link), "new", NULL, &e, sizeof(e)), 0);
    assert_true(there(w, "new"));
    assert_int_equal(
        fe_call_name(&w->f, FUSE_RENAME, ROOT, &ren, sizeof(ren), "new", "newer", NULL, 0), 0);
    assert_int_equal(fe_call_name(&w->f, FUSE_UNLINK, ROOT, NULL, 0, "newer", NULL, NULL, 0), 0);
    assert_false(there(w, "newer"));
    fe_forget(&w->f, c->node[0], 1); /* of the LINK */
}

static void by_descriptors(void **state)
{
    struct wire *w = *state;
    struct crowd c;
    uint64_t fh;

    begin(w, "--max-fds=30", "--inode-file-handles=never", &c);
    /* Inodes leave an eighth to files: all is taken when these have it. */
    unsigned n = 0;
    int rc;
    while ((rc = fe_open(&w->f, c.node[0], O_RDONLY, &fh)) == 0)
        n++;
    assert_int_equal(rc, -ENFILE);
    assert_in_range(n, 1, 8);
    makers_are_checked(w, &c, true);
    others_go_on(w, &c);
    /* What is emptied when it is opened keeps its data when it cannot be. */
    wire_put(w, "crowd/0", "data");
    struct stat st;
    for (unsigned left = 0; left < 2; left++) {
        forget(w, &c, left);
        assert_int_equal(fe_open(&w->f, c.node[0], O_RDWR | O_TRUNC | O_DIRECT, &fh), -ENFILE);
        assert_int_equal(stat(wire_path(w, "crowd/0"), &st), 0);
        assert_int_equal(st.st_size, 4);
        fill(w, &c);
    }
    wire_finish(w, 0);
}

static void by_inodes(void **state)
{
    static const char *const handles[] = {"--inode-file-handles=never",
                                          "--inode-file-handles=prefer"};
    struct wire *w = *state;
    struct fuse_entry_out e;
    struct crowd c;
    uint64_t fh;

    for (unsigned i = 0; i < 2; i++) {
        begin(w, "--max-inodes=20", handles[i], &c);
        makers_are_checked(w, &c, false);
        others_go_on(w, &c);
        /* What is there and known is opened. */
        assert_int_equal(fe_create(&w->f, c.dir, "0", O_CREAT | O_RDWR, 0644, &e, &fh), 0);
        assert_int_equal(e.nodeid, c.node[0]);
        assert_int_equal(fe_release(&w->f, e.nodeid, fh), 0);
        wire_finish(w, 0);
    }
}

/* ---- 9P ---- */

static unsigned walk_all(struct p9c *c)
{
    char name[24];
    unsigned n = 0;
    int rc = p9c_walk(c, P9_ROOT, 3, "crowd");
    for (; n < CROWD && rc == 0; n += rc == 0) {
        snprintf(name, sizeof(name), "%u", n);
        rc = p9c_walk(c, 3, 100 + n, name);
    }
    assert_int_equal(rc, -ENFILE);
    return n;
}

static int p9_make_one(struct p9c *c, unsigned which)
{
    int rc;
    if (which == 0)
        return p9c_mkdir(c, P9_ROOT, "new", 0755, 0);
    if (which == 1)
        return p9c_symlink(c, P9_ROOT, "new", "to", 0);
    if (which == 2)
        return p9c_mknod(c, P9_ROOT, "new", S_IFIFO | 0644, 0, 0, 0);
    assert_int_equal(p9c_walk(c, P9_ROOT, 2, ""), 0);
    rc = p9c_lcreate(c, 2, "new", P9_RDWR, 0640, 0);
    assert_int_equal(p9c_clunk(c, 2), 0);
    return rc;
}

static void by_9p(void **state)
{
    static const char *const bounds[] = {"--max-fds=30", "--max-inodes=20"};
    struct wire *w = *state;
    char source[128], addr[128];
    struct p9c c;

    for (unsigned i = 0; i < 2; i++) {
        snprintf(p9_path, sizeof(p9_path), "%s/p9", w->dir);
        snprintf(source, sizeof(source), "--shared-dir=%s", w->share);
        snprintf(addr, sizeof(addr), "--p9-listen=unix:%s", p9_path);
        wire_exec(w,
                  (const char *const[]){source, addr, "--protocol=9p", bounds[i],
                                        "--inode-file-handles=never", NULL},
                  -1);
        int fd = p9_dial(w);
        p9_mounted(&c, p9_by_socket, &fd);
        unsigned n = walk_all(&c);
        for (unsigned which = 0; which < 4; which++) {
            assert_int_equal(p9_make_one(&c, which), -ENFILE);
            assert_false(there(w, "new"));
        }
        assert_int_equal(p9c_clunk(&c, 100 + n - 1), 0);
        assert_int_equal(p9c_clunk(&c, 100 + n - 2), 0);
        for (unsigned which = 0; which < 4; which++) {
            assert_int_equal(p9_make_one(&c, which), 0);
            assert_int_equal(remove(wire_path(w, "new")), 0);
        }
        p9c_free(&c);
        close(fd);
        p9_stopped(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(by_descriptors, wire_cleanup),
        cmocka_unit_test_teardown(by_inodes, wire_cleanup),
        cmocka_unit_test_teardown(by_9p, wire_cleanup),
    };
    return cmocka_run_group_tests_name("wire-room", tests, make_crowd, wire_teardown);
}
