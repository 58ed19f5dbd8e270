/* SPDX-License-Identifier: BSD-3-Clause
 * Set-user-ID, set-group-ID and file capabilities go when somebody else changes the file. */
#include "tests/guest/prog/walk/walk.h"

#include <fcntl.h>
#include <stdint.h>
#include <sys/xattr.h>
#include <unistd.h>

#define OWNER 1000
#define OTHER 1001

/* Make a file that everybody may write, with both bits, group-executable so that S_ISGID counts. */
static void make_suid(const char *name)
{
    put(name, TEXT);
    NEED(chown(name, OWNER, OWNER));
    NEED(chmod(name, 06777));
    EQ(look(name).st_mode, S_IFREG | 06777);
}

static void change_all(void)
{
    int fd = NEED(open("write", O_WRONLY)), in;

    EQ(write(fd, "x", 1), 1);
    close(fd);
    NEED(truncate("truncate", 3));
    fd = NEED(open("ftruncate", O_RDWR));
    NEED(ftruncate(fd, 3));
    close(fd);
    fd = NEED(open("open-truncate", O_WRONLY | O_TRUNC));
    close(fd);
    fd = NEED(open("fallocate", O_WRONLY));
    if (lacks("fallocate"))
        FAILS(fallocate(fd, 0, 0, 8192), EOPNOTSUPP);
    else
        NEED(fallocate(fd, 0, 0, 8192));
    close(fd);
    in = NEED(open("write", O_RDONLY));
    fd = NEED(open("copy", O_WRONLY));
    CHECK(copy_file_range(in, NULL, fd, NULL, 10, 0) > 0);
    close(in);
    close(fd);
}

static const char *const changed[] = {"write",         "truncate",  "ftruncate",
                                      "open-truncate", "fallocate", "copy"};
#define N_CHANGED (sizeof(changed) / sizeof(changed[0]))

static void others_expect(void)
{
    for (unsigned i = 0; i < N_CHANGED; i++) {
        bool kept = strcmp(changed[i], "fallocate") == 0 && lacks("fallocate");

        expect_owner(changed[i], S_IFREG | (kept ? 06777 : 0777), OWNER, OWNER);
    }
}

static void others_guest(void)
{
    for (unsigned i = 0; i < N_CHANGED; i++)
        make_suid(changed[i]);
    as_user(OTHER, OTHER, 0, change_all);
    others_expect();
}

static void root_guest(void)
{
    int fd;

    make_suid("write");
    fd = NEED(open("write", O_WRONLY));
    EQ(write(fd, "x", 1), 1);
    close(fd);
    make_suid("truncate");
    NEED(truncate("truncate", 3));
}

/* Root keeps them: it has CAP_FSETID. */
static void root_host(void)
{
    expect_owner("write", S_IFREG | 06777, OWNER, OWNER);
    expect_owner("truncate", S_IFREG | 06777, OWNER, OWNER);
}

static void chown_by_owner(void)
{
    NEED(chown("by-owner", -1, OWNER));
}

static void chown_guest(void)
{
    make_suid("by-owner");
    make_suid("by-root");
    NEED(mkdir("dir", 0755));
    NEED(chmod("dir", 02755));
    as_user(OWNER, OWNER, 0, chown_by_owner);
    NEED(chown("by-root", OTHER, OTHER));
    NEED(chown("dir", OTHER, OTHER));
}

static void chown_host(void)
{
    expect_owner("by-owner", S_IFREG | 0777, OWNER, OWNER);
    expect_owner("by-root", S_IFREG | 0777, OTHER, OTHER);
    expect_owner("dir", S_IFDIR | 02755, OTHER, OTHER);
}

static void chmod_by_owner(void)
{
    NEED(chmod("file", 02755));
}

/* An owner outside the file's group cannot set its set-group-ID bit. */
static void chmod_guest(void)
{
    put("file", TEXT);
    NEED(chown("file", OWNER, 4242));
    as_user(OWNER, OWNER, 0, chmod_by_owner);
    EQ(look("file").st_mode, S_IFREG | 0755);
}

static void chmod_host(void)
{
    EQ(look("file").st_mode, S_IFREG | 0755);
}

/* VFS_CAP_REVISION_2, cap_net_raw permitted and effective. */
static const struct {
    uint32_t magic, permitted, inheritable, permitted2, inheritable2;
} caps = {.magic = 0x02000001, .permitted = 1u << 13};

static void capability_prepare(void)
{
    put("program", TEXT);
    NEED(chmod("program", 0777));
    NEED(setxattr("program", "security.capability", &caps, sizeof(caps), 0));
}

static void append_one(void)
{
    int fd = NEED(open("program", O_WRONLY | O_APPEND));

    EQ(write(fd, "x", 1), 1);
    close(fd);
}

static void capability_guest(void)
{
    as_user(OTHER, OTHER, 0, append_one);
}

static void capability_host(void)
{
    char buf[64];

    expect_text("program", TEXT "x");
    FAILS(getxattr("program", "security.capability", buf, sizeof(buf)), ENODATA);
}

const struct step priv_steps[] = {
    {.name = "suid-by-others", .guest = others_guest, .host = others_expect},
    {.name = "suid-by-root", .guest = root_guest, .host = root_host},
    {.name = "suid-chown", .guest = chown_guest, .host = chown_host},
    {.name = "sgid-chmod", .guest = chmod_guest, .host = chmod_host},
    {.name = "capability-by-write",
     .prepare = capability_prepare,
     .guest = capability_guest,
     .host = capability_host},
    {0},
};
