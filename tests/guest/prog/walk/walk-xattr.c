/* SPDX-License-Identifier: BSD-3-Clause
 * Extended attributes. */
#include "tests/guest/prog/walk/walk.h"

#include <fcntl.h>
#include <sys/xattr.h>
#include <unistd.h>

#define BIG 3000

static void expect_xattr(const char *path, const char *name, const void *value, size_t size)
{
    char buf[4096];
    ssize_t n = lgetxattr(path, name, buf, sizeof(buf));

    if (n < 0)
        complain(__FILE__, __LINE__, "%s of %s: %s", name, path, strerror(errno));
    else if ((size_t)n != size || memcmp(buf, value, size) != 0)
        complain(__FILE__, __LINE__, "%s of %s: %zd bytes, not the %zu wanted", name, path, n,
                 size);
}

/* The list holds the name. */
static bool listed(const char *path, const char *name)
{
    char buf[4096];
    ssize_t n = llistxattr(path, buf, sizeof(buf));

    for (ssize_t pos = 0; pos < n; pos += strlen(buf + pos) + 1)
        if (strcmp(buf + pos, name) == 0)
            return true;
    return false;
}

static void xattr_expect(void)
{
    char big[BIG];

    memset(big, 'B', sizeof(big));
    expect_xattr("file", "user.plain", "value", 5);
    expect_xattr("file", "user.empty", "", 0);
    expect_xattr("file", "user.binary", "\0\1\xff", 3);
    expect_xattr("dir", "user.on-dir", "d", 1);
    expect_xattr("big", "user.big", big, sizeof(big));
    FAILS(lgetxattr("file", "user.removed", big, 1), ENODATA);
    CHECK(listed("file", "user.plain") && listed("file", "user.empty"));
    CHECK(!listed("file", "user.removed"));
}

static void xattr_guest(void)
{
    char big[BIG], one[1];
    int fd;

    memset(big, 'B', sizeof(big));
    put("file", TEXT);
    put("big", TEXT);
    NEED(mkdir("dir", 0755));
    NEED(symlink("file", "link"));
    NEED(setxattr("file", "user.plain", "first", 5, XATTR_CREATE));
    FAILS(setxattr("file", "user.plain", "second", 6, XATTR_CREATE), EEXIST);
    NEED(setxattr("file", "user.plain", "value", 5, XATTR_REPLACE));
    FAILS(setxattr("file", "user.missing", "x", 1, XATTR_REPLACE), ENODATA);
    NEED(setxattr("file", "user.empty", "", 0, 0));
    fd = NEED(open("file", O_RDWR));
    NEED(fsetxattr(fd, "user.binary", "\0\1\xff", 3, 0));
    close(fd);
    NEED(setxattr("dir", "user.on-dir", "d", 1, 0));
    FAILS(lsetxattr("link", "user.x", "l", 1, 0), EPERM);
    NEED(setxattr("big", "user.big", big, sizeof(big), 0));
    EQ(getxattr("big", "user.big", NULL, 0), BIG);
    FAILS(getxattr("big", "user.big", big, BIG - 1), ERANGE);
    NEED(setxattr("file", "user.removed", "x", 1, 0));
    NEED(removexattr("file", "user.removed"));
    FAILS(removexattr("file", "user.removed"), ENODATA);
    FAILS(listxattr("file", one, 1), ERANGE);
    CHECK(listxattr("file", NULL, 0) > 1);
    xattr_expect();
}

static void read_others(void)
{
    char buf[16];

    FAILS(setxattr("file", "user.plain", "x", 1, 0), EACCES);
    EQ(getxattr("file", "user.plain", buf, sizeof(buf)), 5);
}

static void xattr_user_guest(void)
{
    put("file", TEXT);
    NEED(setxattr("file", "user.plain", "value", 5, 0));
    as_user(1000, 1000, 0, read_others);
}

/* trusted.*: the daemon needs CAP_SYS_ADMIN for it. */
static void trusted_expect(void)
{
    expect_xattr("file", "trusted.secret", "t", 1);
    expect_xattr("link", "trusted.on-link", "l", 1);
    CHECK(listed("file", "trusted.secret"));
}

static void read_trusted(void)
{
    char buf[16];

    FAILS(getxattr("file", "trusted.secret", buf, sizeof(buf)), ENODATA);
}

static void trusted_guest(void)
{
    put("file", TEXT);
    NEED(symlink("file", "link"));
    NEED(setxattr("file", "trusted.secret", "t", 1, 0));
    NEED(lsetxattr("link", "trusted.on-link", "l", 1, 0));
    trusted_expect();
    as_user(1000, 1000, 0, read_trusted);
}

const struct step xattr_steps[] = {
    {.name = "xattr", .guest = xattr_guest, .host = xattr_expect},
    {.name = "xattr-of-others", .guest = xattr_user_guest},
    {.name = "xattr-trusted", .guest = trusted_guest, .host = trusted_expect},
    {0},
};
