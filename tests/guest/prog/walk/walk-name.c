/* SPDX-License-Identifier: BSD-3-Clause
 * Names: lookup, mkdir, mknod, symlink, link, unlink, rmdir. */
#include "tests/guest/prog/walk/walk.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

static void long_name(char *buf, size_t len)
{
    memset(buf, 'n', len);
    buf[len] = '\0';
}

static void lookup_guest(void)
{
    char name[300];
    struct stat dot = look("."), here, up;

    FAILS(access("missing", F_OK), ENOENT);
    FAILS(access("missing/deeper", F_OK), ENOENT);
    put("file", TEXT);
    FAILS(access("file/deeper", F_OK), ENOTDIR);
    FAILS(open("file/", O_RDONLY), ENOTDIR);
    long_name(name, 255);
    put(name, TEXT);
    expect_text(name, TEXT);
    long_name(name, 256);
    FAILS(open(name, O_WRONLY | O_CREAT, 0644), ENAMETOOLONG);
    put("\xff\x01 *?\\\n", "odd bytes");
    expect_text("\xff\x01 *?\\\n", "odd bytes");
    NEED(mkdir("d", 0755));
    here = look("d/..");
    EQ(here.st_ino, dot.st_ino);
    up = look("..");
    CHECK(up.st_ino != dot.st_ino);
    for (int i = 0; i < 60; i++) {
        NEED(mkdir("deep", 0755));
        NEED(chdir("deep"));
    }
    put("bottom", TEXT);
}

static void lookup_host(void)
{
    char name[300];

    long_name(name, 255);
    expect_text(name, TEXT);
    expect_text("\xff\x01 *?\\\n", "odd bytes");
    for (int i = 0; i < 60; i++)
        NEED(chdir("deep"));
    expect_text("bottom", TEXT);
}

static void mkdir_guest(void)
{
    struct stat before = look("."), after;

    umask(0);
    NEED(mkdir("d0777", 0777));
    umask(027);
    NEED(mkdir("d0750", 0777));
    umask(0);
    NEED(mkdir("d1700", 01700));
    FAILS(mkdir("d0777", 0777), EEXIST);
    FAILS(mkdir("missing/d", 0777), ENOENT);
    expect_owner("d0777", S_IFDIR | 0777, 0, 0);
    expect_owner("d0750", S_IFDIR | 0750, 0, 0);
    expect_owner("d1700", S_IFDIR | 01700, 0, 0);
    after = look(".");
    EQ(after.st_nlink, before.st_nlink + 3);
}

static void mkdir_host(void)
{
    expect_owner("d0777", S_IFDIR | 0777, 0, 0);
    expect_owner("d0750", S_IFDIR | 0750, 0, 0);
    expect_owner("d1700", S_IFDIR | 01700, 0, 0);
}

static void expect_node(const char *name, mode_t mode, dev_t rdev)
{
    struct stat st = look(name);

    EQ(st.st_mode, mode);
    EQ(st.st_rdev, rdev);
}

static void nodes_expect(void)
{
    expect_node("whiteout", S_IFCHR | 0600, makedev(0, 0));
    expect_node("null", S_IFCHR | 0666, makedev(1, 3));
    expect_node("disk", S_IFBLK | 0660, makedev(259, 70000));
    expect_node("fifo", S_IFIFO | 0644, 0);
    expect_node("socket", S_IFSOCK | 0755, 0);
    expect_node("bound", S_IFSOCK | 0755, 0);
    expect_node("plain", S_IFREG | 0640, 0);
}

static void fifo_reader(void)
{
    expect_text("fifo", TEXT);
}

static void nodes_guest(void)
{
    struct sockaddr_un sun = {.sun_family = AF_UNIX, .sun_path = "bound"};
    int fd, peer;
    pid_t reader;

    umask(0);
    NEED(mknod("whiteout", S_IFCHR | 0600, makedev(0, 0)));
    NEED(mknod("null", S_IFCHR | 0666, makedev(1, 3)));
    NEED(mknod("disk", S_IFBLK | 0660, makedev(259, 70000)));
    NEED(mknod("fifo", S_IFIFO | 0644, 0));
    NEED(mknod("socket", S_IFSOCK | 0755, 0));
    NEED(mknod("plain", S_IFREG | 0640, 0));
    FAILS(mknod("fifo", S_IFIFO | 0644, 0), EEXIST);
    umask(022);
    fd = NEED(socket(AF_UNIX, SOCK_STREAM, 0));
    NEED(bind(fd, (struct sockaddr *)&sun, sizeof(sun)));
    NEED(listen(fd, 1));
    peer = NEED(socket(AF_UNIX, SOCK_STREAM, 0));
    NEED(connect(peer, (struct sockaddr *)&sun, sizeof(sun)));
    close(peer);
    close(fd);
    nodes_expect();
    /* A FIFO is the guest's own: bytes never pass the host. */
    reader = child_start(fifo_reader);
    fd = NEED(open("fifo", O_WRONLY));
    EQ(write(fd, TEXT, strlen(TEXT)), strlen(TEXT));
    close(fd);
    child_end(reader);
    fd = NEED(open("null", O_RDWR));
    EQ(write(fd, TEXT, 4), 4);
    EQ(read(fd, &sun, 4), 0);
    close(fd);
}

static void symlink_expect(void)
{
    char target[4096], buf[4096];
    struct stat st;

    EQ(readlink("short", buf, sizeof(buf)), 4);
    EQ(memcmp(buf, "file", 4), 0);
    memset(target, 't', 3000);
    EQ(readlink("long", buf, sizeof(buf)), 3000);
    EQ(memcmp(buf, target, 3000), 0);
    st = look("long");
    EQ(st.st_size, 3000);
    EQ(st.st_mode, S_IFLNK | 0777);
    st = look("short");
    EQ(st.st_uid, 1000);
    EQ(st.st_gid, 1001);
}

static void symlink_guest(void)
{
    char target[4096];

    put("file", TEXT);
    NEED(symlink("file", "short"));
    expect_text("short", TEXT);
    memset(target, 't', 3000);
    target[3000] = '\0';
    NEED(symlink(target, "long"));
    NEED(symlink("nowhere", "dangling"));
    NEED(symlink("loop", "loop"));
    NEED(symlink("/proc/self/status", "absolute"));
    FAILS(symlink("x", "short"), EEXIST);
    FAILS(open("dangling", O_RDONLY), ENOENT);
    FAILS(open("loop", O_RDONLY), ELOOP);
    FAILS(open("short", O_RDONLY | O_NOFOLLOW), ELOOP);
    NEED(lchown("short", 1000, 1001));
    symlink_expect();
}

static void link_expect(void)
{
    struct stat a = look("a"), b = look("d/b"), s = look("s"), t = look("t");

    EQ(a.st_ino, b.st_ino);
    EQ(a.st_nlink, 2);
    EQ(s.st_ino, t.st_ino);
    EQ(t.st_mode, S_IFLNK | 0777);
    EQ(t.st_nlink, 2);
    expect_text("d/b", "changed");
}

static void link_guest(void)
{
    NEED(mkdir("d", 0755));
    put("a", TEXT);
    NEED(link("a", "d/b"));
    NEED(link("a", "c"));
    EQ(look("a").st_nlink, 3);
    NEED(unlink("c"));
    put("a", "changed");
    NEED(symlink("a", "s"));
    NEED(linkat(AT_FDCWD, "s", AT_FDCWD, "t", 0));
    FAILS(link("a", "d/b"), EEXIST);
    FAILS(link("d", "e"), EPERM);
    FAILS(link("missing", "e"), ENOENT);
    link_expect();
}

static void unlink_guest(void)
{
    put("file", TEXT);
    NEED(mkdir("d", 0755));
    put("d/child", TEXT);
    NEED(unlink("file"));
    FAILS(unlink("file"), ENOENT);
    FAILS(access("file", F_OK), ENOENT);
    FAILS(unlink("d"), EISDIR);
    FAILS(rmdir("d"), ENOTEMPTY);
    FAILS(rmdir("d/child"), ENOTDIR);
    NEED(unlink("d/child"));
    NEED(rmdir("d"));
    FAILS(rmdir("d"), ENOENT);
    FAILS(rmdir("."), EINVAL);
    /* The name is free again, for another type. */
    NEED(mkdir("file", 0700));
    put("d", TEXT);
}

static void unlink_host(void)
{
    EQ(look("file").st_mode, S_IFDIR | 0700);
    expect_text("d", TEXT);
}

const struct step name_steps[] = {
    {.name = "lookup", .guest = lookup_guest, .host = lookup_host},
    {.name = "mkdir", .guest = mkdir_guest, .host = mkdir_host},
    {.name = "mknod", .guest = nodes_guest, .host = nodes_expect},
    {.name = "symlink", .guest = symlink_guest, .host = symlink_expect},
    {.name = "link", .guest = link_guest, .host = link_expect},
    {.name = "unlink-rmdir", .guest = unlink_guest, .host = unlink_host},
    {0},
};
