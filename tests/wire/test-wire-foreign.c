/* SPDX-License-Identifier: BSD-3-Clause
 * Guests that are not Linux: each driver's requests as its public sources build them, field by
 * field and quirk by quirk, with what it expects. */
#include <string.h>
#include <unistd.h>

#include "tests/wire/wire-steps.h"

/* ---- UEFI: OvmfPkg/VirtioFsDxe of edk2 ---- */

/* Every structure has a descriptor of its own, every reply's too. It sets up the first request
 * queue and no other, and takes no feature but VERSION_1. */
static const struct driver uefi = {
    .name = "UEFI",
    .features = VU_F_VERSION_1,
    .queue_size = 128,
    .cuts = CUT_HEADER | CUT_NAMES | CUT_ANSWER | CUT_ENTRY,
    .minor = 31,
    .flags = FUSE_DO_READDIRPLUS,
    .init_len = 16,
};

static const struct step uefi_steps[] = {
    OPEN_AS(FUSE_OPENDIR, REG_ROOT, 0, REG_DH),
    READ_AS(FUSE_READDIRPLUS, REG_ROOT, REG_DH, 16384, entries_plus),
    LOOKUP(REG_ROOT, "u", .err = -ENOENT),
    MKDIR(REG_ROOT, "u", 0777, REG_A),
    LOOKUP(REG_A, "new", .err = -ENOENT),
    CREATE(REG_A, "new", O_RDWR, 0, 0666, REG_B),
    WRITE_5(REG_B, REG_FH),
    FLUSH(REG_B, REG_FH),
    FSYNC(REG_B, REG_FH),
    GETATTR(REG_B, 0, REG_ZERO, .look = size_is_5),
    RENAME2(REG_A, "new", "newer", RENAME_NOREPLACE, .err = 0),
    RELEASE_AS(FUSE_RELEASE, REG_B, REG_FH, .err = 0),
    FORGET(REG_B, ),
    LOOKUP(REG_A, "newer", FOUND(REG_C, is_file)),
    SETATTR(REG_C, REG_ZERO, mode_is_444, .valid = FATTR_MODE | FATTR_MTIME | FATTR_ATIME,
            .mode = S_IFREG | 0444, .mtime = 1000000000, .atime = 1000000000),
    SETATTR(REG_C, REG_ZERO, size_is_2, .valid = FATTR_SIZE, .size = 2),
    OPEN_AS(FUSE_OPEN, REG_C, O_RDONLY, REG_FH),
    READ_AS(FUSE_READ, REG_C, REG_FH, 4096, NULL),
    RELEASE_AS(FUSE_RELEASE, REG_C, REG_FH, .err = 0),
    {.what = "FSYNCDIR",
     .op = FUSE_FSYNCDIR,
     .node = REG_ROOT,
     .in = IN(AS(fuse_fsync_in, .padding = 0), REG_DH)},
    ASK_STATFS,
    REMOVE_AS(FUSE_UNLINK, REG_A, "newer", .err = 0),
    FORGET(REG_C, ),
    REMOVE_AS(FUSE_RMDIR, REG_ROOT, "u", .err = 0),
    FORGET(REG_A, ),
    RELEASE_AS(FUSE_RELEASEDIR, REG_ROOT, REG_DH, .err = 0),
};

/* ---- Windows: viofs of kvm-guest-drivers-windows ---- */

/* One buffer there, one back. Words that its structures call padding or unused are not set: the
 * header's last, and the second of OPEN and CREATE, which means "kill set-id bits" since 7.33.
 * Links are never opened, so their handle is 0, used all the same; that of other nodes may be -1.
 * READLINK's length is the answer's. */
static const struct driver windows = {
    .name = "Windows",
    .features = VU_F_VERSION_1 | VU_F_INDIRECT | VU_F_EVENT_IDX,
    .queue_size = 256,
    .hiprio = true,
    .minor = 31,
    .flags = FUSE_DO_READDIRPLUS | FUSE_MAX_PAGES,
    .init_len = 16,
    .init_node = FUSE_ROOT_ID,
    .padding = 0x0001a5c3,
};

static const struct step windows_steps[] = {
    LOOKUP(REG_ROOT, ".", FOUND(REG_A, is_dir)),
    OPEN_AS(FUSE_OPENDIR, REG_A, O_RDONLY | 0200000, REG_DH),
    READ_AS(FUSE_READDIRPLUS, REG_A, REG_DH, 65536, entries_plus),
    READ_AS(FUSE_READDIR, REG_A, REG_DH, 4080, one_entry),
    RELEASE_AS(FUSE_RELEASEDIR, REG_A, REG_DH, .err = 0),
    ASK_STATFS,
    LOOKUP(REG_ROOT, "w.txt", .err = -ENOENT),
    CREATE(REG_ROOT, "w.txt", O_RDWR | 0200, 0xffffffff, 0664, REG_B),
    GETATTR(REG_B, FUSE_GETATTR_FH, REG_FH, .err = 0),
    WRITE_5(REG_B, REG_FH),
    {.what = "FALLOCATE",
     .op = FUSE_FALLOCATE,
     .node = REG_B,
     .in = IN(AS(fuse_fallocate_in, .length = 8192, .mode = 1), REG_FH)},
    GETATTR(REG_B, FUSE_GETATTR_FH, REG_FH, .look = size_is_5),
    SETATTR(REG_B, REG_FH, size_is_2, .valid = FATTR_SIZE | FATTR_FH, .size = 2),
    SETATTR(REG_B, REG_FH, mode_is_444,
            .valid = FATTR_FH | FATTR_MODE | FATTR_ATIME | FATTR_MTIME | FATTR_CTIME, .mode = 0444,
            .atime = 1000000000, .mtime = 1000000000, .ctime = 1000000000),
    SETATTR(REG_B, REG_FH, size_is_2, .valid = FATTR_FH),
    FLUSH(REG_B, REG_FH),
    RELEASE_AS(FUSE_RELEASE, REG_B, REG_FH, .err = 0),
    RENAME2(REG_ROOT, "w.txt", "v.txt", RENAME_NOREPLACE, .err = 0),
    RENAME2(REG_ROOT, "v.txt", "file", RENAME_NOREPLACE, .err = -EEXIST),
    RENAME(REG_ROOT, "v.txt", "w.txt"),
    LOOKUP(REG_ROOT, "link", FOUND(REG_C, is_link)),
    {.what = "READLINK",
     .op = FUSE_READLINK,
     .node = REG_C,
     .surplus = 260,
     .room = 260,
     .look = says_file},
    GETATTR(REG_C, FUSE_GETATTR_FH, REG_ZERO, .err = 0),
    GETATTR(REG_C, FUSE_GETATTR_FH, REG_WILD, .err = 0),
    RELEASE_AS(FUSE_RELEASE, REG_C, REG_ZERO, .err = -EBADF),
    FORGET(REG_C, ),
    {.what = "SYMLINK",
     .op = FUSE_SYMLINK,
     .node = REG_ROOT,
     .name = "l",
     .name2 = "w.txt",
     .room = ENTRY,
     FOUND(REG_C, is_link)},
    REMOVE_AS(FUSE_UNLINK, REG_ROOT, "l", .err = 0),
    REMOVE_AS(FUSE_UNLINK, REG_ROOT, "w.txt", .err = 0),
    FORGET(REG_B, ),
    GETATTR(REG_B, 0, REG_NONE, .err = -ENOENT),
    MKDIR(REG_ROOT, "wd", 0775, REG_B),
    OPEN_AS(FUSE_OPENDIR, REG_B, O_RDONLY | 0200000, REG_DH),
    GETATTR(REG_B, FUSE_GETATTR_FH, REG_DH, .err = 0),
    RELEASE_AS(FUSE_RELEASEDIR, REG_B, REG_DH, .err = 0),
    REMOVE_AS(FUSE_RMDIR, REG_ROOT, "wd", .err = 0),
    FORGET(REG_B, ),
    DESTROY(REG_ROOT),
};

/* ---- Zephyr: subsys/fs/fuse_client and subsys/fs/virtiofs ---- */

/* A small request queue and no other. FORGET's header counts itself only. SETATTR is not cleared
 * before three of its fields are set; what is removed is named by its path from the root. After a
 * failed lookup it forgets a number that it never got. An empty name, or nothing to read, is a
 * descriptor of no bytes. */
static const struct driver zephyr = {
    .name = "Zephyr",
    .features = VU_F_VERSION_1,
    .queue_size = 16,
    .cuts = CUT_NAMES | CUT_NUL | CUT_EMPTY | CUT_ANSWER,
    .minor = 31,
    .init_len = 64,
};

static const struct step zephyr_steps[] = {
    LOOKUP(REG_ROOT, "file", FOUND(REG_A, is_file)),
    OPEN_AS(FUSE_OPEN, REG_A, O_RDONLY, REG_FH),
    READ_AS(FUSE_READ, REG_A, REG_FH, 100, says_hello),
    READ_AS(FUSE_READ, REG_A, REG_FH, 0, NULL),
    LSEEK(REG_A, REG_FH, 6, SEEK_SET, at_6),
    LSEEK(REG_A, REG_FH, 0, SEEK_END, at_6),
    RELEASE_AS(FUSE_RELEASE, REG_A, REG_FH, .err = 0),
    FORGET(REG_A, .lie = -8, ),
    GETATTR(REG_A, 0, REG_NONE, .err = -ENOENT),
    LOOKUP(REG_ROOT, ".", FOUND(REG_A, is_dir)),
    OPEN_AS(FUSE_OPENDIR, REG_A, O_RDONLY, REG_DH),
    READ_AS(FUSE_READDIR, REG_A, REG_DH, 24 + 256, one_entry),
    RELEASE_AS(FUSE_RELEASEDIR, REG_A, REG_DH, .err = 0),
    LOOKUP(REG_ROOT, "", .err = -EINVAL),
    LOOKUP(REG_ROOT, "z.txt", .err = -ENOENT),
    FORGET(REG_WILD, .lie = -8, ),
    CREATE(REG_ROOT, "z.txt", O_CREAT | O_WRONLY, 0, 0777, REG_B),
    WRITE_5(REG_B, REG_FH),
    SETATTR(REG_B, REG_FH, size_is_2, .valid = FATTR_SIZE, .padding = 0x77777777, .size = 2,
            .lock_owner = 0x7777777777777777, .atime = 0x7777777777777777, .atimensec = 0x77777777,
            .mode = 0x77777777, .uid = 0x77777777, .gid = 0x77777777),
    FSYNC(REG_B, REG_FH),
    RELEASE_AS(FUSE_RELEASE, REG_B, REG_FH, .err = 0),
    FORGET(REG_B, .lie = -8, ),
    ASK_STATFS,
    MKDIR(REG_ROOT, "zd", 0777, REG_A),
    CREATE(REG_A, "in", O_CREAT | O_WRONLY, 0, 0777, REG_B),
    RELEASE_AS(FUSE_RELEASE, REG_B, REG_FH, .err = 0),
    RENAME(REG_A, "in", "out"),
    REMOVE_AS(FUSE_UNLINK, REG_ROOT, "zd/out", .err = 0),
    MKDIR(REG_A, "deep", 0777, REG_B),
    REMOVE_AS(FUSE_RMDIR, REG_ROOT, "zd/deep", .err = 0),
    REMOVE_AS(FUSE_RMDIR, REG_ROOT, "zd", .err = 0),
    REMOVE_AS(FUSE_UNLINK, REG_ROOT, "z.txt", .err = 0),
    DESTROY(REG_ZERO),
};

/* ---- Hermit: src/fs/virtio_fs.rs ---- */

/* Names are paths from the root, with a slash in front. Every request has the same number. A
 * directory's handle is given back by RELEASE. */
static const struct driver hermit = {
    .name = "Hermit",
    .features = VU_F_VERSION_1,
    .queue_size = 256,
    .hiprio = true,
    .cuts = CUT_NAMES,
    .minor = 31,
    .init_len = 64,
    .init_node = FUSE_ROOT_ID,
    .unique = 1,
};

static const struct step hermit_steps[] = {
    LOOKUP(REG_ROOT, "/", FOUND(REG_A, is_dir)),
    OPEN_AS(FUSE_OPENDIR, REG_A, 0x10000, REG_DH),
    READ_AS(FUSE_READDIR, REG_A, REG_DH, 65536, one_entry),
    RELEASE_AS(FUSE_RELEASE, REG_A, REG_DH, .err = 0),
    LOOKUP(REG_ROOT, "/dir/file", FOUND(REG_B, is_file)),
    OPEN_AS(FUSE_OPEN, REG_B, O_RDONLY, REG_FH),
    GETATTR(REG_B, FUSE_GETATTR_FH, REG_FH, .err = 0),
    READ_AS(FUSE_READ, REG_B, REG_FH, 65536, NULL),
    RELEASE_AS(FUSE_RELEASE, REG_B, REG_FH, .err = 0),
    LOOKUP(REG_ROOT, "/absent", .err = -ENOENT),
    LOOKUP(REG_ROOT, "/dir/absent", .err = -ENOENT),
    LOOKUP(REG_ROOT, "/absent/file", .err = -ENOENT),
    LOOKUP(REG_ROOT, "/file/file", .err = -ENOTDIR),
    LOOKUP(REG_ROOT, "/link/file", .err = -ENOTDIR),
    LOOKUP(REG_ROOT, "/dir", FOUND(REG_A, is_dir)),
    /* A directory that is opened without O_DIRECTORY. */
    OPEN_AS(FUSE_OPEN, REG_A, O_RDONLY, REG_FH),
    READ_AS(FUSE_READDIR, REG_A, REG_FH, 4096, one_entry),
    RELEASE_AS(FUSE_RELEASE, REG_A, REG_FH, .err = 0),
    CREATE(REG_ROOT, "/dir/h", O_CREAT | O_TRUNC | O_RDWR, 0, 0777, REG_B),
    WRITE_5(REG_B, REG_FH),
    SETATTR(REG_B, REG_FH, size_is_2, .valid = FATTR_SIZE, .size = 2),
    /* Its writes do not say what its opens said: the offset is its own, from 0. */
    OPEN_AS(FUSE_OPEN, REG_B, O_WRONLY | O_APPEND, REG_DH),
    WRITE_5(REG_B, REG_DH),
    GETATTR(REG_B, FUSE_GETATTR_FH, REG_DH, .look = size_is_7),
    RELEASE_AS(FUSE_RELEASE, REG_B, REG_DH, .err = 0),
    SETATTR(REG_B, REG_FH, mode_is_444, .valid = FATTR_MODE, .mode = 0444),
    LSEEK(REG_B, REG_FH, 0, SEEK_END, NULL),
    LSEEK(REG_B, REG_FH, 0, SEEK_HOLE, NULL),
    {.what = "POLL",
     .op = FUSE_POLL,
     .node = REG_B,
     .err = -ENOSYS,
     .room = 8,
     .in = IN(NULL, sizeof(struct fuse_poll_in), REG_FH)},
    RELEASE_AS(FUSE_RELEASE, REG_B, REG_FH, .err = 0),
    LOOKUP(REG_ROOT, "/link", FOUND(REG_C, is_link)),
    {.what = "READLINK", .op = FUSE_READLINK, .node = REG_C, .room = 65536, .look = says_file},
    MKDIR(REG_ROOT, "/dir/hd", 0777, REG_B),
    REMOVE_AS(FUSE_RMDIR, REG_ROOT, "/dir/hd", .err = 0),
    REMOVE_AS(FUSE_UNLINK, REG_ROOT, "/dir/h", .err = 0),
    REMOVE_AS(FUSE_UNLINK, REG_ROOT, "/dir/h", .err = -ENOENT),
};

/* ---- OSv: drivers/virtio-fs.cc and fs/virtiofs (its window: test-wire-dax-map.c) ---- */

/* Reads only. Nothing of the header is set but length, number, operation and node. */
static const struct driver osv = {
    .name = "OSv",
    .features = VU_F_VERSION_1 | VU_F_INDIRECT | VU_F_EVENT_IDX,
    .queue_size = 64,
    .hiprio = true,
    .cuts = CUT_HEADER | CUT_ANSWER,
    .minor = 32,
    .readahead = 4096,
    .flags = FUSE_MAP_ALIGNMENT,
    .init_len = 16,
    .init_node = FUSE_ROOT_ID,
    .padding = 0xbadcafe5,
    .id = 0xdeadbeef,
};

static const struct step osv_steps[] = {
    LOOKUP(REG_ROOT, "dir", FOUND(REG_A, is_dir)),
    LOOKUP(REG_A, "absent", .err = -ENOENT),
    OPEN_AS(FUSE_OPENDIR, REG_A, O_RDONLY, REG_DH),
    READ_AS(FUSE_READDIR, REG_A, REG_DH, 280, one_entry),
    RELEASE_AS(FUSE_RELEASEDIR, REG_A, REG_DH, .err = 0),
    LOOKUP(REG_ROOT, "file", FOUND(REG_B, is_file)),
    OPEN_AS(FUSE_OPEN, REG_B, O_RDONLY, REG_FH),
    READ_AS(FUSE_READ, REG_B, REG_FH, 6, says_hello),
    RELEASE_AS(FUSE_RELEASE, REG_B, REG_FH, .err = 0),
    LOOKUP(REG_ROOT, "link", FOUND(REG_C, is_link)),
    {.what = "READLINK", .op = FUSE_READLINK, .node = REG_C, .room = 4096, .look = says_file},
};

#define RUN(d)                                                       \
    static void d##_guest(void **state)                              \
    {                                                                \
        driver_run(*state, &(d), NULL, d##_steps, COUNT(d##_steps)); \
    }
RUN(uefi)
RUN(windows)
RUN(zephyr)
RUN(hermit)
RUN(osv)

/* The same with the cache policy that promises most. */
static void uefi_always(void **state)
{
    static const char *const always[] = {"--cache=always", NULL};
    driver_run(*state, &uefi, always, uefi_steps, COUNT(uefi_steps));
}

/* READDIRPLUS is not a matter of what the guest keeps: this one knows no other, and does not mount
 * without. */
static void uefi_never(void **state)
{
    static const char *const never[] = {"--cache=never", NULL};
    driver_run(*state, &uefi, never, uefi_steps, COUNT(uefi_steps));
}

static void uefi_plain_listings(void **state)
{
    static const char *const plain[] = {"--no-readdirplus", NULL};
    driver_run(*state, &uefi, plain, uefi_steps, COUNT(uefi_steps));
}

/* ---- names that are paths ---- */

static const struct driver bare = {
    .name = "names", .features = VU_F_VERSION_1, .queue_size = 16, .minor = 31, .init_len = 16};

#define DEEP_32 "/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d/d"

#define NOT_MADE(o, type, n, n2, e)                                                                \
    {                                                                                              \
        .what = #o " " n, .op = (o), .node = REG_ROOT,                                             \
        .in = {NULL, sizeof(struct type), (o) == FUSE_RENAME2 ? REG_ROOT : REG_NONE}, .name = (n), \
        .name2 = (n2), .room = CREATED, .err = (e)                                                 \
    }

static const struct step path_steps[] = {
    LOOKUP(REG_ROOT, "//dir//file", FOUND(REG_A, is_file)),
    LOOKUP(REG_ROOT, "dir/./file", FOUND(REG_A, is_file)),
    LOOKUP(REG_ROOT, "dir/", FOUND(REG_B, is_dir)),
    LOOKUP(REG_B, "sub/", FOUND(REG_C, is_dir)),
    LOOKUP(REG_B, "/file", FOUND(REG_A, is_file)), /* from the node, not from the root */
    LOOKUP(REG_B, "/dir/file", .err = -ENOENT),
    LOOKUP(REG_ROOT, "/etc/passwd", .err = -ENOENT),
    LOOKUP(REG_B, "../file", .err = -EINVAL),
    LOOKUP(REG_ROOT, "dir/../file", .err = -EINVAL),
    LOOKUP(REG_ROOT, "/../file", .err = -EINVAL),
    LOOKUP(REG_ROOT, "out/passwd", .err = -ENOTDIR), /* a link is not followed */
    LOOKUP(REG_ROOT, "fifo/x", .err = -ENOTDIR),
    LOOKUP(REG_A, "x/y", .err = -ENOTDIR),
    REMOVE_AS(FUSE_UNLINK, REG_ROOT, "out/passwd", .err = -ENOTDIR),
    NOT_MADE(FUSE_MKNOD, fuse_mknod_in, "out/new", NULL, -ENOTDIR),
    NOT_MADE(FUSE_MKDIR, fuse_mkdir_in, "out/new", NULL, -ENOTDIR),
    NOT_MADE(FUSE_CREATE, fuse_create_in, "out/new", NULL, -ENOTDIR),
    NOT_MADE(FUSE_CREATE, fuse_create_in, "dir/../../new", NULL, -EINVAL),
    NOT_MADE(FUSE_RENAME2, fuse_rename2_in, "dir/file", "/../new", -EINVAL),
    NOT_MADE(FUSE_RENAME2, fuse_rename2_in, "out/passwd", "stolen", -ENOTDIR),
    {.what = "SYMLINK",
     .op = FUSE_SYMLINK,
     .node = REG_ROOT,
     .name = "out/new",
     .name2 = "to",
     .room = ENTRY,
     .err = -ENOTDIR},
    {.what = "LINK",
     .op = FUSE_LINK,
     .node = REG_ROOT,
     .in = {NULL, sizeof(struct fuse_link_in), REG_A},
     .name = "out/new",
     .room = ENTRY,
     .err = -ENOTDIR},
    REMOVE_AS(FUSE_UNLINK, REG_ROOT, "dir/..", .err = -EINVAL),
    REMOVE_AS(FUSE_RMDIR, REG_ROOT, "dir/sub/", .err = -EINVAL),
    {.what = "MKDIR of nothing",
     .op = FUSE_MKDIR,
     .node = REG_ROOT,
     .in = {NULL, sizeof(struct fuse_mkdir_in), REG_NONE},
     .name = "/",
     .room = ENTRY,
     .err = -EINVAL},
    LOOKUP(REG_ROOT, DEEP_32 DEEP_32 "/d", FOUND(REG_B, is_dir)),   /* 64 directories */
    LOOKUP(REG_ROOT, DEEP_32 DEEP_32 "/d/d", .err = -ENAMETOOLONG), /* and one more */
};

static void names_are_paths(void **state)
{
    struct wire *w = *state;
    char deep[160] = "";

    for (unsigned i = 0; i < 66; i++) {
        strcat(deep, i ? "/d" : "d");
        assert_int_equal(mkdir(wire_path(w, deep), 0755), 0);
    }
    assert_int_equal(symlink("/etc", wire_path(w, "out")), 0);
    driver_run(w, &bare, NULL, path_steps, COUNT(path_steps));
}

/* No feature at all, not even VERSION_1: a split ring needs none. */
static void no_features(void **state)
{
    struct driver d = zephyr;
    d.features = 0;
    d.name = "without features";
    driver_run(*state, &d, NULL, zephyr_steps, COUNT(zephyr_steps));
}

/* Linux never sends one: what looks like a path is a mistake, or worse. */
static void not_for_linux(void **state)
{
    struct wire *w = *state;
    struct fuse_entry_out e;

    wire_mount(state);
    assert_int_equal(fe_lookup(&w->f, FUSE_ROOT_ID, "dir/file", &e), -EINVAL);
    assert_int_equal(fe_lookup(&w->f, FUSE_ROOT_ID, "/", &e), -EINVAL);
    assert_int_equal(fe_mkdir(&w->f, FUSE_ROOT_ID, "dir/new", 0755, &e), -EINVAL);
}

/* ---- who is Linux ---- */

/* Each of its flags counts. */
static void linux_beyond_doubt(void **state)
{
    static const uint32_t needed =
        FUSE_ASYNC_READ | FUSE_ATOMIC_O_TRUNC | FUSE_EXPORT_SUPPORT | FUSE_BIG_WRITES |
        FUSE_DONT_MASK | FUSE_FLOCK_LOCKS | FUSE_AUTO_INVAL_DATA | FUSE_DO_READDIRPLUS |
        FUSE_READDIRPLUS_AUTO | FUSE_ASYNC_DIO | FUSE_WRITEBACK_CACHE | FUSE_PARALLEL_DIROPS |
        FUSE_HANDLE_KILLPRIV | FUSE_ABORT_ERROR | FUSE_MAX_PAGES | FUSE_NO_OPENDIR_SUPPORT |
        FUSE_EXPLICIT_INVAL_DATA;
    struct wire *w = *state;
    struct fuse_entry_out e;

    wire_spawn(w, (const char *const[]){"--cache=always", NULL});
    wire_rings(w);
    assert_int_equal(fe_init(&w->f, fe_init_linux), 0);
    assert_int_equal(fe_lookup(&w->f, FUSE_ROOT_ID, "absent", &e), 0);
    assert_int_equal(e.nodeid, 0);
    assert_true(e.entry_valid > 0);
    for (unsigned bit = 0; bit < 32; bit++) {
        if (!(needed & 1u << bit))
            continue;
        assert_int_equal(fe_init(&w->f, fe_init_linux & ~(1ULL << bit)), 0);
        int err = fe_lookup(&w->f, FUSE_ROOT_ID, "absent", &e);
        if (err != -ENOENT)
            fail_msg("without bit %u: %d", bit, err);
    }
}

/* ---- the configuration space, as UEFI reads it: byte by byte, then the number of queues ---- */

static void config_by_the_byte(void **state)
{
    struct wire *w = *state;
    struct {
        uint32_t offset, size, flags;
        uint8_t data[40];
    } in = {0};
    struct fe_vu_msg reply;
    char tag[37] = "";

    wire_spawn(w, (const char *const[]){"--tag=uefi", NULL});
    wire_rings(w);
    for (in.offset = 0; in.offset < 36; in.offset++) {
        in.size = 1;
        assert_int_equal(fe_vhost_send(&w->v, VU_GET_CONFIG, 0, &in, 13, NULL, 0), 0);
        assert_int_equal(fe_vhost_recv(&w->v, &reply), 0);
        assert_int_equal(reply.h.size, 13);
        tag[in.offset] = (char)reply.raw[12];
    }
    assert_string_equal(tag, "uefi");
    in.size = 4;
    assert_int_equal(fe_vhost_send(&w->v, VU_GET_CONFIG, 0, &in, 16, NULL, 0), 0);
    assert_int_equal(fe_vhost_recv(&w->v, &reply), 0);
    assert_int_equal(reply.h.size, 16);
    assert_true(reply.raw[12] >= 1);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, NULL, wire_umount)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(uefi_guest),          TEST(uefi_always),   TEST(uefi_never),
        TEST(uefi_plain_listings), TEST(windows_guest), TEST(zephyr_guest),
        TEST(hermit_guest),        TEST(osv_guest),     TEST(names_are_paths),
        TEST(no_features),         TEST(not_for_linux), TEST(linux_beyond_doubt),
        TEST(config_by_the_byte),
    };
    return cmocka_run_group_tests_name("wire-foreign", tests, wire_make, wire_teardown);
}
