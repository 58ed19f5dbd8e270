/* SPDX-License-Identifier: BSD-3-Clause
 * Attributes: modes, owners, times to the nanosecond, statx, statfs. */
#include "tests/guest/prog/walk/walk.h"

#include <fcntl.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

static const mode_t modes[] = {0, 0400, 0640, 0755, 0777, 01777, 02755, 04755, 06711, 07777};
#define N_MODES (sizeof(modes) / sizeof(modes[0]))

static const char *mode_name(char *buf, mode_t mode)
{
    sprintf(buf, "m%04o", mode);
    return buf;
}

static void chmod_expect(void)
{
    char n[16];

    for (unsigned i = 0; i < N_MODES; i++)
        EQ(look(mode_name(n, modes[i])).st_mode, S_IFREG | modes[i]);
    EQ(look("dir").st_mode, S_IFDIR | 07751);
}

static void chmod_guest(void)
{
    char n[16];
    int fd;

    for (unsigned i = 0; i < N_MODES; i++) {
        put(mode_name(n, modes[i]), TEXT);
        NEED(chmod(n, modes[i]));
    }
    NEED(mkdir("dir", 0700));
    fd = NEED(open("dir", O_RDONLY));
    NEED(fchmod(fd, 07751));
    close(fd);
    FAILS(chmod("missing", 0600), ENOENT);
    chmod_expect();
}

static void chown_expect(void)
{
    expect_owner("file", S_IFREG | 0644, 123456, 4000000000u);
    expect_owner("only-group", S_IFREG | 0644, 0, 77);
    expect_owner("only-user", S_IFREG | 0644, 88, 0);
    expect_owner("link", S_IFLNK | 0777, 5, 6);
    expect_owner("dir", S_IFDIR | 0755, 7, 8);
}

static void chown_guest(void)
{
    put("file", TEXT);
    NEED(chown("file", 123456, 4000000000u));
    put("only-group", TEXT);
    NEED(chown("only-group", -1, 77));
    put("only-user", TEXT);
    NEED(chown("only-user", 88, -1));
    NEED(symlink("file", "link"));
    NEED(lchown("link", 5, 6));
    NEED(mkdir("dir", 0755));
    NEED(chown("dir", 7, 8));
    chown_expect();
}

static void set_times(const char *path, time_t as, long ans, time_t ms, long mns, int flags)
{
    struct timespec ts[2] = {{as, ans}, {ms, mns}};

    NEED(utimensat(AT_FDCWD, path, ts, flags));
}

static void expect_times(const char *path, time_t as, long ans, time_t ms, long mns)
{
    struct stat st = look(path);

    if (lacks("fine-times")) {
        ans = mns = 0;
        as = as < 0 ? 0 : as;
        ms = ms < 0 ? 0 : ms;
    }
    EQ(st.st_atim.tv_sec, as);
    EQ(st.st_atim.tv_nsec, ans);
    EQ(st.st_mtim.tv_sec, ms);
    EQ(st.st_mtim.tv_nsec, mns);
}

/* A time just set by the host's or the guest's clock; the two differ by little. */
static void expect_now(struct timespec t)
{
    time_t now = time(NULL);

    CHECK(t.tv_sec >= now - 600 && t.tv_sec <= now + 5);
}

static void times_expect(void)
{
    expect_times("exact", 1000000001, 123456789, 1500000000, 987654321);
    expect_times("ends", 1, 0, 4102444800, 999999999);
    expect_times("ancient", -86400, 5, -1, 999999998);
    expect_times("link", 11, 12, 13, 14);
    expect_times("dir", 21, 22, 23, 24);
    EQ(look("omit-atime").st_atim.tv_sec, 111);
    EQ(look("omit-atime").st_mtim.tv_sec, 999);
    EQ(look("omit-mtime").st_atim.tv_sec, 999);
    EQ(look("omit-mtime").st_mtim.tv_sec, 222);
    expect_now(look("now").st_atim);
    expect_now(look("now").st_mtim);
    EQ(look("now-atime").st_mtim.tv_sec, 222);
    expect_now(look("now-atime").st_atim);
}

static void times_guest(void)
{
    static const char *const names[] = {"exact",      "ends", "ancient",  "omit-atime",
                                        "omit-mtime", "now",  "now-atime"};
    struct stat before;

    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        put(names[i], TEXT);
        set_times(names[i], 111, 0, 222, 0, 0);
    }
    NEED(symlink("exact", "link"));
    NEED(mkdir("dir", 0755));
    before = look("exact");
    usleep(30000);
    set_times("exact", 1000000001, 123456789, 1500000000, 987654321, 0);
    CHECK(look("exact").st_ctim.tv_sec > before.st_ctim.tv_sec ||
          look("exact").st_ctim.tv_nsec > before.st_ctim.tv_nsec);
    set_times("ends", 1, 0, 4102444800, 999999999, 0);
    set_times("ancient", -86400, 5, -1, 999999998, 0);
    set_times("link", 11, 12, 13, 14, AT_SYMLINK_NOFOLLOW);
    set_times("dir", 21, 22, 23, 24, 0);
    set_times("omit-atime", 999, UTIME_OMIT, 999, 0, 0);
    set_times("omit-mtime", 999, 0, 999, UTIME_OMIT, 0);
    set_times("now", 0, UTIME_NOW, 0, UTIME_NOW, 0);
    set_times("now-atime", 0, UTIME_NOW, 0, UTIME_OMIT, 0);
    times_expect();
}

static void times_as_writer(void)
{
    struct timespec exact[2] = {{1, 0}, {1, 0}};

    FAILS(utimensat(AT_FDCWD, "shared", exact, 0), EPERM);
    NEED(utimensat(AT_FDCWD, "shared", NULL, 0));
    FAILS(utimensat(AT_FDCWD, "private", NULL, 0), EACCES);
}

static void times_user_guest(void)
{
    put("shared", TEXT);
    NEED(chmod("shared", 0666));
    set_times("shared", 111, 0, 222, 0, 0);
    put("private", TEXT);
    set_times("private", 111, 0, 222, 0, 0);
    as_user(1000, 1000, 0, times_as_writer);
}

static void times_user_host(void)
{
    expect_now(look("shared").st_mtim);
    expect_times("private", 111, 0, 222, 0);
}

static void implicit_times_guest(void)
{
    char buf[8];
    int fd;

    NEED(mkdir("dir", 0755));
    set_times("dir", 111, 0, 222, 0, 0);
    put("written", TEXT);
    set_times("written", 111, 0, 222, 0, 0);
    put("read", TEXT);
    set_times("read", 111, 0, 222, 0, 0);
    fd = NEED(open("written", O_WRONLY | O_APPEND));
    EQ(write(fd, "x", 1), 1);
    close(fd);
    fd = NEED(open("read", O_RDONLY));
    EQ(read(fd, buf, 8), 8);
    close(fd);
    put("dir/new", TEXT);
    expect_now(look("written").st_mtim);
    expect_now(look("dir").st_mtim);
    EQ(look("read").st_mtim.tv_sec, 222);
}

static void implicit_times_host(void)
{
    expect_now(look("written").st_mtim);
    expect_now(look("dir").st_mtim);
    EQ(look("read").st_mtim.tv_sec, 222);
    EQ(look("written").st_atim.tv_sec, 111);
}

static void statx_prepare(void)
{
    put("old", TEXT);
    NEED(truncate("old", 100000));
    NEED(chmod("old", 04751));
    NEED(link("old", "link"));
}

static void statx_guest(void)
{
    struct statx stx = {0};
    struct stat st = look("old");

    NEED(statx(AT_FDCWD, "old", AT_STATX_FORCE_SYNC, STATX_BASIC_STATS | STATX_BTIME, &stx));
    EQ(stx.stx_mask & STATX_BASIC_STATS, STATX_BASIC_STATS);
    EQ(stx.stx_size, 100000);
    EQ(stx.stx_mode, S_IFREG | 04751);
    EQ(stx.stx_nlink, 2);
    EQ(stx.stx_ino, st.st_ino);
    EQ(stx.stx_blocks, st.st_blocks);
    CHECK(stx.stx_blksize >= 512);
    /* A birth time comes only from kernels that ask for it (6.6); then it is the host's. */
    if (stx.stx_mask & STATX_BTIME)
        CHECK(stx.stx_btime.tv_sec > 0 && stx.stx_btime.tv_sec <= stx.stx_ctime.tv_sec);
    NEED(statx(AT_FDCWD, "old", AT_STATX_DONT_SYNC, STATX_SIZE, &stx));
    EQ(stx.stx_size, 100000);
}

static void statfs_guest(void)
{
    struct statvfs v = {0};
    FILE *f = fopen("figures", "w");

    NEED(statvfs(".", &v));
    CHECK(v.f_blocks > 0 && v.f_bavail <= v.f_bfree && v.f_bfree <= v.f_blocks);
    EQ(v.f_namemax, 255);
    NEED(f ? 0 : -1);
    fprintf(f, "%llu %llu\n", (unsigned long long)v.f_blocks * v.f_frsize,
            (unsigned long long)v.f_files);
    EQ(fclose(f), 0);
}

static void statfs_host(void)
{
    struct statvfs v = {0};
    unsigned long long bytes = 0, files = 0;
    FILE *f = fopen("figures", "r");

    NEED(statvfs(".", &v));
    NEED(f ? 0 : -1);
    EQ(fscanf(f, "%llu %llu", &bytes, &files), 2);
    fclose(f);
    EQ(bytes, (unsigned long long)v.f_blocks * v.f_frsize);
    EQ(files, v.f_files);
}

const struct step attr_steps[] = {
    {.name = "chmod", .guest = chmod_guest, .host = chmod_expect},
    {.name = "chown", .guest = chown_guest, .host = chown_expect},
    {.name = "times", .guest = times_guest, .host = times_expect},
    {.name = "times-of-others", .guest = times_user_guest, .host = times_user_host},
    {.name = "times-by-io", .guest = implicit_times_guest, .host = implicit_times_host},
    {.name = "statx", .prepare = statx_prepare, .guest = statx_guest},
    {.name = "statfs", .guest = statfs_guest, .host = statfs_host},
    {0},
};
