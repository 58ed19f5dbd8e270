/* SPDX-License-Identifier: BSD-3-Clause
 * In a guest: an id-mapped mount of a virtio-fs mount, and what users do on both.
 *
 * usage: idmap PLAIN MAPPED [noacl]
 * PLAIN is mounted and empty; ids 0 to 65535 there are 100000 to 165535 at MAPPED, which is mounted
 * here. Prints "ok - ..." and "not ok - ..." lines. What stays behind is for the host to look at.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#define SHIFT 100000u
#define COUNT 65536u

static const char *plain, *mapped;
static unsigned failed;

/* One line of result; the rest is printf's. */
#define said(good, ...)                            \
    do {                                           \
        printf("%s - ", (good) ? "ok" : "not ok"); \
        printf(__VA_ARGS__);                       \
        printf("\n");                              \
        failed += !(good);                         \
    } while (0)

static void number(const char *what, long found, long wanted)
{
    if (found == wanted)
        said(true, "%s", what);
    else
        said(false, "%s: %ld, expected %ld", what, found, wanted);
}

/* A path below one of both mounts; four at a time. */
static const char *at(const char *mount, const char *name)
{
    static char buf[4][256];
    static unsigned turn;
    char *p = buf[turn++ % 4];
    snprintf(p, sizeof(buf[0]), "%s/%s", mount, name);
    return p;
}

/* ---- the mount ---- */

/* A user namespace in which ids 0 and up are SHIFT and up outside. */
static int make_userns(void)
{
    char path[64], map[64];
    int ready[2];

    if (pipe(ready) != 0)
        return -1;
    pid_t pid = fork();
    if (pid == 0) {
        if (unshare(CLONE_NEWUSER) == 0)
            (void)!write(ready[1], "x", 1);
        close(ready[1]);
        pause();
        _exit(0);
    }
    close(ready[1]);
    bool good = read(ready[0], map, 1) == 1;
    close(ready[0]);
    snprintf(map, sizeof(map), "0 %u %u", SHIFT, COUNT);
    for (int group = 0; good && group < 2; group++) {
        snprintf(path, sizeof(path), "/proc/%d/%cid_map", (int)pid, group ? 'g' : 'u');
        int fd = open(path, O_WRONLY);
        good = fd >= 0 && write(fd, map, strlen(map)) == (ssize_t)strlen(map);
        close(fd);
    }
    snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)pid);
    int ns = good ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    return ns;
}

static bool mount_mapped(void)
{
    int ns = make_userns();
    int tree = (int)syscall(SYS_open_tree, AT_FDCWD, plain, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)ns};

    if (ns < 0 || tree < 0) {
        said(false, "a user namespace and a copy of the mount: %s", strerror(errno));
        return false;
    }
    int rc = (int)syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &attr, sizeof(attr));
    said(rc == 0, "the mount takes a mapping of ids%s%s", rc ? ": " : "",
         rc ? strerror(errno) : "");
    if (rc != 0)
        return false;
    rc = (int)syscall(SYS_move_mount, tree, "", AT_FDCWD, mapped, MOVE_MOUNT_F_EMPTY_PATH);
    if (rc != 0)
        said(false, "move_mount: %s", strerror(errno));
    return rc == 0;
}

/* ---- as somebody ---- */

typedef int deed(const char *path);

static int closed(int fd)
{
    return fd < 0 ? -1 : close(fd);
}

/* What @fn does as this user and group: 0 or errno. */
static int as(unsigned id, deed *fn, const char *path)
{
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        if (setgroups(0, NULL) || setresgid(id, id, id) || setresuid(id, id, id))
            _exit(255);
        umask(0);
        errno = 0;
        _exit(fn(path) == 0 ? 0 : errno ? errno : 254);
    }
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 253;
}

static int make_file(const char *p)
{
    return closed(open(p, O_CREAT | O_EXCL | O_RDWR, 0644));
}
static int make_dir(const char *p)
{
    return mkdir(p, 0755);
}
static int make_link(const char *p)
{
    return symlink("to", p);
}
static int make_fifo(const char *p)
{
    return mkfifo(p, 0600);
}
static int open_read(const char *p)
{
    return closed(open(p, O_RDONLY));
}
static int may_write(const char *p)
{
    return access(p, W_OK);
}
static int write_one(const char *p)
{
    int fd = open(p, O_WRONLY);
    return write(fd, "x", 1) == 1 ? close(fd) : -1;
}
static int allocate(const char *p)
{
    int fd = open(p, O_WRONLY);
    return fallocate(fd, 0, 0, 8192) == 0 ? close(fd) : -1;
}
static int make_unnamed(const char *p)
{
    char dir[256], proc[64];
    snprintf(dir, sizeof(dir), "%s", p);
    *strrchr(dir, '/') = '\0';
    int fd = open(dir, O_TMPFILE | O_RDWR, 0644);
    if (fd < 0)
        return -1;
    snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
    return linkat(AT_FDCWD, proc, AT_FDCWD, p, AT_SYMLINK_FOLLOW);
}

/* What creates nothing, one after another, on an own file and directory. */
static int all_else(const char *p)
{
    char other[256], dir[256];
    struct stat st;
    struct flock lk = {.l_type = F_WRLCK, .l_len = 1};
    loff_t from = 0, to = 4096;

    snprintf(other, sizeof(other), "%s.2", p);
    snprintf(dir, sizeof(dir), "%s.d", p);
    int fd = open(p, O_CREAT | O_RDWR, 0644);
    if (fd < 0 || write(fd, "0123456789", 10) != 10 || fsync(fd) || fstat(fd, &st))
        return -1;
    if (fchmod(fd, 0640) || ftruncate(fd, 5000) || fallocate(fd, 0, 0, 6000) ||
        futimens(fd, NULL) || fcntl(fd, F_SETLK, &lk) || flock(fd, LOCK_EX) ||
        copy_file_range(fd, &from, fd, &to, 10, 0) != 10 || lseek(fd, 0, SEEK_HOLE) < 0)
        return -1;
    if (access(p, R_OK | W_OK) || access(p, X_OK) == 0 || fchown(fd, (uid_t)-1, st.st_gid))
        return -1;
    if (link(p, other) || rename(other, p) || unlink(other) || mkdir(dir, 0700) ||
        rename(dir, other) || chmod(other, 0755) || rmdir(other))
        return -1;
    if (setxattr(p, "user.some", "v", 1, 0) || removexattr(p, "user.some"))
        return -1;
    return close(fd);
}

/* ---- owners ---- */

static void owner(const char *what, const char *mount, const char *name, unsigned uid, unsigned gid)
{
    struct stat st = {.st_uid = 77777777, .st_gid = 77777777};
    lstat(at(mount, name), &st);
    if (st.st_uid == uid && st.st_gid == gid)
        said(true, "%s, %s: %u:%u", what, name, uid, gid);
    else
        said(false, "%s, %s: %u:%u, expected %u:%u", what, name, st.st_uid, st.st_gid, uid, gid);
}

static void creations(void)
{
    static const struct {
        const char *name;
        deed *fn;
    } rows[] = {
        {"file", make_file}, {"dir", make_dir},         {"link", make_link},
        {"fifo", make_fifo}, {"unnamed", make_unnamed},
    };
    char name[64];

    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        number("made on the mapped mount", as(SHIFT + 1000, rows[i].fn, at(mapped, rows[i].name)),
               0);
        owner("seen there", mapped, rows[i].name, SHIFT + 1000, SHIFT + 1000);
        owner("seen on the plain one", plain, rows[i].name, 1000, 1000);
        snprintf(name, sizeof(name), "no-%s", rows[i].name);
        number("somebody whom it does not map makes nothing", as(5, rows[i].fn, at(mapped, name)),
               EOVERFLOW);
        snprintf(name, sizeof(name), "plain-%s", rows[i].name);
        number("made on the plain mount", as(1000, rows[i].fn, at(plain, name)), 0);
        owner("seen there", plain, name, 1000, 1000);
        owner("seen on the mapped one", mapped, name, SHIFT + 1000, SHIFT + 1000);
    }
}

static void changes(void)
{
    number("chown by root on the mapped mount", chown(at(mapped, "file"), SHIFT + 7, SHIFT + 8), 0);
    owner("seen there", mapped, "file", SHIFT + 7, SHIFT + 8);
    owner("seen on the plain one", plain, "file", 7, 8);
    number("chown to whom it does not map", chown(at(mapped, "file"), 5, 5) ? errno : 0, EOVERFLOW);

    mkdir(at(plain, "group"), 0777);
    if (chown(at(plain, "group"), 0, 50) || chmod(at(plain, "group"), 02777))
        said(false, "a directory of a group: %s", strerror(errno));
    number("made where the group is inherited", as(SHIFT + 1000, make_file, at(mapped, "group/f")),
           0);
    owner("seen on the plain one", plain, "group/f", 1000, 50);
}

static long mode_of(const char *path)
{
    struct stat st = {0};
    stat(path, &st);
    return st.st_mode & 07777;
}

static void set_ids_go(void)
{
    static const struct {
        const char *what;
        deed *fn;
    } rows[] = {{"a write", write_one}, {"an allocation", allocate}};

    for (unsigned i = 0; i < 2; i++) {
        for (unsigned on = 0; on < 2; on++) {
            const char *p = at(plain, "program");
            int fd = open(p, O_CREAT | O_RDWR, 0777);
            fchmod(fd, 04777);
            close(fd);
            int e = as((on ? SHIFT : 0) + 1000, rows[i].fn, at(on ? mapped : plain, "program"));
            char what[96];
            snprintf(what, sizeof(what), "%s on the %s mount", rows[i].what,
                     on ? "mapped" : "plain");
            number(what, e, 0);
            number("takes the set-user-id bit", mode_of(at(plain, "program")), 0777);
        }
    }
}

/* ---- ACLs ---- */

struct acl {
    uint32_t version;
    struct {
        uint16_t tag, perm;
        uint32_t id;
    } e[5];
};

static struct acl acl_for(uint32_t user, unsigned perm)
{
    return (struct acl){
        2, {{1, 6, ~0u}, {2, (uint16_t)perm, user}, {4, 0, ~0u}, {0x10, 7, ~0u}, {0x20, 0, ~0u}}};
}

static long acl_user(const char *path, const char *name)
{
    struct acl a = {0};
    ssize_t n = getxattr(path, name, &a, sizeof(a));
    return n == sizeof(a) && a.e[1].tag == 2 ? (long)a.e[1].id : -errno;
}

#define ACCESS  "system.posix_acl_access"
#define DEFAULT "system.posix_acl_default"

static void acls(void)
{
    struct acl a = acl_for(SHIFT + 2000, 4), d = acl_for(SHIFT + 2000, 7);

    int rc = setxattr(at(mapped, "file"), ACCESS, &a, sizeof(a), 0);
    number("setfacl on the mapped mount", rc ? errno : 0, 0);
    number("the user of the ACL, there", acl_user(at(mapped, "file"), ACCESS), SHIFT + 2000);
    number("and on the plain one", acl_user(at(plain, "file"), ACCESS), 2000);
    number("that user reads", as(SHIFT + 2000, open_read, at(mapped, "file")), 0);
    number("and by its other number", as(2000, open_read, at(plain, "file")), 0);
    number("another does not", as(SHIFT + 3000, open_read, at(mapped, "file")), EACCES);
    number("nor does that number on the other mount", as(2000, open_read, at(mapped, "file")),
           EACCES);
    number("that user may not write", as(SHIFT + 2000, may_write, at(mapped, "file")), EACCES);
    number("the owner may", as(SHIFT + 7, may_write, at(mapped, "file")), 0);

    a = acl_for(2000, 6);
    rc = setxattr(at(plain, "file"), ACCESS, &a, sizeof(a), 0);
    number("setfacl on the plain mount", rc ? errno : 0, 0);
    number("the user of the ACL, on the mapped one", acl_user(at(mapped, "file"), ACCESS),
           SHIFT + 2000);
    number("that user writes now", as(SHIFT + 2000, write_one, at(mapped, "file")), 0);

    rc = setxattr(at(mapped, "dir"), DEFAULT, &d, sizeof(d), 0);
    number("a default ACL on the mapped mount", rc ? errno : 0, 0);
    number("made below", as(SHIFT + 1000, make_file, at(mapped, "dir/heir")), 0);
    owner("seen on the plain one", plain, "dir/heir", 1000, 1000);
    number("its ACL's user", acl_user(at(mapped, "dir/heir"), ACCESS), SHIFT + 2000);
    number("and on the plain one", acl_user(at(plain, "dir/heir"), ACCESS), 2000);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: idmap PLAIN MAPPED [noacl]\n");
        return 2;
    }
    plain = argv[1];
    mapped = argv[2];
    umask(0);
    chmod(plain, 0777);
    if (!mount_mapped())
        return 1;
    creations();
    changes();
    set_ids_go();
    if (argc == 3)
        acls();
    number("everything else on the plain mount", as(1000, all_else, at(plain, "else")), 0);
    number("everything else on the mapped mount",
           as(SHIFT + 1000, all_else, at(mapped, "else-mapped")), 0);
    number("everything else, as root", as(0, all_else, at(plain, "else-root")), 0);
    return failed ? 1 : 0;
}
