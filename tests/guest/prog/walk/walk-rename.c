/* SPDX-License-Identifier: BSD-3-Clause
 * rename(2) and renameat2(2) with each flag. */
#include "tests/guest/prog/walk/walk.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static int rename2(const char *from, const char *to, unsigned flags)
{
    return renameat2(AT_FDCWD, from, AT_FDCWD, to, flags);
}

static void plain_guest(void)
{
    ino_t ino;

    put("a", "a");
    put("b", "b");
    ino = look("a").st_ino;
    NEED(rename("a", "b"));
    FAILS(access("a", F_OK), ENOENT);
    EQ(look("b").st_ino, ino);
    NEED(mkdir("d", 0755));
    NEED(mkdir("empty", 0755));
    NEED(mkdir("full", 0755));
    put("full/x", TEXT);
    FAILS(rename("b", "d"), EISDIR);
    FAILS(rename("d", "b"), ENOTDIR);
    FAILS(rename("d", "full"), ENOTEMPTY);
    FAILS(rename("d", "d/below"), EINVAL);
    FAILS(rename("missing", "c"), ENOENT);
    NEED(rename("full", "empty"));
    expect_text("empty/x", TEXT);
    NEED(rename("b", "d/moved"));
    expect_text("d/moved", "a");
    /* Two names of one inode: nothing happens. */
    NEED(link("d/moved", "twin"));
    NEED(rename("twin", "d/moved"));
    EQ(look("twin").st_ino, ino);
    EQ(look("d/..").st_ino, look(".").st_ino);
    NEED(rename("d", "empty/d"));
    EQ(look("empty/d/..").st_ino, look("empty").st_ino);
}

static void plain_host(void)
{
    expect_text("empty/x", TEXT);
    expect_text("empty/d/moved", "a");
    expect_text("twin", "a");
    FAILS(access("a", F_OK), ENOENT);
    FAILS(access("d", F_OK), ENOENT);
    FAILS(access("full", F_OK), ENOENT);
}

static void noreplace_guest(void)
{
    put("a", "a");
    put("b", "b");
    FAILS(rename2("a", "b", RENAME_NOREPLACE), EEXIST);
    if (lacks("rename-flags")) {
        FAILS(rename2("a", "c", RENAME_NOREPLACE), EINVAL);
        NEED(rename("a", "c"));
        return;
    }
    NEED(rename2("a", "c", RENAME_NOREPLACE));
    FAILS(rename2("c", "b", RENAME_NOREPLACE | RENAME_EXCHANGE), EINVAL);
}

static void noreplace_host(void)
{
    expect_text("b", "b");
    expect_text("c", "a");
    FAILS(access("a", F_OK), ENOENT);
}

static void exchange_guest(void)
{
    put("file", TEXT);
    NEED(mkdir("d", 0755));
    put("d/x", "x");
    FAILS(rename2("file", "missing", RENAME_EXCHANGE), ENOENT);
    if (lacks("rename-flags")) {
        FAILS(rename2("file", "d", RENAME_EXCHANGE), EINVAL);
        return;
    }
    NEED(rename2("file", "d", RENAME_EXCHANGE));
    expect_text("d", TEXT);
    expect_text("file/x", "x");
}

static void exchange_host(void)
{
    bool lack = lacks("rename-flags");

    expect_text(lack ? "file" : "d", TEXT);
    expect_text(lack ? "d/x" : "file/x", "x");
}

static void whiteout_guest(void)
{
    put("lower", TEXT);
    if (lacks("rename-flags")) {
        FAILS(rename2("lower", "upper", RENAME_WHITEOUT), EINVAL);
        return;
    }
    NEED(rename2("lower", "upper", RENAME_WHITEOUT));
    expect_text("upper", TEXT);
    EQ(look("lower").st_mode & S_IFMT, S_IFCHR);
    put("one", "1");
    put("two", "2");
    NEED(rename2("one", "two", RENAME_WHITEOUT));
}

static void whiteout_host(void)
{
    struct stat st = look("lower");

    if (lacks("rename-flags")) {
        expect_text("lower", TEXT);
        FAILS(access("upper", F_OK), ENOENT);
        return;
    }
    EQ(st.st_mode & S_IFMT, S_IFCHR);
    EQ(st.st_rdev, makedev(0, 0));
    expect_text("upper", TEXT);
    expect_text("two", "1");
    EQ(look("one").st_mode & S_IFMT, S_IFCHR);
}

const struct step rename_steps[] = {
    {.name = "rename", .guest = plain_guest, .host = plain_host},
    {.name = "rename-noreplace", .guest = noreplace_guest, .host = noreplace_host},
    {.name = "rename-exchange", .guest = exchange_guest, .host = exchange_host},
    {.name = "rename-whiteout", .guest = whiteout_guest, .host = whiteout_host},
    {0},
};
