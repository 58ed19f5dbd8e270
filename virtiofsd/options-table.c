/* SPDX-License-Identifier: BSD-3-Clause */
#include "virtiofsd/options-table.h"

#include <string.h>

static const struct opt_word cache_words[] = {
    {"never", OPT_CACHE_NEVER},
    {"metadata", OPT_CACHE_METADATA},
    {"auto", OPT_CACHE_AUTO},
    {"always", OPT_CACHE_ALWAYS},
    {"none", OPT_CACHE_NEVER, true}, /* the C daemon's name for never */
    {NULL},
};

static const struct opt_word handles_words[] = {
    {"never", OPT_HANDLES_NEVER},
    {"prefer", OPT_HANDLES_PREFER},
    {"mandatory", OPT_HANDLES_MANDATORY},
    {"fallback", OPT_HANDLES_PREFER, true}, /* the Rust daemon's old name for prefer */
    {NULL},
};

static const struct opt_word sandbox_words[] = {
    {"namespace", OPT_SANDBOX_NAMESPACE},
    {"chroot", OPT_SANDBOX_CHROOT},
    {"none", OPT_SANDBOX_NONE},
    {NULL},
};

static const struct opt_word seccomp_words[] = {
    {"kill", OPT_SECCOMP_KILL},
    {"log", OPT_SECCOMP_LOG},
    {"trap", OPT_SECCOMP_TRAP},
    {"none", OPT_SECCOMP_NONE},
    {NULL},
};

static const struct opt_word ask_words[] = {
    {"never", OPT_ASK_NEVER},
    {"auto", OPT_ASK_AUTO},
    {"always", OPT_ASK_ALWAYS},
    {NULL},
};

static const struct opt_word level_words[] = {
    {"off", LOG_LVL_OFF},
    {"error", LOG_LVL_ERROR},
    {"warn", LOG_LVL_WARN},
    {"info", LOG_LVL_INFO},
    {"debug", LOG_LVL_DEBUG},
    {"trace", LOG_LVL_DEBUG, true}, /* the Rust daemon's finest */
    {"err", LOG_LVL_ERROR, true},   /* the C daemon's */
    {NULL},
};

const char *const opt_group_titles[OPT_GROUP_COUNT] = {
    [OPT_GROUP_SHARE] = "Share",
    [OPT_GROUP_CONNECTION] = "Connection to the hypervisor",
    [OPT_GROUP_QUEUES] = "Queues and threads",
    [OPT_GROUP_CACHE] = "Caching in the guest",
    [OPT_GROUP_FEATURES] = "Features for the guest",
    [OPT_GROUP_SANDBOX] = "Sandbox",
    [OPT_GROUP_BOUNDS] = "Bounds",
    [OPT_GROUP_LOG] = "Messages and information",
    [OPT_GROUP_COMPAT] = "Taken for compatibility",
    [OPT_GROUP_ABSENT] = "Known from other daemons, refused by this version",
};

#define FIELD(f) .offset = offsetof(struct options, f), .size = sizeof(((struct options *)0)->f)

#define SECONDS_MAX 31536000 /* a year */

const struct opt_def opt_table[] = {
    /* Share. */
    {.name = "shared-dir",
     .arg = "DIR",
     .type = OPT_STRING,
     .group = OPT_GROUP_SHARE,
     .flags = OPT_ONCE,
     FIELD(shared_dir),
     .min = 1,
     .max = 4095,
     .help = "Host directory that the guest gets"},
    {.name = "tag",
     .arg = "TAG",
     .type = OPT_STRING,
     .group = OPT_GROUP_SHARE,
     FIELD(tag),
     .min = 1,
     .max = OPT_TAG_MAX,
     .help = "Name to mount by, for front-ends that ask us for it (User-Mode Linux,\n"
             "crosvm). QEMU 7.1 to 8.0 crash when it is given; newer ones ignore it"},
    {.name = "readonly",
     .type = OPT_SWITCH,
     .group = OPT_GROUP_SHARE,
     FIELD(readonly),
     .help = "Refuse everything that would change the share"},
    {.name = "announce-submounts",
     .type = OPT_SWITCH,
     .group = OPT_GROUP_SHARE,
     .flags = OPT_OLD_NAME,
     FIELD(announce_submounts),
     .help = "Show mount points below DIR as mount points, so that inode numbers of\n"
             "several file systems never collide [default: on]"},
    {.name = "inode-file-handles",
     .arg = "MODE",
     .type = OPT_WORD,
     .group = OPT_GROUP_SHARE,
     FIELD(inode_file_handles),
     .words = handles_words,
     .help = "never: hold one descriptor per inode that the guest knows;\n"
             "prefer: hold a file handle where the file system and our capabilities\n"
             "allow; mandatory: always, or fail [default: prefer]"},
    {.name = "preserve-noatime",
     .type = OPT_SWITCH,
     .group = OPT_GROUP_SHARE,
     FIELD(preserve_noatime),
     .help = "Honour O_NOATIME of guest programs (needs to own the file, or CAP_FOWNER)"},
    {.name = "allow-direct-io",
     .type = OPT_SWITCH,
     .group = OPT_GROUP_SHARE,
     .flags = OPT_OLD_NAME,
     FIELD(allow_direct_io),
     .help = "Honour O_DIRECT of guest programs on the host too"},

    /* Connection. */
    {.name = "socket-path",
     .arg = "PATH",
     .type = OPT_STRING,
     .group = OPT_GROUP_CONNECTION,
     FIELD(socket_path),
     .min = 1,
     .max = 107,
     .help = "Listen for the front-end on this unix socket"},
    {.name = "socket-group",
     .arg = "GROUP",
     .type = OPT_STRING,
     .group = OPT_GROUP_CONNECTION,
     FIELD(socket_group),
     .min = 1,
     .max = 255,
     .help = "Group that may connect to the socket (name or number)"},
    {.name = "fd",
     .arg = "N",
     .type = OPT_NUMBER,
     .group = OPT_GROUP_CONNECTION,
     FIELD(fd),
     .min = 0,
     .max = INT32_MAX,
     .help = "Use this inherited descriptor: a listening or a connected unix socket"},
    {.name = "relisten",
     .type = OPT_SWITCH,
     .group = OPT_GROUP_CONNECTION,
     FIELD(relisten),
     .help = "Serve the next front-end when one has gone, instead of ending"},
    {.name = "socket",
     .arg = "PATH",
     .type = OPT_ALIAS,
     .group = OPT_GROUP_COMPAT,
     .alias = "socket-path",
     .help = "Old name of --socket-path"},

    /* Queues. */
    {.name = "num-request-queues",
     .arg = "N",
     .type = OPT_NUMBER,
     .group = OPT_GROUP_QUEUES,
     FIELD(num_request_queues),
     .min = 1,
     .max = 255,
     .help = "Request queues, each with a thread of its own. For front-ends that ask us\n"
             "(with --tag) the default is 1; one that decides itself may set up to 64"},
    {.name = "queue-size",
     .arg = "N",
     .type = OPT_NUMBER,
     .group = OPT_GROUP_QUEUES,
     .flags = OPT_POWER_OF_2,
     FIELD(queue_size),
     .min = 2,
     .max = 32768,
     .help = "Largest ring that the front-end may set up [default: 1024]"},
    {.name = "thread-pool-size",
     .arg = "N",
     .type = OPT_NUMBER,
     .group = OPT_GROUP_QUEUES,
     FIELD(thread_pool_size),
     .min = 0,
     .max = 1024,
     .help = "Let N threads share the work of all request queues; for slow storage.\n"
             "0: each queue's own thread does it [default: 0]"},
    {.name = "poll-us",
     .arg = "N",
     .type = OPT_NUMBER,
     .group = OPT_GROUP_QUEUES,
     FIELD(poll_us),
     .min = 0,
     .max = 1000000,
     .help = "Look for new requests for N microseconds before going to sleep: less\n"
             "latency for more processor time [default: 0]"},

    /* Caching. */
    {.name = "cache",
     .arg = "POLICY",
     .type = OPT_WORD,
     .group = OPT_GROUP_CACHE,
     .flags = OPT_OLD_NAME,
     FIELD(cache),
     .words = cache_words,
     .help = "never: the guest caches nothing;\n"
             "metadata: names and attributes for a day, no file data;\n"
             "auto: names and attributes for a second, data while the file is unchanged;\n"
             "always: everything, for a share that nobody else writes [default: auto]"},
    {.name = "timeout",
     .arg = "SECONDS",
     .type = OPT_SECONDS,
     .group = OPT_GROUP_CACHE,
     .flags = OPT_OLD_NAME,
     FIELD(timeout),
     .min = 0,
     .max = SECONDS_MAX,
     .help = "How long the guest keeps names and attributes\n"
             "[default: never 0, auto 1, metadata and always 86400]"},
    {.name = "negative-timeout",
     .arg = "SECONDS",
     .type = OPT_SECONDS,
     .group = OPT_GROUP_CACHE,
     FIELD(negative_timeout),
     .min = 0,
     .max = SECONDS_MAX,
     .help = "How long it remembers that a name does not exist\n"
             "[default: always as --timeout, auto 0.2, else 0]"},
    {.name = "allow-mmap",
     .type = OPT_SWITCH,
     .group = OPT_GROUP_CACHE,
     FIELD(allow_mmap),
     .help = "Allow shared mappings with cache never and metadata too; for a share that\n"
             "nobody else writes"},
    {.name = "writeback",
     .type = OPT_SWITCH,
     .group = OPT_GROUP_CACHE,
     .flags = OPT_OLD_NAME,
     FIELD(writeback),
     .help = "Let the guest collect writes in its page cache"},
    {.name = "readdirplus",
     .type = OPT_SWITCH,
     .group = OPT_GROUP_CACHE,
     .flags = OPT_OLD_NAME,
     FIELD(readdirplus),
     .help = "Send attributes along with directory entries [default: on, off with\n"
             "--cache=never]"},

    /* Features. */
    {.name = "xattr",
     .type = OPT_SWITCH,
     .group = OPT_GROUP_FEATURES,
     .flags = OPT_OLD_NAME,
     FIELD(xattr),
     .help = "Extended attributes"},
    {.name = "posix-lock",
     .type = OPT_SWITCH,
     .group = OPT_GROUP_FEATURES,
     .flags = OPT_OLD_NAME,
     FIELD(posix_lock),
     .help = "Share record locks (fcntl) with the host and other guests [default: on]"},
    {.name = "flock",
     .type = OPT_SWITCH,
     .group = OPT_GROUP_FEATURES,
     .flags = OPT_OLD_NAME,
     FIELD(flock),
     .help = "Share flock(2) locks with the host and other guests [default: on]"},
    {.name = "killpriv-v2",
     .type = OPT_SWITCH,
     .group = OPT_GROUP_FEATURES,
     .flags = OPT_OLD_NAME,
     FIELD(killpriv_v2),
     .help = "Clear suid and sgid bits on the host's side, which saves the guest\n"
             "requests; switch it off for a share on NFS [default: on]"},
    {.name = "xattrmap",
     .arg = "RULES",
     .type = OPT_STRING,
     .group = OPT_GROUP_FEATURES,
     .flags = OPT_OLD_NAME,
     FIELD(xattrmap),
     .min = 1,
     .max = 65536,
     .help = "Rename extended attributes between guest and host, as in\n"
             "--xattrmap=:map::user.virtiofs.: (implies --xattr)"},
    {.name = "posix-acl",
     .arg = "MODE",
     .type = OPT_WORD,
     .group = OPT_GROUP_FEATURES,
     .flags = OPT_OLD_NAME | OPT_VALUE_MAY_LACK,
     FIELD(posix_acl),
     .words = ask_words,
     .lack = "always",
     .help = "POSIX access control lists: never, auto (if the guest knows them) or\n"
             "always (else it may not mount); implies --xattr [default: never]"},
    {.name = "security-label",
     .arg = "MODE",
     .type = OPT_WORD,
     .group = OPT_GROUP_FEATURES,
     .flags = OPT_OLD_NAME | OPT_VALUE_MAY_LACK,
     FIELD(security_label),
     .words = ask_words,
     .lack = "always",
     .help = "Give new files the security label that the guest sends along: never,\n"
             "auto, always; implies --xattr [default: never]"},
    {.name = "translate-uid",
     .arg = "RULE",
     .type = OPT_TEXTS,
     .group = OPT_GROUP_FEATURES,
     FIELD(translate_uid),
     .min = 1,
     .max = 255,
     .help = "Show user ids of the host as others in the guest, as in\n"
             "--translate-uid=map:1000:100000:1: guest:G:H:N, host:H:G:N,\n"
             "squash-guest:G:H:N, squash-host:H:G:N, forbid-guest:G:N or map:G:H:N.\n"
             "May be given several times"},
    {.name = "translate-gid",
     .arg = "RULE",
     .type = OPT_TEXTS,
     .group = OPT_GROUP_FEATURES,
     FIELD(translate_gid),
     .min = 1,
     .max = 255,
     .help = "The same for group ids"},

    /* Sandbox. */
    {.name = "sandbox",
     .arg = "MODE",
     .type = OPT_WORD,
     .group = OPT_GROUP_SANDBOX,
     .flags = OPT_OLD_NAME,
     FIELD(sandbox),
     .words = sandbox_words,
     .help = "namespace: own mount, pid and network namespaces, DIR as the root;\n"
             "chroot: only change the root, for containers; none: only inside another\n"
             "sandbox [default: namespace]"},
    {.name = "seccomp",
     .arg = "ACTION",
     .type = OPT_WORD,
     .group = OPT_GROUP_SANDBOX,
     FIELD(seccomp),
     .words = seccomp_words,
     .help = "On a system call that we never make: kill, log, trap, or none to run\n"
             "without a filter [default: kill]"},
    {.name = "modcaps",
     .arg = "LIST",
     .type = OPT_STRING,
     .group = OPT_GROUP_SANDBOX,
     .flags = OPT_OLD_NAME,
     FIELD(modcaps),
     .min = 1,
     .max = 4096,
     .help = "Change the capabilities kept, as in --modcaps=+sys_admin:-chown"},
    {.name = "uid-map",
     .arg = ":IN:OUT:COUNT:",
     .type = OPT_ID_MAP,
     .group = OPT_GROUP_SANDBOX,
     FIELD(uid_map),
     .help = "Map COUNT user ids of the host from OUT on to IN in a user namespace, as in\n"
             "--uid-map=:0:100000:65536:. May be given several times"},
    {.name = "gid-map",
     .arg = ":IN:OUT:COUNT:",
     .type = OPT_ID_MAP,
     .group = OPT_GROUP_SANDBOX,
     FIELD(gid_map),
     .help = "The same for group ids"},

    /* Bounds. */
    {.name = "rlimit-nofile",
     .arg = "N",
     .type = OPT_NUMBER,
     .group = OPT_GROUP_BOUNDS,
     FIELD(rlimit_nofile),
     .min = 0,
     .max = INT64_MAX,
     .help = "Limit of open descriptors; 0: leave it as it is\n"
             "[default: the smaller of 1000000 and /proc/sys/fs/nr_open]"},
    {.name = "max-fds",
     .arg = "N",
     .type = OPT_NUMBER,
     .group = OPT_GROUP_BOUNDS,
     FIELD(max_fds),
     .min = 0,
     .max = INT64_MAX,
     .help = "Descriptors that the guest may make us hold; beyond it gets ENFILE.\n"
             "0: what the limit leaves after our own needs [default: 0]"},
    {.name = "max-inodes",
     .arg = "N",
     .type = OPT_NUMBER,
     .group = OPT_GROUP_BOUNDS,
     FIELD(max_inodes),
     .min = 0,
     .max = INT64_MAX,
     .help = "Inodes remembered for the guest at once, about 120 bytes each; beyond it\n"
             "gets ENFILE. 0: as memory lasts [default: 10000000]"},
    {.name = "max-lock-waiters",
     .arg = "N",
     .type = OPT_NUMBER,
     .group = OPT_GROUP_BOUNDS,
     FIELD(max_lock_waiters),
     .min = 0,
     .max = 4096,
     .help = "Guest requests that may wait for a lock at once; beyond it gets ENOLCK\n"
             "[default: 64]"},

    /* Messages. */
    {.name = "log-level",
     .arg = "LEVEL",
     .type = OPT_WORD,
     .group = OPT_GROUP_LOG,
     .flags = OPT_OLD_NAME,
     FIELD(log_level),
     .words = level_words,
     .help = "off, error, warn, info or debug [default: info]"},
    {.name = "syslog",
     .type = OPT_SWITCH,
     .group = OPT_GROUP_LOG,
     FIELD(syslog),
     .help = "Log to syslog instead of standard error"},
    {.name = "print-capabilities",
     .type = OPT_CAPABILITIES,
     .group = OPT_GROUP_LOG,
     .help = "Say in JSON what kind of vhost-user back-end this is, and exit"},
    {.name = "help",
     .letter = 'h',
     .type = OPT_HELP,
     .group = OPT_GROUP_LOG,
     .help = "Print this text, and exit"},
    {.name = "version",
     .letter = 'V',
     .type = OPT_VERSION,
     .group = OPT_GROUP_LOG,
     .help = "Print the version, and exit"},

    /* Compatibility. */
    {.letter = 'o',
     .arg = "LIST",
     .type = OPT_OLD,
     .group = OPT_GROUP_COMPAT,
     .help = "Options in QEMU's old form: -o source=DIR,cache=auto,no_xattr"},
    {.letter = 'd',
     .type = OPT_ALIAS,
     .group = OPT_GROUP_COMPAT,
     .alias = "log-level",
     .alias_value = "debug",
     .help = "The same as --log-level=debug"},
    {.letter = 'f',
     .type = OPT_NOTHING,
     .group = OPT_GROUP_COMPAT,
     .help = "Nothing: the daemon always stays in the foreground"},

    /* Refused. */
    {.name = "migration-mode",
     .arg = "MODE",
     .type = OPT_ABSENT,
     .group = OPT_GROUP_ABSENT,
     .help = "Live migration"},
    {.name = "migration-on-error",
     .arg = "ACTION",
     .type = OPT_ABSENT,
     .group = OPT_GROUP_ABSENT,
     .help = "Live migration"},
    {.name = "migration-verify-handles",
     .type = OPT_ABSENT,
     .group = OPT_GROUP_ABSENT,
     .help = "Live migration"},
    {.name = "migration-confirm-paths",
     .type = OPT_ABSENT,
     .group = OPT_GROUP_ABSENT,
     .help = "Live migration"},
    {.name = "daemonize",
     .type = OPT_ABSENT,
     .group = OPT_GROUP_ABSENT,
     .help = "Going into the background: let a service manager do it"},
};

const unsigned opt_table_len = G_N_ELEMENTS(opt_table);

static bool name_is(const struct opt_def *def, const char *name, size_t len)
{
    return def->name && strlen(def->name) == len && memcmp(def->name, name, len) == 0;
}

const struct opt_def *opt_find(const char *name, size_t len, bool *on)
{
    bool no = len > 3 && memcmp(name, "no-", 3) == 0;
    for (unsigned i = 0; i < opt_table_len; i++) {
        const struct opt_def *def = &opt_table[i];
        *on = true;
        if (name_is(def, name, len))
            return def;
        *on = false;
        if (no && def->type == OPT_SWITCH && name_is(def, name + 3, len - 3))
            return def;
    }
    return NULL;
}
