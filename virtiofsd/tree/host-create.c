/* SPDX-License-Identifier: BSD-3-Clause
 * Verbs that make files, as the guest's process would make them. */
/* #syscalls close linkat mkdirat mknodat openat symlinkat unlinkat */
#include "virtiofsd/tree/host-priv.h"

static int make_at(int dir, const void *what)
{
    const struct tree_make *m = what;
    int rc;

    if (S_ISDIR(m->mode))
        rc = mkdirat(dir, m->name, m->mode & 07777);
    else if (S_ISLNK(m->mode)) /* and then it has a target: NOLINTNEXTLINE */
        rc = symlinkat(m->target, dir, m->name);
    else
        rc = mknodat(dir, m->name, m->mode, m->rdev);
    return rc == 0 ? 0 : -errno;
}

/* A new inode that is refused in the end must not stay, where a guest would find it unlabelled, or
 * a name that it was told it had not made. The host may have given the name to another file than
 * that of @fd since: that one does stay. */
static void undo_create(struct host *h, struct tree_node *parent, const char *name, int fd)
{
    struct statx made, stx;
    int dir = host_fd(h, parent);

    if (dir >= 0 && fd >= 0 && host_statx_at(fd, "", &made) == 0 &&
        host_statx_at(dir, name, &stx) == 0 && stx.stx_ino == made.stx_ino &&
        stx.stx_mnt_id == made.stx_mnt_id && tree_btime(&stx) == tree_btime(&made))
        unlinkat(dir, name, S_ISDIR(stx.stx_mode) ? AT_REMOVEDIR : 0);
}

/* Do a call that makes something below @dir as the guest's process, with its label where the kernel
 * gives that. Returns what @call does: a result or -errno. */
static int make_as(struct host *h, const struct fs_cred *cred, int dir,
                   int (*call)(int dir, const void *what), const void *what)
{
    struct host_cred_saved saved;
    int label = host_label_begin(h, cred);
    if (label < 0)
        return label;
    int rc = host_cred_enter(h, cred, &saved);
    if (rc == 0) {
        rc = call(dir, what);
        if (rc == -EACCES && host_cred_override(cred, &saved))
            rc = call(dir, what);
        host_cred_leave(h, &saved);
    }
    host_label_end(label);
    return rc;
}

/* Make, look up, label. Where the kernel does not give the label (host-label.c), another guest or
 * the host can see the inode without it until the last; of a regular file make_labelled() comes
 * before this. */
static int make(struct host *h, const struct fs_cred *cred, struct tree_node *dir,
                const struct tree_make *m, struct tree_found *out)
{
    int fd = host_fd(h, dir);
    int rc = fd < 0 ? fd : make_as(h, cred, fd, make_at, m);
    if (rc == 0)
        rc = host_complete(&h->tree, dir, m->name, true, out);
    if (rc < 0)
        return rc;
    if ((out->stx.stx_mode & S_IFMT) != (m->mode & S_IFMT)) {
        rc = -ESTALE; /* the host gave the name to something else meanwhile */
    } else {
        rc = host_secctx_set(h, cred, out->fd);
        if (rc < 0)
            undo_create(h, dir, m->name, out->fd);
    }
    if (rc < 0)
        host_drop(&h->tree, out->fd, out->own);
    return rc;
}

/* ---- files that are made and opened in one go ---- */

/* What was just made, from its own descriptor: its name may mean another file already. */
static int found_of_file(struct host *h, int fd, struct tree_found *out)
{
    char num[FD_NAME_LEN];
    int ref = openat(h->proc_self_fd, host_fd_name(num, fd), O_PATH | O_CLOEXEC);

    return ref < 0 ? host_open_errno() : host_found_fd(h, ref, out);
}

struct opening {
    const char *name;
    int flags;
    mode_t mode;
};

/* Returns a descriptor or -errno. */
static int open_at(int dir, const void *what)
{
    const struct opening *o = what;
    int fd = openat(dir, o->name, o->flags | O_CLOEXEC, o->mode & 07777);

    return fd < 0 ? host_open_errno() : fd;
}

static int create_at(struct host *h, const struct fs_cred *cred, struct tree_node *dir,
                     const char *name, int flags, mode_t mode)
{
    int fd = host_fd(h, dir);
    return fd < 0 ? fd : make_as(h, cred, fd, open_at, &(struct opening){name, flags, mode});
}

/* Give a name to a file that has none, as the guest's process. 0 or -errno. */
static int link_as(struct host *h, const struct fs_cred *cred, struct tree_node *dir,
                   const char *name, int fd)
{
    char num[FD_NAME_LEN];
    const char *number = host_fd_name(num, fd);
    struct host_cred_saved saved;
    int to = host_fd(h, dir);
    int rc = to < 0 ? to : host_cred_enter(h, cred, &saved);
    if (rc < 0)
        return rc;
    rc = linkat(h->proc_self_fd, number, to, name, AT_SYMLINK_FOLLOW);
    if (rc < 0 && errno == EACCES && host_cred_override(cred, &saved))
        rc = linkat(h->proc_self_fd, number, to, name, AT_SYMLINK_FOLLOW);
    rc = rc == 0 ? 0 : -errno;
    host_cred_leave(h, &saved);
    return rc;
}

/* A new file as create_at() makes it, with its label before it has its name. -EAGAIN: not here. */
static int create_labelled(struct host *h, const struct fs_cred *cred, struct tree_node *dir,
                           const char *name, int flags, mode_t mode)
{
    if (!cred || !cred->secctx_name || (flags & O_ACCMODE) == O_RDONLY ||
        host_label_native(h, cred))
        return -EAGAIN;
    AUTO_FD int fd = create_at(h, cred, dir, ".", flags | O_TMPFILE, mode);
    if (fd < 0)
        return -EAGAIN; /* no such files here, or what the other way will say as well */
    int rc = host_secctx_set(h, cred, fd);
    if (rc < 0)
        return rc;
    rc = link_as(h, cred, dir, name, fd);
    if (rc == 0)
        return steal_fd(&fd);
    return rc == -EEXIST ? rc : -EAGAIN;
}

/* The same for who does not want it open. 0, -EAGAIN as above, or another -errno. */
static int make_labelled(struct host *h, const struct fs_cred *cred, struct tree_node *dir,
                         const struct tree_make *m, struct tree_found *out)
{
    if (host_file_fd_take(h) < 0)
        return -EAGAIN;
    AUTO_FD int fd = create_labelled(h, cred, dir, m->name, O_WRONLY, m->mode);
    int rc = fd < 0 ? fd : found_of_file(h, fd, out);
    if (fd >= 0 && rc < 0)
        undo_create(h, dir, m->name, fd);
    host_file_fd_give(h);
    return rc;
}

int host_make(struct tree *t, const struct fs_cred *cred, struct tree_node *dir,
              const struct tree_make *m, struct tree_found *out)
{
    struct host *h = host_of(t);
    int rc = S_ISREG(m->mode) ? make_labelled(h, cred, dir, m, out) : -EAGAIN;

    return rc == -EAGAIN ? make(h, cred, dir, m, out) : rc;
}

/* Label a new file, unless @cred is NULL, and open what else the guest asked for. Takes @fd over.
 * @name is NULL when it has none. */
static int finish_create(struct host *h, const struct fs_cred *cred, struct tree_node *dir,
                         const char *name, int fd, int flags, int asked, struct tree_found *found,
                         struct tree_file *out)
{
    int rc = found_of_file(h, fd, found);
    bool has_found = rc == 0, stays = false;

    host_file_init(out, dir, fd, flags & ~O_DIRECTORY, asked); /* it is on the same mount */
    if (rc == 0)
        rc = host_secctx_set(h, cred, fd);
    if (rc == 0) {
        rc = host_sides_ready(h, out);
        /* How many more it takes is known only now. Without O_DIRECT there, the file stays, as it
         * does on the host. */
        stays = rc < 0 && rc != -ENFILE;
    }
    if (rc == 0)
        return 0;
    if (name && !stays)
        undo_create(h, dir, name, fd);
    if (has_found)
        host_drop(&h->tree, found->fd, found->own);
    host_close(&h->tree, out);
    return rc;
}

int host_create(struct tree *t, const struct fs_cred *cred, struct tree_node *dir, const char *name,
                mode_t mode, int flags, int asked, struct tree_found *found, struct tree_file *out)
{
    struct host *h = host_of(t);

    flags = host_open_flags(h, flags);
    int made = flags & ~O_TRUNC;
    int fd = name ? create_labelled(h, cred, dir, name, made, mode)
                  : create_at(h, cred, dir, ".", made | O_TMPFILE, mode);
    bool labelled = name && fd >= 0;

    if (name && fd == -EAGAIN)
        fd = create_at(h, cred, dir, name, made | O_CREAT | O_EXCL | O_NOFOLLOW, mode);
    return fd < 0
               ? fd
               : finish_create(h, labelled ? NULL : cred, dir, name, fd, flags, asked, found, out);
}
