/* SPDX-License-Identifier: BSD-3-Clause
 * Verbs that make inodes, as the guest's process would make them. */
#include "virtiofsd/fs/fs-priv.h"

#include <limits.h>

/* What is to be made, for make_at(). */
struct recipe {
    mode_t mode;
    dev_t rdev;
    const char *target; /* of a symbolic link */
};

static int make_at(int dir, const char *name, const struct recipe *r)
{
    int rc;
    if (S_ISDIR(r->mode))
        rc = mkdirat(dir, name, r->mode & 07777);
    else if (S_ISLNK(r->mode)) /* and then it has a target: NOLINTNEXTLINE */
        rc = symlinkat(r->target, dir, name);
    else
        rc = mknodat(dir, name, r->mode, r->rdev);
    return rc == 0 ? 0 : -errno;
}

/* A new inode that is refused in the end must not stay, where a guest would find it unlabelled, or
 * a name that it was told it had not made. The host may have given the name to another file than
 * that of @fd since: that one does stay. */
static void unmake(struct fs *fs, struct fs_inode *parent, const char *name, int fd)
{
    struct statx made, stx;
    int dir = fs_inode_fd(fs, parent);

    if (dir >= 0 && fd >= 0 && fs_statx_at(fd, "", &made) == 0 &&
        fs_statx_at(dir, name, &stx) == 0 && stx.stx_ino == made.stx_ino &&
        stx.stx_mnt_id == made.stx_mnt_id && fs_btime(&stx) == fs_btime(&made))
        unlinkat(dir, name, S_ISDIR(stx.stx_mode) ? AT_REMOVEDIR : 0);
}

/* What can be said before anything is made. */
static int check(struct fs *fs, const struct fs_cred *cred, const char *name)
{
    int rc = fs_name_check(name);
    if (rc < 0)
        return rc;
    return fs->cfg.readonly ? -EROFS : fs_secctx_check(fs, cred);
}

/* Make it as the guest's process, with its label where the kernel gives that. 0 or -errno. */
static int make_as(struct fs *fs, const struct fs_cred *cred, int dir, const char *name,
                   const struct recipe *r)
{
    struct fs_cred_saved saved;
    int label = fs_label_begin(fs, cred);
    if (label < 0)
        return label;
    int rc = fs_cred_enter(fs, cred, &saved);
    if (rc == 0) {
        rc = make_at(dir, name, r);
        if (rc == -EACCES && fs_cred_override(cred, &saved))
            rc = make_at(dir, name, r);
        fs_cred_leave(fs, &saved);
    }
    fs_label_end(label);
    return rc;
}

/* Make, look up, label. Where the kernel does not give the label (fs-label.c), another guest or the
 * host can see the inode without it between the last two. */
static int make_in_room(struct fs *fs, const struct fs_cred *cred, struct fs_inode *parent,
                        const char *name, const struct recipe *r, struct fs_entry *out, bool *room)
{
    int dir = fs_inode_fd(fs, parent);
    if (dir < 0)
        return dir;
    int rc = make_as(fs, cred, dir, name, r);
    if (rc < 0)
        return rc;

    bool isnew;
    rc = fs_lookup_open(fs, parent, name, out, &isnew, room);
    if (rc == 0 && !fs_inode_is(out->inode, r->mode & S_IFMT)) {
        fs_inode_put(fs, out->inode); /* the host gave the name to something else meanwhile */
        return -ESTALE;
    }
    if (rc == 0) {
        rc = fs_secctx_set(fs, cred, fs_inode_fd(fs, out->inode));
        if (rc < 0) {
            unmake(fs, parent, name, fs_inode_fd(fs, out->inode));
            fs_inode_put(fs, out->inode);
        }
    }
    return rc;
}

/* The same, after all that can refuse it. */
static int make(struct fs *fs, const struct fs_cred *cred, struct fs_inode *parent,
                const char *name, const struct recipe *r, struct fs_entry *out)
{
    bool room = true;
    int rc = check(fs, cred, name);
    if (rc == 0)
        rc = fs_room_take(fs);
    if (rc < 0)
        return rc;
    rc = make_in_room(fs, cred, parent, name, r, out, &room);
    if (room)
        fs_room_give(fs);
    return rc;
}

int fs_mkdir(struct fs *fs, const struct fs_cred *cred, struct fs_inode *parent, const char *name,
             mode_t mode, struct fs_entry *out)
{
    struct recipe r = {.mode = S_IFDIR | (mode & 07777)};
    return make(fs, cred, parent, name, &r, out);
}

int fs_symlink(struct fs *fs, const struct fs_cred *cred, struct fs_inode *parent, const char *name,
               const char *target, struct fs_entry *out)
{
    struct recipe r = {.mode = S_IFLNK, .target = target};
    if (strnlen(target, PATH_MAX) >= PATH_MAX)
        return -ENAMETOOLONG;
    return make(fs, cred, parent, name, &r, out);
}

/* ---- files that are made and opened in one go ---- */

/* The entry of a file that was just made, from its own descriptor: its name may mean another file
 * already. */
static int entry_of_fd(struct fs *fs, const struct fs_inode *parent, int fd, struct fs_entry *out,
                       bool *room)
{
    char num[FD_NAME_LEN];
    struct statx stx;
    AUTO_FD int ref = openat(fs->cfg.proc_self_fd, fs_fd_name(num, fd), O_PATH | O_CLOEXEC);
    if (ref < 0)
        return fs_open_errno();
    int rc = fs_statx_at(fd, "", &stx);
    if (rc == 0)
        rc = fs_inode_intern(fs, parent, &ref, &stx, &out->inode, NULL, room);
    if (rc == 0)
        fs_attr_for_child(fs, parent, &stx, &out->attr);
    return rc;
}

/* Label a new file, unless @cred is NULL, and enter it into both tables. Takes @fd over; it is
 * counted already. @name is NULL when it has none. */
static int finish_create(struct fs *fs, const struct fs_cred *cred, struct fs_inode *parent,
                         const char *name, int fd, int flags, int asked, struct fs_entry *out,
                         struct fs_opened *opened, bool *room)
{
    struct fs_entry entry = {0};
    struct fs_opened o = {
        .keep_cache = fs->cfg.cache == FS_CACHE_ALWAYS,
        .in_order = fs_in_order(asked),
    };
    int rc = entry_of_fd(fs, parent, fd, &entry, room);

    if (rc == 0)
        rc = fs_secctx_set(fs, cred, fd);
    if (rc < 0) {
        if (name)
            unmake(fs, parent, name, fd);
        if (entry.inode)
            fs_inode_put(fs, entry.inode);
        close(fd);
        fs_fds_give(fs);
        return rc;
    }
    rc = fs_file_add(fs, entry.inode, fd, flags, asked, &o.fh);
    if (rc == 0)
        rc = fs_open_ready(fs, o.fh, asked);
    if (rc < 0) {
        /* How many more it takes is known only now. Without O_DIRECT there, the file stays, as it
         * does on the host. */
        if (rc == -ENFILE && name)
            unmake(fs, parent, name, fs_inode_fd(fs, entry.inode));
        fs_inode_put(fs, entry.inode);
        return rc;
    }
    *out = entry;
    *opened = o;
    return 0;
}

/* openat() as the guest's process, what it makes with its label where the kernel gives that.
 * Returns a descriptor or -errno. */
static int open_as(struct fs *fs, const struct fs_cred *cred, int dir, const char *name, int flags,
                   mode_t mode)
{
    struct fs_cred_saved saved;
    int label = fs_label_begin(fs, cred);
    if (label < 0)
        return label;
    int rc = fs_cred_enter(fs, cred, &saved);
    if (rc == 0) {
        rc = openat(dir, name, flags | O_CLOEXEC, mode & 07777);
        if (rc < 0 && errno == EACCES && fs_cred_override(cred, &saved))
            rc = openat(dir, name, flags | O_CLOEXEC, mode & 07777);
        if (rc < 0)
            rc = fs_open_errno();
        fs_cred_leave(fs, &saved);
    }
    fs_label_end(label);
    return rc;
}

/* The same, counted. */
static int create_at(struct fs *fs, const struct fs_cred *cred, struct fs_inode *parent,
                     const char *name, int flags, mode_t mode)
{
    int dir = fs_inode_fd(fs, parent);
    if (dir < 0)
        return dir;
    int rc = fs_fds_take(fs);
    if (rc < 0)
        return rc;
    rc = open_as(fs, cred, dir, name, flags, mode);
    if (rc < 0)
        fs_fds_give(fs);
    return rc;
}

/* Give a name to a file that has none, as the guest's process. 0 or -errno. */
static int link_as(struct fs *fs, const struct fs_cred *cred, struct fs_inode *parent,
                   const char *name, int fd)
{
    char num[FD_NAME_LEN];
    const char *number = fs_fd_name(num, fd);
    struct fs_cred_saved saved;
    int dir = fs_inode_fd(fs, parent);
    int rc = dir < 0 ? dir : fs_cred_enter(fs, cred, &saved);
    if (rc < 0)
        return rc;
    rc = linkat(fs->cfg.proc_self_fd, number, dir, name, AT_SYMLINK_FOLLOW);
    if (rc < 0 && errno == EACCES && fs_cred_override(cred, &saved))
        rc = linkat(fs->cfg.proc_self_fd, number, dir, name, AT_SYMLINK_FOLLOW);
    rc = rc == 0 ? 0 : -errno;
    fs_cred_leave(fs, &saved);
    return rc;
}

/* A new file as create_at() makes it, with its label before it has its name. -EAGAIN: not here. */
static int create_labelled(struct fs *fs, const struct fs_cred *cred, struct fs_inode *parent,
                           const char *name, int flags, mode_t mode)
{
    if (!cred || !cred->secctx_name || (flags & O_ACCMODE) == O_RDONLY || fs_label_native(fs, cred))
        return -EAGAIN;
    int fd = create_at(fs, cred, parent, ".", flags | O_TMPFILE, mode);
    if (fd < 0)
        return -EAGAIN; /* no such files here, or what the other way will say as well */
    int rc = fs_secctx_set(fs, cred, fd);
    if (rc == 0) {
        rc = link_as(fs, cred, parent, name, fd);
        if (rc == 0)
            return fd;
        rc = rc == -EEXIST ? rc : -EAGAIN;
    }
    close(fd);
    fs_fds_give(fs);
    return rc;
}

/* The same for who does not want it open. 0, -EAGAIN as above, or another -errno. */
static int make_labelled(struct fs *fs, const struct fs_cred *cred, struct fs_inode *parent,
                         const char *name, mode_t mode, struct fs_entry *out)
{
    bool room = true;
    int rc = check(fs, cred, name);
    if (rc == 0)
        rc = fs_room_take(fs);
    if (rc < 0)
        return rc;
    int fd = create_labelled(fs, cred, parent, name, O_WRONLY, mode);
    rc = fd < 0 ? fd : entry_of_fd(fs, parent, fd, out, &room);
    if (room)
        fs_room_give(fs);
    if (fd < 0)
        return fd;
    if (rc < 0)
        unmake(fs, parent, name, fd);
    close(fd);
    fs_fds_give(fs);
    return rc;
}

int fs_mknod(struct fs *fs, const struct fs_cred *cred, struct fs_inode *parent, const char *name,
             mode_t mode, dev_t rdev, struct fs_entry *out)
{
    mode_t type = mode & S_IFMT;
    struct recipe r = {.mode = mode & (S_IFMT | 07777), .rdev = rdev};

    if (type == 0) {
        type = S_IFREG;
        r.mode |= type;
    }
    if (!S_ISREG(type) && !S_ISCHR(type) && !S_ISBLK(type) && !S_ISFIFO(type) && !S_ISSOCK(type))
        return -EINVAL;
    int rc = S_ISREG(type) ? make_labelled(fs, cred, parent, name, mode, out) : -EAGAIN;
    return rc == -EAGAIN ? make(fs, cred, parent, name, &r, out) : rc;
}

/* CREATE without O_EXCL of a name that is there: an ordinary lookup and open. */
static int open_existing(struct fs *fs, struct fs_inode *parent, const char *name, int flags,
                         unsigned how, struct fs_entry *out, struct fs_opened *opened)
{
    struct fs_entry entry;
    int rc = fs_lookup(fs, parent, name, &entry);
    if (rc < 0)
        return rc;
    rc = fs_open(fs, entry.inode, flags & ~(O_CREAT | O_EXCL), how, opened);
    if (rc == 0 && (flags & O_TRUNC)) { /* the size has changed since the lookup */
        bool submount = entry.attr.submount;
        rc = fs_getattr(fs, entry.inode, NULL, &entry.attr);
        entry.attr.submount = submount;
        if (rc < 0)
            fs_release(fs, opened->fh);
    }
    if (rc < 0) {
        fs_inode_put(fs, entry.inode);
        return rc;
    }
    *out = entry;
    return 0;
}

/* CREATE of a name that is not there. @flags: of open(2) that the descriptor gets; @asked: those
 * that the guest gave. -EEXIST: it is there. */
static int create_new(struct fs *fs, const struct fs_cred *cred, struct fs_inode *parent,
                      const char *name, mode_t mode, int flags, int asked, struct fs_entry *out,
                      struct fs_opened *opened)
{
    bool room = true;
    int rc = fs_room_take(fs);
    if (rc < 0)
        return rc;
    int fd = create_labelled(fs, cred, parent, name, flags & ~O_TRUNC, mode);
    bool labelled = fd >= 0;
    if (fd == -EAGAIN)
        fd = create_at(fs, cred, parent, name, (flags & ~O_TRUNC) | O_CREAT | O_EXCL | O_NOFOLLOW,
                       mode);
    rc = fd < 0 ? fd
                : finish_create(fs, labelled ? NULL : cred, parent, name, fd, flags, asked, out,
                                opened, &room);
    if (room)
        fs_room_give(fs);
    return rc;
}

int fs_create(struct fs *fs, const struct fs_cred *cred, struct fs_inode *parent, const char *name,
              mode_t mode, int flags, unsigned how, struct fs_entry *out, struct fs_opened *opened)
{
    int rc = check(fs, cred, name);
    if (rc < 0)
        return rc;
    int clean = fs_open_flags(fs, flags & ~(O_CREAT | O_EXCL));
    if (clean < 0)
        return clean;
    /* Exclusive first: a name that turns out to be there is opened without following links and
     * without touching special files, which openat() with O_CREAT could not promise. */
    for (int tries = 0; tries < 3; tries++) {
        int made = create_new(fs, cred, parent, name, mode, clean, flags, out, opened);
        /* No room for a new file: one that is there and known needs none. */
        if ((made != -EEXIST && made != -ENFILE) || (flags & O_EXCL))
            return made;
        rc = open_existing(fs, parent, name, flags, how, out, opened);
        if (rc != -ENOENT)
            return rc;
        if (made == -ENFILE)
            return made;
        /* gone again: somebody on the host is busy with this name */
    }
    return rc;
}

int fs_tmpfile(struct fs *fs, const struct fs_cred *cred, struct fs_inode *parent, mode_t mode,
               int flags, struct fs_entry *out, struct fs_opened *opened)
{
    if (fs->cfg.readonly)
        return -EROFS;
    int rc = fs_secctx_check(fs, cred);
    if (rc < 0)
        return rc;
    int excl = flags & O_EXCL; /* here: may never be linked into the tree */
    int clean = fs_open_flags(fs, flags & ~(O_CREAT | O_EXCL | __O_TMPFILE));
    if (clean < 0)
        return clean;
    if ((clean & O_ACCMODE) == O_RDONLY)
        return -EINVAL;
    int fd = create_at(fs, cred, parent, ".", (clean & ~O_TRUNC) | O_TMPFILE | excl, mode);
    if (fd < 0)
        return fd;
    return finish_create(fs, cred, parent, NULL, fd, clean, flags, out, opened, NULL);
}
