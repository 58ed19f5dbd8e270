/* SPDX-License-Identifier: BSD-3-Clause
 * Runs the steps; result lines as "ok - side: step" and "not ok - side: step". */
#include "tests/guest/prog/walk/walk.h"

#include <fcntl.h>
#include <grp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct step *const groups[] = {name_steps,  rename_steps, owner_steps, attr_steps,
                                            priv_steps,  open_steps,   io_steps,    dir_steps,
                                            xattr_steps, lock_steps,   NULL};

static unsigned complaints; /* of the step that runs */
static jmp_buf out;
static bool in_child;

static void print_complaint(const char *file, int line, const char *fmt, va_list ap)
{
    const char *base = strrchr(file, '/');

    complaints++;
    printf("# %s:%d: ", base ? base + 1 : file, line);
    vprintf(fmt, ap);
    printf("\n");
    fflush(stdout);
}

void complain(const char *file, int line, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    print_complaint(file, line, fmt, ap);
    va_end(ap);
}

void give_up(const char *file, int line, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    print_complaint(file, line, fmt, ap);
    va_end(ap);
    if (in_child)
        _exit(1);
    longjmp(out, 1);
}

/* ---- what a file system cannot do ---- */

static struct lack {
    const char *name, *why;
    bool said;
} all_lacks[] = {
    {"rename-flags", "9P's renames have no flags: no RENAME_NOREPLACE, EXCHANGE or WHITEOUT",
     false},
    {"tmpfile", "9P makes no files without a name: no O_TMPFILE", false},
    {"fallocate", "9P has no message for it", false},
    {"seek-hole", "9P has no message for it: to v9fs all of a file is data", false},
    {"fine-times", "v9fs sets times in whole seconds, from 1970 on", false},
    {"shared-mmap", "v9fs with cache=none has no page cache to map for writing", false},
    {"mapped-read", "v9fs of Linux 6.1 with cache=mmap reads past what a mapping has not synced",
     false},
    {"sync-release", "/dev/fuse sends RELEASE after close() has returned, virtio-fs within it",
     false},
    /* Whole steps, which are left out. */
    {"seekdir", "v9fs of Linux 6.1 goes on in its buffer after a seek", false},
    {"default-acl", "v9fs of Linux 6.1 with cache=loose follows a null pointer in mkdir", false},
};
#define N_LACKS (sizeof(all_lacks) / sizeof(all_lacks[0]))

static struct lack *find_lack(const char *name, size_t len)
{
    for (unsigned i = 0; i < N_LACKS; i++) {
        if (strlen(all_lacks[i].name) == len && strncmp(all_lacks[i].name, name, len) == 0)
            return &all_lacks[i];
    }
    return NULL;
}

bool lacks(const char *what)
{
    const struct lack *l = find_lack(what, strlen(what));

    return l && l->said;
}

/* @list: names between commas. */
static void say_lacks(const char *list)
{
    for (size_t len; *list; list += len + (list[len] == ',')) {
        len = strcspn(list, ",");
        struct lack *l = find_lack(list, len);

        if (!l) {
            fprintf(stderr, "posix-walk: nothing is called %.*s\n", (int)len, list);
            exit(2);
        }
        l->said = true;
        printf("# without %s: %s\n", l->name, l->why);
    }
}

/* ---- small tools ---- */

void put(const char *path, const char *text)
{
    int fd = NEED(open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644));

    EQ(write(fd, text, strlen(text)), strlen(text));
    EQ(close(fd), 0);
}

void touch(const char *path, mode_t mode)
{
    int fd = NEED(open(path, O_CREAT | O_EXCL | O_WRONLY, mode));

    EQ(close(fd), 0);
}

void expect_text(const char *path, const char *text)
{
    char buf[4096];
    int fd = open(path, O_RDONLY);
    ssize_t n;

    if (fd < 0) {
        complain(__FILE__, __LINE__, "%s: %s", path, strerror(errno));
        return;
    }
    n = read(fd, buf, sizeof(buf) - 1);
    close(fd);
    buf[n < 0 ? 0 : n] = '\0';
    if (n < 0 || strcmp(buf, text) != 0)
        complain(__FILE__, __LINE__, "%s holds '%s', not '%s'", path, buf, text);
}

struct stat look(const char *path)
{
    struct stat st = {0};

    if (lstat(path, &st) < 0)
        give_up(__FILE__, __LINE__, "%s: %s", path, strerror(errno));
    return st;
}

void expect_owner(const char *path, mode_t mode, uid_t uid, gid_t gid)
{
    struct stat st = look(path);

    if (st.st_mode != mode || st.st_uid != uid || st.st_gid != gid)
        complain(__FILE__, __LINE__, "%s is 0%o %u:%u, not 0%o %u:%u", path, st.st_mode, st.st_uid,
                 st.st_gid, mode, uid, gid);
}

pid_t child_start(void (*fn)(void))
{
    pid_t pid;

    fflush(stdout);
    pid = NEED(fork());
    if (pid == 0) {
        in_child = true;
        complaints = 0;
        fn();
        fflush(stdout);
        _exit(complaints ? 1 : 0);
    }
    return pid;
}

void child_end(pid_t pid)
{
    int status = -1;

    NEED(waitpid(pid, &status, 0));
    /* It printed its own complaints; a signal is one of ours. */
    if (WIFEXITED(status))
        complaints += WEXITSTATUS(status) != 0;
    else
        complain(__FILE__, __LINE__, "child ended by signal %d", WTERMSIG(status));
}

static struct {
    uid_t uid;
    gid_t gid, group;
    void (*fn)(void);
} identity;

static void become_and_run(void)
{
    NEED(setgroups(identity.group ? 1 : 0, &identity.group));
    NEED(setresgid(identity.gid, identity.gid, identity.gid));
    NEED(setresuid(identity.uid, identity.uid, identity.uid));
    identity.fn();
}

void as_user(uid_t uid, gid_t gid, gid_t group, void (*fn)(void))
{
    identity.uid = uid;
    identity.gid = gid;
    identity.group = group;
    identity.fn = fn;
    child_end(child_start(become_and_run));
}

/* Run one side of one step in its directory below @root. Returns whether it passed. */
static bool run_step(const char *root, const char *side, const struct step *s, void (*fn)(void))
{
    complaints = 0;
    umask(022);
    if (chdir(root) < 0 || (mkdir(s->name, 0755) < 0 && errno != EEXIST) || chdir(s->name) < 0)
        complain(__FILE__, __LINE__, "%s/%s: %s", root, s->name, strerror(errno));
    else if (setjmp(out) == 0)
        fn();
    printf("%s - %s: %s\n", complaints ? "not ok" : "ok", side, s->name);
    fflush(stdout);
    return complaints == 0;
}

/* Whether the words after the directory ask for this step: names alone choose, "-NAME" leaves out.
 */
static bool wanted(const char *name, char **words)
{
    bool some = false;

    for (; *words; words++) {
        if (strncmp(*words, "--", 2) == 0)
            continue;
        if (**words == '-' && strcmp(*words + 1, name) == 0)
            return false;
        if (strcmp(*words, name) == 0)
            return true;
        some |= **words != '-';
    }
    return !some;
}

int main(int argc, char **argv)
{
    unsigned failed = 0, ran = 0;

    if (argc < 3) {
        fprintf(stderr, "usage: posix-walk prepare|guest|host DIR [STEP | -STEP]... "
                        "[--without=WHAT,...]\n");
        return 2;
    }
    for (char **word = argv + 3; *word; word++) {
        if (strncmp(*word, "--without=", 10) == 0)
            say_lacks(*word + 10);
    }
    for (unsigned g = 0; groups[g]; g++) {
        for (const struct step *s = groups[g]; s->name; s++) {
            void (*fn)(void) = !strcmp(argv[1], "prepare") ? s->prepare
                               : !strcmp(argv[1], "guest") ? s->guest
                                                           : s->host;

            if (!fn || lacks(s->name) || !wanted(s->name, argv + 3))
                continue;
            ran++;
            failed += !run_step(argv[2], argv[1], s, fn);
        }
    }
    printf("# %s: %u of %u steps passed\n", argv[1], ran - failed, ran);
    return failed || !ran ? 1 : 0;
}
