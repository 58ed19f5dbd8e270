/* SPDX-License-Identifier: BSD-3-Clause
 * The file-system core: a tree of files as inodes, names and open files. It knows no protocol;
 * FUSE and 9P call the same verbs.
 *
 * Conventions: 0 or -errno (ssize_t: bytes or -errno); out-parameters are set on success only;
 * *_get takes and *_put drops a reference. No lock of the core is held across a system call on the
 * shared tree. Every verb may be called from any thread that called fs_thread_start().
 *
 * Trust: ids, names, flags, counts come from the guest and are checked here: names by
 * fs_name_check(), ids by table and generation. Special files (devices, FIFOs, sockets) are never
 * opened, only O_PATH references to them are held. */
#pragma once

#include "virtiofsd/tree/tree-types.h"

#include <errno.h>
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "virtiofsd/fs/fs-policy.h"

struct fs;
struct fs_inode;
struct fs_file;
struct statx;
struct fs_idmap;
struct fs_xattrmap;
struct tree;

/* ---- configuration ---- */

struct fs_config {
    union {
        struct fs_policy policy;
        struct fs_policy;
    };
    struct tree *tree; /* what is served (tree/tree.h); taken over, on failure too */
    /* Called by each thread that has to do with waiting for locks, first of all; may be NULL. */
    void (*lock_thread_start)(void *user);
    /* The numbers of fs_statfs(), whatever the inode: 0 or -errno. NULL: of the inode's own file
     * system. */
    int (*statfs)(void *user, struct statvfs *out);
    void *user;
    /* Translations; NULL: none. Not taken over, must outlive the core. */
    const struct fs_xattrmap *xattrmap;
    const struct fs_idmap *uids, *gids;
};

/* Make the core over cfg->tree. Returns NULL with @err set to one line that says what to do. */
struct fs *fs_new(const struct fs_config *cfg, GError **err);
void fs_free(struct fs *fs);
/* As it was made with. Constant. */
const struct fs_policy *fs_policy_of(const struct fs *fs);

/* How much there is, for whoever watches the daemon. */
struct fs_gauges {
    uint64_t inodes;            /* that clients know or use, the root included */
    uint64_t inode_descriptors; /* that they are held by */
    uint64_t other_descriptors; /* of open files and locks */
    uint64_t files;             /* open, of this client */
    uint64_t lock_owners, lock_waiters;
    uint64_t reads_late;        /* so far: data had to be fetched first */
    uint64_t reads[TREE_READS]; /* the same, of each TREE_READ_EVERYth read of a thread */
};
/* Any thread. Takes the core's locks for a moment. */
void fs_gauges(struct fs *fs, struct fs_gauges *out);

/* Another client of the same tree: it shares the inodes, the root, the policies and the bounds of
 * descriptors, and has open files, locks and lock owners of its own. One client's fs_reset() leaves
 * the others' alone, its handles and owners mean nothing to them, and their locks exclude each
 * other. Lookups (fs_inode_remember()) belong to @first; this one holds plain references. Free it
 * before @first. NULL only when there is no address space for its tables. */
struct fs *fs_client_new(struct fs *first);

/* Drop all state of this client: lookups, open files, locks; what waits is cancelled. No other
 * call of this client may run. The root stays. */
void fs_reset(struct fs *fs);

/* The client's peer is gone, which need not be true of the guest: what waits ends, since nobody
 * would hear its end, and all else stays, to be listed (fs-state.h) or reset. No other call of this
 * client may run. */
void fs_hang_up(struct fs *fs);

/* Whether the guest knows POSIX ACLs: only then it sees and sets the attributes that hold them.
 * fs_reset() switches it off. No other call may run. */
void fs_acl_enable(struct fs *fs, bool on);

/* Whether the guest caches writes: then it reads what it opened for writing, and places appended
 * data itself. fs_reset() switches it off. No other call may run. */
void fs_writeback_enable(struct fs *fs, bool on);

/* Whether the guest gives each file system below the root a device of its own (FUSE_SUBMOUNTS). At
 * first as configured. No other call may run. */
void fs_submounts_enable(struct fs *fs, bool on);

/* Whether the guest keeps what symbolic links say for as long as it knows their inodes: then a link
 * that may have changed is found as another inode. Returns whether it may: not where the share's
 * own file system, being in another process or on a network, may change them in place. fs_reset()
 * switches it off. No other call may run. */
bool fs_links_enable(struct fs *fs, bool on);

/* Prepare the calling thread: private umask and cwd (unshare(CLONE_FS)). Once per thread. */
void fs_thread_start(void);

/* ---- who asks ----
 * All ids on this side of the core are the guest's: requests, attributes, ACLs. */

/* Where nobody else checks what @cred may do: be that user in this thread until fs_act_done(), so
 * that the host's kernel checks each call as that user's, in the moment of the call and by the
 * descriptor that it is about. What is made meanwhile must be @cred's, too. Not around verbs that
 * wait or are by right of an open file. 1: fs_act_done() is to be called; 0: this thread acts so
 * already; -errno, nothing changed: this process cannot be that user. */
int fs_act_as(struct fs *fs, const struct fs_cred *cred);
/* Keeps errno. */
void fs_act_done(struct fs *fs);

/* ---- inodes ---- */

#define FS_ROOT_ID 1

struct fs_attr {
    struct stat st;
    uint64_t mnt_id;
    struct timespec btime; /* birth time; zero when the file system has none */
    bool submount;         /* another file system begins here (only with announce_submounts) */
    bool immutable;        /* immutable, append-only or sealed: never written in place */
};

/* Result of every verb that names an inode: a reference that the caller must pass to
 * fs_inode_put() or fs_inode_remember(). */
struct fs_entry {
    struct fs_inode *inode;
    struct fs_attr attr;
};

/* Inode of a guest-given id, with a reference; NULL when there is none (answer ENOENT/EBADF...).
 * An id is a table slot plus a generation: a stale id never names another inode. */
struct fs_inode *fs_inode_get(struct fs *fs, uint64_t id);
void fs_inode_put(struct fs *fs, struct fs_inode *inode);
struct fs_inode *fs_inode_ref(struct fs_inode *inode);
uint64_t fs_inode_id(const struct fs_inode *inode);
mode_t fs_inode_type(const struct fs_inode *inode); /* S_IFMT part; never changes */

/* Turn one reference into one guest lookup: what FUSE's FORGET gives back. */
void fs_inode_remember(struct fs *fs, struct fs_inode *inode);
/* The guest gives back @n lookups of @id. Unknown ids and too large counts do no harm. Returns
 * whether these were the last and the inode was opened for mapping: what is mapped under this id
 * may go, for the file gets another id if it is ever found again. */
bool fs_forget(struct fs *fs, uint64_t id, uint64_t n);
/* The same for one of many: what is to be closed, which can take long (the file may have no name
 * any more), is added to @fds, an array of int for fs_close_later(). */
bool fs_forget_of_many(struct fs *fs, uint64_t id, uint64_t n, GArray *fds);
/* Close inodes' descriptors: by another thread when there are many. Takes @fds over. */
void fs_close_later(struct fs *fs, GArray *fds);

/* ---- names ---- */

/* 0, -EINVAL (empty, "/" in it, "." or ".." ) or -ENAMETOOLONG. */
int fs_name_check(const char *name);

/* Look up @name in @parent. "." and ".." are allowed here; ".." of the root is the root.
 * One system call when the inode is known already. */
int fs_lookup(struct fs *fs, struct fs_inode *parent, const char *name, struct fs_entry *out);
int fs_mknod(struct fs *fs, const struct fs_cred *cred, struct fs_inode *parent, const char *name,
             mode_t mode, dev_t rdev, struct fs_entry *out);
int fs_mkdir(struct fs *fs, const struct fs_cred *cred, struct fs_inode *parent, const char *name,
             mode_t mode, struct fs_entry *out);
int fs_symlink(struct fs *fs, const struct fs_cred *cred, struct fs_inode *parent, const char *name,
               const char *target, struct fs_entry *out);
int fs_link(struct fs *fs, struct fs_inode *inode, struct fs_inode *parent, const char *name,
            struct fs_entry *out);
int fs_unlink(struct fs *fs, struct fs_inode *parent, const char *name);
int fs_rmdir(struct fs *fs, struct fs_inode *parent, const char *name);
/* @flags: RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT; others are -EINVAL. */
int fs_rename(struct fs *fs, const struct fs_cred *cred, struct fs_inode *parent, const char *name,
              struct fs_inode *newparent, const char *newname, unsigned flags);
/* Target of a symbolic link, no NUL. Returns its length; -ENAMETOOLONG when @size is too small. */
ssize_t fs_readlink(struct fs *fs, struct fs_inode *inode, char *buf, size_t size);

/* ---- attributes ---- */

/* @file may be NULL. One system call. */
int fs_getattr(struct fs *fs, struct fs_inode *inode, struct fs_file *file, struct fs_attr *out);
/* The same without what only statx(2) tells: mnt_id, btime and immutable are 0. It costs less. */
int fs_getstat(struct fs *fs, struct fs_inode *inode, struct fs_file *file, struct fs_attr *out);
/* statx(2) as asked by the guest; @flags and @mask are sanitised. */
int fs_statx(struct fs *fs, struct fs_inode *inode, struct fs_file *file, unsigned flags,
             unsigned mask, struct statx *out);

/* Change and return the new attributes. @file (may be NULL) is used for the size. */
int fs_setattr(struct fs *fs, struct fs_inode *inode, struct fs_file *file,
               const struct fs_setattr *set, struct fs_attr *out);
/* access(2) for @cred, decided from mode, owner and ACL as the host would for that user. Without
 * @cred a guest's kernel has checked that: only what nobody may is refused. */
int fs_access(struct fs *fs, const struct fs_cred *cred, struct fs_inode *inode, int mask);
/* statvfs(3) of this very inode: where it is a directory with a project quota the host's kernel
 * answers with the project's limits (ext4, XFS). */
int fs_statfs(struct fs *fs, struct fs_inode *inode, struct statvfs *out);

/* ---- open files ---- */

/* File of a guest-given handle, with a reference; NULL when there is none. @inode is the inode it
 * must belong to (NULL: any). */
struct fs_file *fs_file_get(struct fs *fs, uint64_t fh, const struct fs_inode *inode);
void fs_file_put(struct fs *fs, struct fs_file *file);
uint64_t fs_file_id(const struct fs_file *file);

struct fs_opened {
    uint64_t fh;
    bool keep_cache;  /* unchanged since the last open: the guest may keep its page cache */
    bool steady;      /* of a directory: its next change will show in its time stamps */
    bool append_only; /* the host takes nothing but appends, which must not be delayed */
    bool in_order;    /* O_APPEND and O_DIRECT: the pieces of a write must not pass each other */
};

/* Open a regular file with open(2) @flags (access mode, O_APPEND, O_TRUNC, O_DIRECT... sanitised;
 * O_CREAT is -EINVAL). Special files are refused: -ENXIO. The handle lives until fs_release(). */
int fs_open(struct fs *fs, struct fs_inode *inode, int flags, unsigned how, struct fs_opened *out);
int fs_opendir(struct fs *fs, struct fs_inode *inode, struct fs_opened *out);
/* Create (or, without O_EXCL, open an existing) regular file. */
int fs_create(struct fs *fs, const struct fs_cred *cred, struct fs_inode *parent, const char *name,
              mode_t mode, int flags, unsigned how, struct fs_entry *out, struct fs_opened *opened);
int fs_tmpfile(struct fs *fs, const struct fs_cred *cred, struct fs_inode *parent, mode_t mode,
               int flags, struct fs_entry *out, struct fs_opened *opened);
/* Close a handle made by fs_open(), fs_opendir(), fs_create(), fs_tmpfile(). */
int fs_release(struct fs *fs, uint64_t fh);
/* One close(2) of the guest process group @owner: its POSIX locks on the inode end. */
int fs_flush(struct fs *fs, struct fs_inode *inode, uint64_t owner);
/* What close(2) has to say of earlier writes: 0 or -errno. On a local file system it never says
 * anything, and is not asked. */
int fs_close_error(struct fs *fs, struct fs_file *file);
/* Whether it may say something in the file system that the share begins with. */
bool fs_close_speaks(struct fs *fs);
/* Whether the client may do without asking until fs_reset(): false when it had a file open, on
 * another file system, of which there might be something to say. When it has such a file later,
 * fs_write() and fs_copy_range() say it of that. */
bool fs_close_mute(struct fs *fs);

/* How a transfer is done (FS_WRITE_*, FS_IO_*) by open(2) flags. */
unsigned fs_io_how(int flags);
/* Those of the guest's open(2), as fs_io_how() gives them. */
unsigned fs_file_how(const struct fs_file *file);

/* Nothing was done: the tree must fetch first, and the waiting form of the verb is to be called. */
#define FS_LATER (-EINPROGRESS)

/* Positional I/O straight to or from the segments; short transfers at end of file only.
 * iov may be changed, but not with FS_LATER. More than IOV_MAX segments are fine. @how: FS_IO_*. */
ssize_t fs_read(struct fs *fs, struct fs_file *file, struct iovec *iov, unsigned cnt, off_t off,
                unsigned how);
/* The same. FS_WRITE_CACHE leaves nothing of the others but FS_WRITE_KILL_SUIDGID. -EPERM: the file
 * is append-only and this is no append. */
ssize_t fs_write(struct fs *fs, struct fs_file *file, struct iovec *iov, unsigned cnt, off_t off,
                 unsigned how);
/* @whence: SEEK_DATA, SEEK_HOLE (also SET, END). Returns the offset or -errno. */
off_t fs_lseek(struct fs *fs, struct fs_file *file, off_t off, int whence);
/* @how of these two: FS_WRITE_KILL_SUIDGID. The second may say FS_LATER. */
int fs_fallocate(struct fs *fs, struct fs_file *file, int mode, off_t off, off_t len, unsigned how);
ssize_t fs_copy_range(struct fs *fs, struct fs_file *in, off_t off_in, struct fs_file *out,
                      off_t off_out, size_t len, unsigned flags, unsigned how);
/* The waiting forms: done(user, result) is called once with what the verb says when the data are
 * there, or with -EINTR: cancelled, or -EIO: they are not to be had; from another thread, or from
 * this one before the return. Never blocks. References are taken inside; what @iov points to must
 * stay until then. @id is for fs_wait_interrupt(). */
typedef void fs_late_fn(void *user, ssize_t result);
void fs_read_wait(struct fs *fs, struct fs_file *file, const struct iovec *iov, unsigned cnt,
                  off_t off, unsigned how, uint64_t id, fs_late_fn *done, void *user);
void fs_copy_range_wait(struct fs *fs, struct fs_file *in, off_t off_in, struct fs_file *out,
                        off_t off_out, size_t len, unsigned how, uint64_t id, fs_late_fn *done,
                        void *user);
/* @file may be a directory's. */
int fs_fsync(struct fs *fs, struct fs_file *file, bool datasync);
/* syncfs(2) of the file system that holds @inode. */
int fs_syncfs(struct fs *fs, struct fs_inode *inode);

/* ---- files mapped by somebody else ---- */

/* What can be done with @inode: FS_MAP_*; 0: not to be mapped at all (no regular file, layered and
 * pseudo file systems). Found out once for each inode. @attr: its attributes, if they are at hand,
 * or NULL. */
unsigned fs_map_kind(struct fs *fs, struct fs_inode *inode, const struct fs_attr *attr);
/* Descriptor of a regular file, O_RDWR or O_RDONLY, for mapping. It is the caller's and not
 * counted. -errno: -EROFS on a read-only share, -EISDIR, -EINVAL, that of open(2). */
int fs_map_open(struct fs *fs, struct fs_inode *inode, bool write);
/* Whether parts of the file may have to be fetched before they are mapped; and that: done(user, 0)
 * is called when they are there, else as of fs_read_wait(). */
bool fs_map_fetches(const struct fs_inode *inode);
void fs_map_wait(struct fs *fs, struct fs_inode *inode, off_t off, size_t len, uint64_t id,
                 fs_late_fn *done, void *user);
/* The guest is going to store through a mapping: as at a write, renamed file capabilities end, and
 * with FS_WRITE_KILL_SUIDGID in @how the set-id bits. 0 or -errno. */
int fs_map_store(struct fs *fs, struct fs_inode *inode, unsigned how);

/* A note of the protocol's own on an inode, of 4 bits that can be set but not cleared; 0 at
 * first. */
unsigned fs_inode_mark(const struct fs_inode *inode);
void fs_inode_set_mark(struct fs_inode *inode, unsigned mark);

/* ---- a guest that opens nothing ----
 * Linux can do without OPEN, OPENDIR and what follows them: requests then name the inode alone, in
 * any order and for as long as the guest knows it. Files are opened as they are needed and kept for
 * the next request, so many, and for so long: fs-kept.c. */

/* This client's guest does so, until fs_reset(): an inode whose last name goes through this tree is
 * held until it is forgotten, and each write says what close(2) would. No other call of this client
 * may run. */
void fs_handleless_enable(struct fs *fs);
/* Whether a file that is open can be opened again whatever became of its mode. */
bool fs_reopens(struct fs *fs);
/* Whether offsets in the share's directories hold in a directory that is opened again. (Of mounts
 * below it nothing is known yet.) */
bool fs_offsets_last(struct fs *fs);
/* The file of @inode, with a reference: for reading, or, by the access mode in open(2) @flags, for
 * writing too; O_APPEND matters for files that take nothing but appends. 0 or -errno of open(2),
 * -EBADF: not enabled. */
int fs_kept_file(struct fs *fs, struct fs_inode *inode, int flags, struct fs_file **out);
/* The handle @fh ends; its file is kept as if it had been opened by fs_kept_file(). */
void fs_file_keep(struct fs *fs, uint64_t fh);
/* A directory to read from @off on, with a reference, for one caller at a time; and where that has
 * come to, or that it is at its end. The latter takes the reference. */
int fs_pass_take(struct fs *fs, struct fs_inode *dir, uint64_t off, struct fs_file **out);
void fs_pass_give(struct fs *fs, struct fs_file *dir, uint64_t next, bool over);

/* ---- directories ---- */

struct fs_dirent {
    uint64_t ino;
    uint64_t off;  /* opaque; where the next entry starts */
    unsigned type; /* DT_* */
    const char *name;
    size_t name_len;
};

/* Called once per entry; @entry is NULL for a plain read (and for "." and ".." of a plus read),
 * else it holds a reference that the callback must remember or put. Return false to stop before
 * this entry (the reference stays with the core then). */
typedef bool fs_dirent_fn(void *user, const struct fs_dirent *d, struct fs_entry *entry);

/* Read from opaque @off (0 = start). @plus: look each entry up. @budget: about how many bytes of
 * reply the caller has room for, so that no more than needed is read from the host. Offsets stay
 * valid while the handle is open, in any order. */
int fs_readdir(struct fs *fs, struct fs_inode *inode, struct fs_file *file, uint64_t off, bool plus,
               size_t budget, fs_dirent_fn *fn, void *user);

/* ---- extended attributes ---- */

/* Names and the ids in ACLs are the guest's. Size 0 asks for the length. -EOPNOTSUPP when xattrs
 * are switched off. */
ssize_t fs_getxattr(struct fs *fs, struct fs_inode *inode, const char *name, void *buf,
                    size_t size);
ssize_t fs_listxattr(struct fs *fs, struct fs_inode *inode, char *buf, size_t size);

/* @how: FS_XATTR_*. */
int fs_setxattr(struct fs *fs, struct fs_inode *inode, const char *name, const void *value,
                size_t size, int flags, unsigned how);
int fs_removexattr(struct fs *fs, struct fs_inode *inode, const char *name);

/* ---- locks: open-file-description locks, shared with the host and other guests ---- */

struct fs_lock {
    short type;       /* F_RDLCK, F_WRLCK, F_UNLCK */
    off_t start, end; /* inclusive; end = INT64_MAX: to end of file */
    uint32_t pid;     /* who asks, or who is in the way, in the client's words; 0: unknown */
    uint64_t owner;   /* fs_getlk(): with a pid, whose that is */
};

/* Who asks for a lock. */
struct fs_locker {
    uint64_t owner;
    /* The open file it asks through, or NULL: an owner that has asked through one only, and does
     * not unlock, keeps its locks as long as that is open. */
    struct fs_file *file;
};

/* First conflicting lock, or type F_UNLCK. Of another owner of the same client it says the pid. */
int fs_getlk(struct fs *fs, struct fs_inode *inode, uint64_t owner, struct fs_lock *lk);
/* Take or drop; never waits (-EAGAIN). -ENOLCK: there are too many. */
int fs_setlk(struct fs *fs, struct fs_inode *inode, const struct fs_locker *who,
             const struct fs_lock *lk);
/* flock(2) on an open file; never waits (-EWOULDBLOCK). @op: LOCK_SH, LOCK_EX, LOCK_UN. */
int fs_flock(struct fs *fs, struct fs_file *file, int op);

/* The waiting forms: done(user, result) is called once when the lock was taken or the wait ended
 * (-EINTR: cancelled; -ENOLCK: too many waiters, or fs_policy.lock_wait is over; -EDEADLK: who
 * holds it waits, perhaps through others, for the one who asks): from another thread after a wait,
 * from this one and before the return when the answer is known at once. Never blocks. References to
 * inode and file are taken inside. @id is for fs_wait_interrupt(). */
typedef void fs_lock_done_fn(void *user, int result);
void fs_setlk_wait(struct fs *fs, struct fs_inode *inode, const struct fs_locker *who,
                   const struct fs_lock *lk, uint64_t id, fs_lock_done_fn *done, void *user);
void fs_flock_wait(struct fs *fs, struct fs_file *file, int op, uint64_t id, fs_lock_done_fn *done,
                   void *user);

/* ---- waits, for locks and for data ---- */

/* End this client's waits with -EINTR; returns when every done() has been called. */
void fs_waits_cancel(struct fs *fs);
/* The same for the one wait whose done() gets @user (not NULL); nothing when there is none (any
 * more). */
void fs_wait_cancel(struct fs *fs, const void *user);
/* Have the wait of that id end with -EINTR, if there is one; does not wait for it. */
void fs_wait_interrupt(struct fs *fs, uint64_t id);
