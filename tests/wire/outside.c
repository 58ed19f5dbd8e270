/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/wire/outside.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *in(const struct outside *o, const char *name)
{
    static char buf[4][160];
    static unsigned turn;
    char *p = buf[turn++ % 4];
    snprintf(p, sizeof(buf[0]), "%s/%s", o->dir, name);
    return p;
}

static void put_mark(const char *path)
{
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    fputs(OUTSIDE_MARK "\n", f);
    assert_int_equal(fclose(f), 0);
}

void outside_make(struct outside *o, struct wire *w)
{
    if (o->dir[0]) /* left over from a test that failed */
        outside_teardown(o);
    snprintf(o->dir, sizeof(o->dir), "%s/outside", w->dir);
    assert_int_equal(mkdir(o->dir, 0777), 0);
    assert_int_equal(mkdir(in(o, "sub"), 0777), 0);
    put_mark(in(o, "secret"));
    put_mark(in(o, "sub/deep"));
    assert_int_equal(chmod(o->dir, 0777), 0); /* only the daemon itself keeps the guest out */
    assert_int_equal(chmod(in(o, "sub"), 0777), 0);
    assert_int_equal(chmod(in(o, "secret"), 0666), 0);
    o->watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    assert_true(o->watch >= 0);
    assert_true(inotify_add_watch(o->watch, o->dir, IN_ALL_EVENTS) >= 0);
    assert_true(inotify_add_watch(o->watch, in(o, "sub"), IN_ALL_EVENTS) >= 0);
}

static void look_for_mark(const struct fe_req *r, const uint8_t *bytes, size_t len)
{
    if (!memmem(bytes, len, OUTSIDE_MARK, strlen(OUTSIDE_MARK)))
        return;
    fprintf(stderr, "an answer to opcode %u holds a file from outside of the share\n", r->opcode);
    abort();
}

void outside_listen(struct wire *w)
{
    w->f.seen = look_for_mark;
}

uint32_t outside_touched(struct outside *o)
{
    _Alignas(struct inotify_event) char buf[4096];
    uint32_t all = 0;
    ssize_t n;
    while ((n = read(o->watch, buf, sizeof(buf))) > 0) {
        for (char *p = buf; p < buf + n;) {
            const struct inotify_event *e = (const void *)p;
            print_message("outside of the share: event %#x on '%s'\n", e->mask,
                          e->len ? e->name : "");
            all |= e->mask;
            p += sizeof(*e) + e->len;
        }
    }
    return all;
}

static unsigned entries(const char *path)
{
    unsigned n = 0;
    DIR *d = opendir(path);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));)
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static void holds_mark(const char *path)
{
    char text[128] = "";
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    assert_non_null(fgets(text, sizeof(text), f));
    fclose(f);
    assert_string_equal(text, OUTSIDE_MARK "\n");
}

void outside_check(struct outside *o)
{
    assert_int_equal(outside_touched(o), 0);
    assert_int_equal(entries(o->dir), 2);
    assert_int_equal(entries(in(o, "sub")), 1);
    holds_mark(in(o, "secret"));
    holds_mark(in(o, "sub/deep"));
    char drop[4096];
    while (read(o->watch, drop, sizeof(drop)) > 0) /* what we did ourselves */
        ;
}

void outside_teardown(struct outside *o)
{
    close(o->watch);
    unlink(in(o, "secret"));
    unlink(in(o, "sub/deep"));
    rmdir(in(o, "sub"));
    rmdir(o->dir);
    o->dir[0] = '\0';
}

int watch_open(const char *path)
{
    int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    assert_true(fd >= 0);
    assert_true(inotify_add_watch(fd, path, IN_OPEN) >= 0);
    return fd;
}

bool was_opened(int watch)
{
    char buf[4096];
    return read(watch, buf, sizeof(buf)) > 0;
}
