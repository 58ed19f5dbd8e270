/* SPDX-License-Identifier: BSD-3-Clause
 * Who owns what is made, and who may do what: users, groups, set-group-ID directories, umask,
 * default ACLs, sticky directories, access(2). */
#include "tests/guest/prog/walk/walk.h"

#include <fcntl.h>
#include <stdint.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#define ALICE 1000
#define BOB   1001
#define TEAM  2000

static void make_one_of_each(void)
{
    put("file", TEXT);
    NEED(mkdir("dir", 0777));
    NEED(symlink("file", "link"));
    NEED(mknod("fifo", S_IFIFO | 0666, 0));
    FAILS(mknod("device", S_IFCHR | 0666, makedev(1, 3)), EPERM);
}

static void users_guest(void)
{
    NEED(chmod(".", 0777));
    as_user(ALICE, BOB, 0, make_one_of_each);
}

static void users_host(void)
{
    expect_owner("file", S_IFREG | 0644, ALICE, BOB);
    expect_owner("dir", S_IFDIR | 0755, ALICE, BOB);
    expect_owner("link", S_IFLNK | 0777, ALICE, BOB);
    expect_owner("fifo", S_IFIFO | 0644, ALICE, BOB);
}

static void make_in_group(void)
{
    put("file", TEXT);
    NEED(mkdir("dir", 0755));
    NEED(mknod("fifo", S_IFIFO | 0644, 0));
}

static void setgid_dir_guest(void)
{
    NEED(chown(".", 0, TEAM));
    NEED(chmod(".", 02777));
    as_user(ALICE, ALICE, 0, make_in_group);
}

static void setgid_dir_host(void)
{
    expect_owner("file", S_IFREG | 0644, ALICE, TEAM);
    expect_owner("dir", S_IFDIR | S_ISGID | 0755, ALICE, TEAM);
    expect_owner("fifo", S_IFIFO | 0644, ALICE, TEAM);
}

/* A directory that only the supplementary group opens. */
static void group_dir_guest(void)
{
    NEED(chown(".", 0, TEAM));
    NEED(chmod(".", 0770));
    as_user(ALICE, ALICE, TEAM, make_in_group);
    NEED(chmod(".", 0775));
}

static void group_dir_host(void)
{
    expect_owner("file", S_IFREG | 0644, ALICE, ALICE);
    expect_owner("dir", S_IFDIR | 0755, ALICE, ALICE);
}

static void umask_guest(void)
{
    umask(0);
    touch("u000", 0666);
    umask(077);
    touch("u077", 0666);
    NEED(mkdir("d077", 0777));
    NEED(mknod("p077", S_IFIFO | 0666, 0));
    umask(0133);
    touch("u133", 0777);
}

static void umask_host(void)
{
    expect_owner("u000", S_IFREG | 0666, 0, 0);
    expect_owner("u077", S_IFREG | 0600, 0, 0);
    expect_owner("d077", S_IFDIR | 0700, 0, 0);
    expect_owner("p077", S_IFIFO | 0600, 0, 0);
    expect_owner("u133", S_IFREG | 0644, 0, 0);
}

/* The attribute's form: a version, then {tag, permissions, id}, little endian. */
struct acl_entry {
    uint16_t tag, perm;
    uint32_t id;
};
struct acl {
    uint32_t version;
    struct acl_entry e[5];
};
/* u::rwx, u:1001:rwx, g::r-x, mask::rwx, o::--- */
static const struct acl default_acl = {
    .version = 2,
    .e = {{1, 7, ~0u}, {2, 7, BOB}, {4, 5, ~0u}, {0x10, 7, ~0u}, {0x20, 0, ~0u}},
};

static void default_acl_prepare(void)
{
    NEED(setxattr(".", "system.posix_acl_default", &default_acl, sizeof(default_acl), 0));
}

static void default_acl_guest(void)
{
    /* The directory's default ACL takes the umask's place. */
    umask(077);
    touch("file", 0664);
    NEED(mkdir("dir", 0775));
}

static void default_acl_host(void)
{
    char buf[256];

    expect_owner("file", S_IFREG | 0660, 0, 0);
    expect_owner("dir", S_IFDIR | 0770, 0, 0);
    CHECK(getxattr("file", "system.posix_acl_access", buf, sizeof(buf)) > 0);
    EQ(getxattr("dir", "system.posix_acl_default", buf, sizeof(buf)), sizeof(default_acl));
    EQ(memcmp(buf, &default_acl, sizeof(default_acl)), 0);
}

static void steal_from_sticky(void)
{
    FAILS(unlink("alices"), EPERM);
    FAILS(rename("alices", "bobs"), EPERM);
    put("own", TEXT);
    NEED(unlink("own"));
}

static void sticky_guest(void)
{
    put("alices", TEXT);
    NEED(chown("alices", ALICE, ALICE));
    NEED(chmod(".", 01777));
    as_user(BOB, BOB, 0, steal_from_sticky);
}

static void sticky_host(void)
{
    expect_owner("alices", S_IFREG | 0644, ALICE, ALICE);
    FAILS(access("own", F_OK), ENOENT);
}

static void access_as_alice(void)
{
    NEED(access("hers", R_OK | W_OK));
    FAILS(access("hers", X_OK), EACCES);
    FAILS(access("roots", R_OK), EACCES);
    FAILS(open("roots", O_RDONLY), EACCES);
    NEED(access("teams", R_OK));
    FAILS(access("teams", W_OK), EACCES);
    FAILS(open("closed/inside", O_RDONLY), EACCES);
    FAILS(open("new", O_CREAT | O_WRONLY, 0644), EACCES);
    FAILS(chmod("roots", 0777), EPERM);
    FAILS(chown("hers", BOB, ALICE), EPERM);
}

static void access_as_bob(void)
{
    FAILS(access("hers", R_OK), EACCES);
    FAILS(access("teams", R_OK), EACCES);
    NEED(access("open", R_OK | W_OK | X_OK));
}

static void access_guest(void)
{
    NEED(mkdir("closed", 0700));
    put("closed/inside", TEXT);
    put("hers", TEXT);
    NEED(chown("hers", ALICE, ALICE));
    NEED(chmod("hers", 0600));
    put("roots", TEXT);
    NEED(chmod("roots", 0600));
    put("teams", TEXT);
    NEED(chown("teams", 0, TEAM));
    NEED(chmod("teams", 0640));
    put("open", TEXT);
    NEED(chmod("open", 0777));
    as_user(ALICE, ALICE, TEAM, access_as_alice);
    as_user(BOB, BOB, 0, access_as_bob);
    /* Root reads and writes anything, but runs only what somebody may run. */
    NEED(access("hers", R_OK | W_OK));
    FAILS(access("hers", X_OK), EACCES);
}

const struct step owner_steps[] = {
    {.name = "owner", .guest = users_guest, .host = users_host},
    {.name = "setgid-directory", .guest = setgid_dir_guest, .host = setgid_dir_host},
    {.name = "supplementary-group", .guest = group_dir_guest, .host = group_dir_host},
    {.name = "umask", .guest = umask_guest, .host = umask_host},
    {.name = "default-acl",
     .prepare = default_acl_prepare,
     .guest = default_acl_guest,
     .host = default_acl_host},
    {.name = "sticky", .guest = sticky_guest, .host = sticky_host},
    {.name = "access", .guest = access_guest},
    {0},
};
