/* SPDX-License-Identifier: BSD-3-Clause
 * The walk through every file operation: a list of steps, each in a directory of its own.
 *
 * One program runs three times over the same tree: `prepare` on the host, `guest` in the guest,
 * `host` on the host again. So the expectation of the far side stands right beside the act. */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>

struct step {
    const char *name;      /* its directory too */
    void (*prepare)(void); /* on the host, before; may be NULL */
    void (*guest)(void);
    void (*host)(void); /* on the host, afterwards; may be NULL */
};

/* Whether --without=WHAT was said: the guest's file system cannot do it. The step then holds it to
 * the right error, or to what it does instead. */
bool lacks(const char *what);

/* Ends with a step without a name. */
extern const struct step name_steps[], rename_steps[], owner_steps[], attr_steps[], priv_steps[],
    open_steps[], io_steps[], dir_steps[], xattr_steps[], lock_steps[];

/* Record a failed expectation; the step goes on. */
void complain(const char *file, int line, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The same, and the step ends here. */
void give_up(const char *file, int line, const char *fmt, ...)
    __attribute__((format(printf, 3, 4), noreturn));

/* The condition holds. */
#define CHECK(cond)                                    \
    do {                                               \
        if (!(cond))                                   \
            complain(__FILE__, __LINE__, "%s", #cond); \
    } while (0)

/* Two integers are the same. */
#define EQ(found, wanted)                                                                    \
    do {                                                                                     \
        long long f_ = (long long)(found), w_ = (long long)(wanted);                         \
        if (f_ != w_)                                                                        \
            complain(__FILE__, __LINE__, "%s is %lld (0%llo), not %lld (0%llo)", #found, f_, \
                     (unsigned long long)f_, w_, (unsigned long long)w_);                    \
    } while (0)

/* The call succeeds, or the step cannot go on; its value. */
#define NEED(call)                                                         \
    ({                                                                     \
        long long r_ = (long long)(call);                                  \
        if (r_ < 0)                                                        \
            give_up(__FILE__, __LINE__, "%s: %s", #call, strerror(errno)); \
        r_;                                                                \
    })

/* The call fails with this errno. */
#define FAILS(call, wanted)                                                                        \
    do {                                                                                           \
        long long r_ = (long long)(call);                                                          \
        int e_ = errno;                                                                            \
        if (r_ >= 0)                                                                               \
            complain(__FILE__, __LINE__, "%s succeeds, not %s", #call, strerror(wanted));          \
        else if (e_ != (wanted))                                                                   \
            complain(__FILE__, __LINE__, "%s: %s, not %s", #call, strerror(e_), strerror(wanted)); \
    } while (0)

/* ---- small tools ---- */

/* Make or replace a file with this text, mode 0644 less the umask. */
void put(const char *path, const char *text);
/* Make an empty file. */
void touch(const char *path, mode_t mode);
/* The file holds exactly this text. */
void expect_text(const char *path, const char *text);
/* lstat(2), or the step ends. */
struct stat look(const char *path);
/* Type, permission bits and owner, as lstat(2) shows them. */
void expect_owner(const char *path, mode_t mode, uid_t uid, gid_t gid);
/* Run @fn in a child with this identity; @group is one supplementary group, or 0 for none. Its
 * failed expectations are ours. */
void as_user(uid_t uid, gid_t gid, gid_t group, void (*fn)(void));
/* Start @fn in a child as it is; child_end() waits for it and takes over its failures. */
pid_t child_start(void (*fn)(void));
void child_end(pid_t pid);

#define TEXT "The quick brown fox jumps over the lazy dog.\n"
