/* SPDX-License-Identifier: BSD-3-Clause
 * Command lines, good and bad, and what becomes of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "virtiofsd/options-table.h"

#define NEEDED "--shared-dir=/srv --socket-path=/run/s "

static enum options_result parse(const char *line, struct options *o, GError **err)
{
    g_autofree char *full = g_strconcat("virtiofsd ", line, NULL);
    int argc;
    g_auto(GStrv) argv = NULL;
    assert_true(g_shell_parse_argv(full, &argc, &argv, NULL));
    return options_parse(argc, argv, o, err);
}

/* The value of a field, as text, by the name of its option. */
static char *show(const struct options *o, const char *name)
{
    bool on;
    const struct opt_def *def = opt_find(name, strlen(name), &on);
    assert_non_null(def);
    const void *field = (const char *)o + def->offset;

    switch (def->type) {
    case OPT_SWITCH:
        return g_strdup(*(const bool *)field ? "on" : "off");
    case OPT_WORD: {
        const struct opt_word *w = def->words;
        while (w->value != *(const unsigned *)field)
            w++;
        return g_strdup(w->text);
    }
    case OPT_SIZE:
    case OPT_NUMBER:
        return def->size == sizeof(uint64_t)
                   ? g_strdup_printf("%" G_GUINT64_FORMAT, *(const uint64_t *)field)
                   : g_strdup_printf("%d", *(const int *)field);
    case OPT_SECONDS:
        return g_strdup_printf("%g", *(const double *)field);
    case OPT_STRING:
        return g_strdup(*(char *const *)field ? *(char *const *)field : "unset");
    case OPT_TEXTS: {
        const GPtrArray *a = *(GPtrArray *const *)field;
        GString *s = g_string_new(NULL);
        for (unsigned i = 0; i < a->len; i++)
            g_string_append_printf(s, "%s;", (const char *)g_ptr_array_index(a, i));
        return g_string_free(s, FALSE);
    }
    case OPT_ID_MAP: {
        const struct sb_idmaps *a = field;
        GString *s = g_string_new(NULL);
        for (unsigned i = 0; i < a->n; i++) {
            struct sb_idmap m = a->map[i];
            g_string_append_printf(s, "%u>%u*%u;", m.inside, m.outside, m.count);
        }
        return g_string_free(s, FALSE);
    }
    default:
        fail_msg("option %s has no field", name);
        return NULL;
    }
}

static const struct {
    const char *line, *option, *value;
} good[] = {
    /* What nothing on the line gives. */
    {NEEDED, "shared-dir", "/srv"},
    {NEEDED, "socket-path", "/run/s"},
    {NEEDED, "statfs-from", "unset"},
    {NEEDED, "socket-group", "unset"},
    {NEEDED, "fd", "-1"},
    {NEEDED, "tag", "unset"},
    {NEEDED, "protocol", "virtiofs"},
    {NEEDED, "p9-msize", "1048576"},
    {NEEDED, "p9-squash", "unset"},
    {NEEDED " --protocol=9p --tag=t", "protocol", "9p"},
    {"--shared-dir=/srv --protocol=9p --p9-listen=unix:/s", "socket-path", "unset"},
    {NEEDED " --protocol=both --p9-listen=fd:5 --p9-msize=64K", "p9-msize", "65536"},
    {NEEDED " --protocol=both --tag=t --p9-socket-path=/9", "p9-socket-path", "/9"},
    {NEEDED, "readonly", "off"},
    {NEEDED, "announce-submounts", "on"},
    {NEEDED, "inode-file-handles", "prefer"},
    {NEEDED, "preserve-noatime", "off"},
    {NEEDED, "allow-direct-io", "off"},
    {NEEDED, "relisten", "off"},
    {NEEDED, "num-request-queues", "1"},
    {NEEDED, "queue-size", "1024"},
    {NEEDED, "thread-pool-size", "0"},
    {NEEDED, "poll-us", "-1"}, /* by what is seen */
    {NEEDED, "cache", "auto"},
    {NEEDED, "timeout", "1"},
    {NEEDED, "negative-timeout", "0.2"},
    {NEEDED, "allow-mmap", "off"},
    {NEEDED, "writeback", "off"},
    {NEEDED, "readdirplus", "on"},
    {NEEDED, "xattr", "off"},
    {NEEDED, "posix-lock", "off"},
    {NEEDED, "flock", "off"},
    {NEEDED, "p9-lock", "on"},
    {NEEDED "--readonly", "p9-lock", "off"},
    {NEEDED "--p9-lock --readonly", "p9-lock", "on"},
    {NEEDED "--no-p9-lock", "p9-lock", "off"},
    {NEEDED, "killpriv-v2", "on"},
    {NEEDED, "sandbox", "namespace"},
    {NEEDED, "seccomp", "kill"},
    {NEEDED, "modcaps", "unset"},
    {NEEDED, "uid-map", ""},
    {NEEDED, "xattrmap", "unset"},
    {NEEDED, "posix-acl", "never"},
    {NEEDED, "security-label", "never"},
    {NEEDED, "translate-uid", ""},
    {NEEDED, "rlimit-nofile", "18446744073709551615"},
    {NEEDED, "max-fds", "0"},
    {NEEDED, "max-inodes", "10000000"},
    {NEEDED, "max-lock-waiters", "1024"},
    {NEEDED, "max-lock-ranges", "65536"},
    {NEEDED, "lock-wait", "60"},
    {NEEDED, "log-level", "info"},
    {NEEDED, "syslog", "off"},

    /* Forms of writing. */
    {"--shared-dir /a --socket-path /b", "shared-dir", "/a"},
    {NEEDED "--statfs-from=/size", "statfs-from", "/size"},
    {"--shared-dir /a --socket /b", "socket-path", "/b"},
    {"--shared-dir /a --fd 3", "fd", "3"},
    {"--shared-dir /a --fd=0", "fd", "0"},
    {NEEDED "--tag=a=b", "tag", "a=b"},
    {NEEDED "--cache=auto --cache=never", "cache", "never"},
    {NEEDED "--no-xattr --xattr", "xattr", "on"},
    {NEEDED "--modcaps -mknod", "modcaps", "-mknod"},
    {NEEDED "--log-level=INFO", "log-level", "info"},
    {NEEDED "-d", "log-level", "debug"},
    {NEEDED "-fd", "log-level", "debug"},
    {NEEDED "-oxattr", "xattr", "on"},

    /* Each policy's times; what is given beats them, in any order. */
    {NEEDED "--cache=never", "timeout", "0"},
    {NEEDED "--cache=never", "negative-timeout", "0"},
    {NEEDED "--cache=never", "readdirplus", "off"},
    {NEEDED "--cache=metadata", "timeout", "86400"},
    {NEEDED "--cache=metadata", "negative-timeout", "0"},
    {NEEDED "--cache=always", "timeout", "86400"},
    {NEEDED "--cache=always", "negative-timeout", "86400"},
    {NEEDED "--timeout=2.5 --cache=always", "timeout", "2.5"},
    {NEEDED "--timeout=2.5 --cache=always", "negative-timeout", "2.5"},
    {NEEDED "--timeout=0", "timeout", "0"},
    {NEEDED "--negative-timeout=.25", "negative-timeout", "0.25"},
    {NEEDED, "profile", "none"},
    {NEEDED "--profile=rootfs", "profile", "rootfs"},
    {NEEDED "--negative-timeout=0 --cache=always", "negative-timeout", "0"},

    /* The other values. */
    {NEEDED "--cache=none", "cache", "never"},
    {NEEDED "--no-readdirplus", "readdirplus", "off"},
    {NEEDED "--no-announce-submounts", "announce-submounts", "off"},
    {NEEDED "--posix-lock", "posix-lock", "on"},
    {NEEDED "--posix-lock --no-posix-lock", "posix-lock", "off"},
    {NEEDED "--flock", "flock", "on"},
    {NEEDED "--no-killpriv-v2", "killpriv-v2", "off"},
    {NEEDED "--inode-file-handles=fallback", "inode-file-handles", "prefer"},
    {NEEDED "--inode-file-handles=mandatory", "inode-file-handles", "mandatory"},
    {NEEDED "--inode-file-handles=fenced", "inode-file-handles", "fenced"},
    {NEEDED "--sandbox=chroot", "sandbox", "chroot"},
    {NEEDED "--seccomp none", "seccomp", "none"},
    {NEEDED "--socket-group=kvm", "socket-group", "kvm"},
    {NEEDED "--uid-map=:0:100000:65536: --uid-map=:70000:1000:1:", "uid-map",
     "0>100000*65536;70000>1000*1;"},
    {NEEDED "--gid-map=,0,0,4294967295,", "gid-map", "0>0*4294967295;"},
    {NEEDED "--log-level=trace", "log-level", "debug"},
    {NEEDED "--rlimit-nofile=0", "rlimit-nofile", "0"},
    {NEEDED "--num-request-queues=4", "num-request-queues", "4"},
    {NEEDED "--queue-size=32768", "queue-size", "32768"},
    {NEEDED "--max-inodes=9223372036854775807", "max-inodes", "9223372036854775807"},
    {NEEDED "--posix-acl=never --security-label=never", "posix-acl", "never"},
    {NEEDED "--posix-acl=never --security-label=never", "xattr", "off"},
    {NEEDED "--posix-acl", "posix-acl", "always"},
    {NEEDED "--posix-acl=auto", "posix-acl", "auto"},
    {NEEDED "--posix-acl=auto", "xattr", "on"},
    {NEEDED "--security-label", "security-label", "always"},
    {NEEDED "--no-xattr --security-label=auto", "xattr", "on"},
    {NEEDED "--xattrmap=:map::user.virtiofs.:", "xattrmap", ":map::user.virtiofs.:"},
    {NEEDED "--xattrmap :map::a.: --no-xattr", "xattr", "on"},
    {NEEDED "--translate-uid=map:0:1:1 --translate-uid squash-guest:1:2:3", "translate-uid",
     "map:0:1:1;squash-guest:1:2:3;"},
    {NEEDED "--translate-gid host:0:1:1 --posix-acl", "translate-gid", "host:0:1:1;"},
    {NEEDED "--tag=123456789012345678901234567890123456", "tag",
     "123456789012345678901234567890123456"},

    /* The DAX window. */
    {NEEDED, "dax-window", "0"},
    {NEEDED, "dax-min-size", "65536"},
    {NEEDED, "dax-policy", "auto"},
    {NEEDED, "dax-include", ""},
    {NEEDED "--dax-window=2097152", "dax-window", "2097152"},
    {NEEDED "--dax-window=2M", "dax-window", "2097152"},
    {NEEDED "--dax-window=1g", "dax-window", "1073741824"},
    {NEEDED "--dax-window=1T", "dax-window", "1099511627776"},
    {NEEDED "--dax-window=1G --dax-window=0", "dax-window", "0"},
    {NEEDED "--dax-min-size=0", "dax-min-size", "0"},
    {NEEDED "--dax-min-size=3k", "dax-min-size", "3072"},
    {NEEDED "--dax-min-size=8388607T", "dax-min-size", "9223370937343148032"},
    {NEEDED "--dax-policy=always", "dax-policy", "always"},
    {NEEDED "--dax-dialect=crosvm", "dax-dialect", "crosvm"},
    {NEEDED "--dax-include=*.so --dax-include=*.so.*", "dax-include", "*.so;*.so.*;"},
    {NEEDED "--dax-exclude=*.log", "dax-exclude", "*.log;"},

    /* The old form. */
    {"--socket-path=/s -o source=/old", "shared-dir", "/old"},
    {"--socket-path=/s -o source=/old,cache=none,", "cache", "never"},
    {"--socket-path=/s '-osource=/a,,b,cache=none'", "shared-dir", "/a,b"},
    {"--socket-path=/s '-o,source=/,,,,c,,,cache=none'", "shared-dir", "/,,c,"},
    {"--socket-path=/s '-osource=/a\\,b,cache=none'", "shared-dir", "/a,b"},
    {"--socket-path=/s '-osource=/a\\b\\,cache=none'", "shared-dir", "/a\\b,cache=none"},
    {NEEDED "-o writeback,no_writeback", "writeback", "off"},
    {NEEDED "-o allow_direct_io", "allow-direct-io", "on"},
    {NEEDED "-o no_announce_submounts", "announce-submounts", "off"},
    {NEEDED "-o no_posix_lock -o no_flock", "flock", "off"},
    {NEEDED "-o posix_lock,flock", "posix-lock", "on"},
    {NEEDED "-o posix_lock,flock", "flock", "on"},
    {NEEDED "-o log_level=err", "log-level", "error"},
    {NEEDED "-o loglevel=warn", "log-level", "warn"},
    {NEEDED "-o debug", "log-level", "debug"},
    {NEEDED "-o timeout=3.5", "timeout", "3.5"},
    {NEEDED "-o sandbox=chroot,modcaps=+sys_admin:-chown", "modcaps", "+sys_admin:-chown"},
    {NEEDED "-o no_posix_acl,no_security_label", "security-label", "never"},
    {NEEDED "-o posix_acl", "posix-acl", "always"},
    {NEEDED "-o posix_acl", "xattr", "on"},
    {NEEDED "-o posix_acl=auto,security_label", "security-label", "always"},
    {NEEDED "-o posix_acl,no_posix_acl", "posix-acl", "never"},
    {NEEDED "-o xattrmap=:map::user.virtiofs.:,cache=never", "xattrmap", ":map::user.virtiofs.:"},
    {NEEDED "-o xattrmap=:ok:all:::", "xattr", "on"},
};

static void test_good(void **state)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(good); i++) {
        struct options o;
        g_autoptr(GError) err = NULL;
        enum options_result r = parse(good[i].line, &o, &err);
        if (r != OPTIONS_RUN || err)
            fail_msg("%s: refused: %s", good[i].line, err ? err->message : "no message");
        g_autofree char *value = show(&o, good[i].option);
        if (strcmp(value, good[i].value) != 0)
            fail_msg("%s: %s is %s, not %s", good[i].line, good[i].option, value, good[i].value);
        options_free(&o);
    }
}

static const struct {
    const char *line, *message;
} bad[] = {
    /* Missing, twice, contradicting. */
    {"", "--shared-dir is missing: give the directory to share"},
    {"--shared-dir=/a", "--socket-path or --fd is missing: give the vhost-user socket"},
    {NEEDED "--profile=root", "--profile: \"root\" is not one of none, rootfs"},
    {"--shared-dir=/a --fd=3 --socket-path=/s",
     "--fd=3 and --socket-path=/s cannot be used together: give one of them"},
    {"--shared-dir=/a --protocol=9p",
     "--socket-path or --fd is missing: give the vhost-user socket"},
    {NEEDED " --p9-listen=unix:/s", "--p9-socket-path and --p9-listen need --protocol=both or 9p"},
    {NEEDED " --protocol=9p", "a 9P device needs --tag: guests mount by it"},
    {NEEDED " --protocol=both --p9-socket-path=/9", "a 9P device needs --tag: guests mount by it"},
    {NEEDED " --protocol=both", "--protocol=both needs --p9-socket-path or --p9-listen"},
    {NEEDED " --protocol=9p --tag=t --p9-socket-path=/9",
     "--p9-socket-path=/9 needs --protocol=both: with 9p alone the device's socket is "
     "--socket-path"},
    {NEEDED " --protocol=p9", "--protocol: \"p9\" is not one of virtiofs, 9p, both"},
    {"--shared-dir=/a --shared-dir=/",
     "--shared-dir: given twice (\"/a\" and \"/\"); give it once"},
    {"--shared-dir=/a -o source=/", "-o source: given twice (\"/a\" and \"/\"); give it once"},
    {"-o source=/a,source=/", "-o source: given twice (\"/a\" and \"/\"); give it once"},
    {"--shared-dir=/a --fd=3 --socket-group=kvm",
     "--socket-group=kvm needs --socket-path: with --fd the socket exists already"},
    {NEEDED "--sandbox=none --uid-map=:0:1:1:",
     "--uid-map and --gid-map need --sandbox=namespace: the user namespace does the mapping"},

    /* Not options. */
    {"--nosuch", "--nosuch: no such option; see --help"},
    {"--cach=auto", "--cach: no such option; did you mean --cache?"},
    {"--no-cache", "--no-cache: no such option; see --help"},
    {"-x", "-x: no such option; see --help"},
    {"-fx", "-x: no such option; see --help"},
    {"extra", "\"extra\": not an option; see --help"},
    {"-- --xattr", "\"--\": not an option; see --help"},
    {"-", "\"-\": not an option; see --help"},
    {"''", "\"\": not an option; see --help"},

    /* Values where none belong, or none where one does. */
    {"--xattr=yes", "--xattr: takes no value (\"yes\")"},
    {"--no-xattr=yes", "--no-xattr: takes no value (\"yes\")"},
    {"--cache", "--cache: needs a value, one of never, metadata, auto, always"},
    {"--shared-dir --xattr", "--shared-dir: needs a value, a text of 1 to 4095 bytes"},
    {"-o", "-o: needs a value, LIST"},
    {"-o cache", "-o cache: needs a value: cache=..."},
    {"-o source", "-o source: needs a value: source=..."},
    {"-o xattr=1", "-o xattr: takes no value (\"1\")"},
    {"-o debug=1", "-o debug: takes no value (\"1\")"},

    /* Bad values: option, value, what is allowed. */
    {"--cache=foo", "--cache: \"foo\" is not one of never, metadata, auto, always"},
    {"--cache=", "--cache: \"\" is not one of never, metadata, auto, always"},
    {"-o cache=foo", "-o cache: \"foo\" is not one of never, metadata, auto, always"},
    {"--inode-file-handles=x",
     "--inode-file-handles: \"x\" is not one of never, prefer, mandatory, fenced"},
    {"--dax-window=1M", "--dax-window: \"1M\" is not 0, or a power of two from 2M to 1T, in bytes "
                        "or with K, M, G or T behind it"},
    {"--dax-window=3M", "--dax-window: \"3M\" is not 0, or a power of two from 2M to 1T, in bytes "
                        "or with K, M, G or T behind it"},
    {"--dax-window=2T", "--dax-window: \"2T\" is not 0, or a power of two from 2M to 1T, in bytes "
                        "or with K, M, G or T behind it"},
    {"--dax-window=1048576", "--dax-window: \"1048576\" is not 0, or a power of two from 2M to 1T, "
                             "in bytes or with K, M, G or T behind it"},
    {"--dax-window=2MB", "--dax-window: \"2MB\" is not 0, or a power of two from 2M to 1T, in "
                         "bytes or with K, M, G or T behind it"},
    {"--dax-window=M", "--dax-window: \"M\" is not 0, or a power of two from 2M to 1T, in bytes or "
                       "with K, M, G or T behind it"},
    {"--dax-window=-2M", "--dax-window: \"-2M\" is not 0, or a power of two from 2M to 1T, in "
                         "bytes or with K, M, G or T behind it"},
    {"--dax-window=2097153", "--dax-window: \"2097153\" is not 0, or a power of two from 2M to 1T, "
                             "in bytes or with K, M, G or T behind it"},
    {"--dax-window=0x200000", "--dax-window: \"0x200000\" is not 0, or a power of two from 2M to "
                              "1T, in bytes or with K, M, G or T behind it"},
    {"--dax-window=", "--dax-window: \"\" is not 0, or a power of two from 2M to 1T, in bytes or "
                      "with K, M, G or T behind it"},
    {"--dax-min-size=8388608T", "--dax-min-size: \"8388608T\" is not a size from 0 to 8E, in bytes "
                                "or with K, M, G or T behind it"},
    {"--dax-min-size=99999999999999999999",
     "--dax-min-size: \"99999999999999999999\" is not a size from 0 to 8E, in bytes or with K, M, "
     "G or T behind it"},
    {"--dax-min-size=1.5M", "--dax-min-size: \"1.5M\" is not a size from 0 to 8E, in bytes or with "
                            "K, M, G or T behind it"},
    {"--dax-min-size=1_K",
     "--dax-min-size: \"1_K\" is not a size from 0 to 8E, in bytes or with K, M, G or T behind it"},
    {"--dax-policy=some", "--dax-policy: \"some\" is not one of auto, always, never"},
    {"--sandbox=x", "--sandbox: \"x\" is not one of namespace, chroot, none"},
    {"--seccomp=x", "--seccomp: \"x\" is not one of kill, log, trap, none"},
    {"--log-level=x", "--log-level: \"x\" is not one of off, error, warn, info, debug"},
    {"--xattrmap=", "--xattrmap: \"\" is not a text of 1 to 65536 bytes"},
    {"-o xattrmap", "-o xattrmap: needs a value: xattrmap=..."},
    {"--translate-uid=", "--translate-uid: \"\" is not a text of 1 to 255 bytes"},
    {"--translate-gid", "--translate-gid: needs a value, a text of 1 to 255 bytes"},
    {"-o translate_uid=map:0:1:1",
     "-o translate_uid: no such word; see --help for the long options"},
    {"--security-label=x", "--security-label: \"x\" is not one of never, auto, always"},
    {"--posix-acl=x", "--posix-acl: \"x\" is not one of never, auto, always"},
    {"--shared-dir=", "--shared-dir: \"\" is not a text of 1 to 4095 bytes"},
    {"--tag=", "--tag: \"\" is not a text of 1 to 36 bytes"},
    {"--tag=1234567890123456789012345678901234567",
     "--tag: \"1234567890123456789012345678901234567\" is not a text of 1 to 36 bytes"},
    {"--fd=-1", "--fd: \"-1\" is not a number from 0 to 2147483647"},
    {"--fd=2147483648", "--fd: \"2147483648\" is not a number from 0 to 2147483647"},
    {"--fd=3x", "--fd: \"3x\" is not a number from 0 to 2147483647"},
    {"--queue-size=100", "--queue-size: \"100\" is not a power of two from 2 to 32768"},
    {"--queue-size=65536", "--queue-size: \"65536\" is not a power of two from 2 to 32768"},
    {"--num-request-queues=0", "--num-request-queues: \"0\" is not a number from 1 to 255"},
    {"--thread-pool-size=65536", "--thread-pool-size: \"65536\" is not a number from 0 to 65535"},
    {"--rlimit-nofile=9223372036854775808",
     "--rlimit-nofile: \"9223372036854775808\" is not a number from 0 to 9223372036854775807"},
    {"--timeout=-1", "--timeout: \"-1\" is not a number of seconds from 0 to 31536000"},
    {"--timeout=inf", "--timeout: \"inf\" is not a number of seconds from 0 to 31536000"},
    {"--timeout=nan", "--timeout: \"nan\" is not a number of seconds from 0 to 31536000"},
    {"--timeout=0x1", "--timeout: \"0x1\" is not a number of seconds from 0 to 31536000"},
    {"--timeout=1.2.3", "--timeout: \"1.2.3\" is not a number of seconds from 0 to 31536000"},
    {"--timeout=.", "--timeout: \".\" is not a number of seconds from 0 to 31536000"},
    {"--timeout=31536001", "--timeout: \"31536001\" is not a number of seconds from 0 to 31536000"},

#define MAP "is not a map like :0:100000:65536: (first id inside, first id outside, count)"
    {"--uid-map=", "--uid-map: \"\" " MAP},
    {"--uid-map=:", "--uid-map: \":\" " MAP},
    {"--uid-map=0:1:1", "--uid-map: \"0:1:1\" " MAP},
    {"--uid-map=:0:1:1", "--uid-map: \":0:1:1\" " MAP},
    {"--uid-map=:0:1:", "--uid-map: \":0:1:\" " MAP},
    {"--uid-map=:0:1:0:", "--uid-map: \":0:1:0:\" " MAP},
    {"--uid-map=:0:1:1:1:", "--uid-map: \":0:1:1:1:\" " MAP},
    {"--gid-map=:0:-1:1:", "--gid-map: \":0:-1:1:\" " MAP},
    {"--gid-map=:1:0:4294967295:", "--gid-map: \":1:0:4294967295:\" " MAP},

    /* Words of -o are those of the C and Rust daemons, not any long option. */
    {"-o nosuch", "-o nosuch: no such word; see --help for the long options"},
    {"-o seccomp=none", "-o seccomp: no such word; see --help for the long options"},
    {"-o help", "-o help: no such word; see --help for the long options"},
    {"-o allow-direct-io", "-o allow-direct-io: no such word; see --help for the long options"},

    /* Options of other daemons. */
    {"--migration-mode=x", "--migration-mode: \"x\" is not one of both, find-paths, file-handles"},
    {"--migration-on-error", "--migration-on-error: needs a value, one of abort, guest-error"},
    {"--daemonize", "--daemonize: this version does not have it (Going into the background: let a "
                    "service manager do it); leave the option out"},
};

static void test_bad(void **state)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        struct options o;
        g_autoptr(GError) err = NULL;
        enum options_result r = parse(bad[i].line, &o, &err);
        const char *said = err ? err->message : "nothing";
        if (r != OPTIONS_BAD)
            fail_msg("%s: was taken", bad[i].line);
        if (strcmp(said, bad[i].message) != 0)
            fail_msg("%s:\n  says     %s\n  expected %s", bad[i].line, said, bad[i].message);
        options_free(&o);
    }
}

static void test_queue_limit(void **state)
{
    struct options o;
    assert_int_equal(parse(NEEDED, &o, NULL), OPTIONS_RUN);
    assert_int_equal(o.max_request_queues, OPT_MAX_QUEUES_DEFAULT);
    options_free(&o);
    assert_int_equal(parse(NEEDED "--num-request-queues=3", &o, NULL), OPTIONS_RUN);
    assert_int_equal(o.max_request_queues, 3);
    options_free(&o);
    assert_int_equal(parse(NEEDED "--tag=t", &o, NULL), OPTIONS_RUN);
    assert_int_equal(o.max_request_queues, 1);
    options_free(&o);
}

/* Where an error is not wanted, none must be needed. */
static void test_no_error_wanted(void **state)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        struct options o;
        assert_int_equal(parse(bad[i].line, &o, NULL), OPTIONS_BAD);
        options_free(&o);
    }
}

/* Run @line with stdout in a file; returns what it printed. */
static char *printed(const char *line)
{
    fflush(stdout);
    int saved = dup(STDOUT_FILENO);
    FILE *tmp = tmpfile();
    assert_non_null(tmp);
    dup2(fileno(tmp), STDOUT_FILENO);

    struct options o;
    enum options_result r = parse(line, &o, NULL);
    options_free(&o);
    fflush(stdout);
    dup2(saved, STDOUT_FILENO);
    close(saved);
    assert_int_equal(r, OPTIONS_EXIT);

    char *text = NULL;
    rewind(tmp);
    off_t len = lseek(fileno(tmp), 0, SEEK_END);
    assert_true(len > 0);
    text = g_malloc0((size_t)len + 1);
    assert_int_equal(pread(fileno(tmp), text, (size_t)len, 0), len);
    fclose(tmp);
    return text;
}

static void test_information(void **state)
{
    g_autofree char *caps = printed("--print-capabilities");
    assert_string_equal(caps, "{\n  \"type\": \"fs\",\n  \"features\": [\n"
                              "    \"posix-acl-negotiation-mode\",\n"
                              "    \"security-label-negotiation-mode\",\n"
                              "    \"migrate-precopy\",\n"
                              "    \"separate-options\"\n  ]\n}\n");
    g_autofree char *again = printed("--xattr --print-capabilities --nosuch");
    assert_string_equal(again, caps);

    g_autofree char *version = printed("-V");
    assert_string_equal(version, "virtiofsd " VIRTIOFSD_VERSION "\n");

    g_autofree char *help = printed("-h");
    for (unsigned i = 0; i < opt_table_len; i++) {
        if (!opt_table[i].name)
            continue;
        g_autofree char *want = g_strdup_printf(
            "--%s%s", opt_table[i].type == OPT_SWITCH ? "[no-]" : "", opt_table[i].name);
        if (!strstr(help, want))
            fail_msg("--help does not show %s", want);
    }
    g_auto(GStrv) lines = g_strsplit(help, "\n", -1);
    for (char **l = lines; *l; l++)
        assert_true(strlen(*l) <= 90);
}

/* Every row must be complete for its type, or the parser would write past a field. */
static void test_table(void **state)
{
    for (unsigned i = 0; i < opt_table_len; i++) {
        const struct opt_def *d = &opt_table[i];
        const char *name = d->name ? d->name : "(letter)";
        bool on;
        if (d->name && opt_find(d->name, strlen(d->name), &on) != d)
            fail_msg("%s stands twice in the table", name);
        if (!d->help || d->group >= opt_group_count)
            fail_msg("%s lacks help or group", name);
        bool pointer = d->type == OPT_STRING || d->type == OPT_TEXTS;
        size_t want = d->type == OPT_SWITCH    ? sizeof(bool)
                      : d->type == OPT_WORD    ? sizeof(unsigned)
                      : d->type == OPT_SECONDS ? sizeof(double)
                      : d->type == OPT_ID_MAP  ? sizeof(struct sb_idmaps)
                      : pointer                ? sizeof(void *)
                      : d->type == OPT_SIZE    ? sizeof(uint64_t)
                      : d->type == OPT_NUMBER && d->size == sizeof(uint64_t) ? sizeof(uint64_t)
                      : d->type == OPT_NUMBER                                ? sizeof(uint32_t)
                                                                             : 0;
        if (d->size != want)
            fail_msg("%s: field has %zu bytes, not %zu", name, d->size, want);
        if ((d->type == OPT_NUMBER || d->type == OPT_SIZE || d->type == OPT_STRING ||
             d->type == OPT_TEXTS) &&
            d->max <= d->min)
            fail_msg("%s: no range", name);
        if (d->most && (d->type != OPT_NUMBER || d->most < d->min || d->most >= d->max))
            fail_msg("%s: what is too much does not lie within the range", name);
        if (d->size == 4 && d->type == OPT_NUMBER && d->max > UINT32_MAX)
            fail_msg("%s: range wider than its field", name);
        if ((d->type == OPT_WORD) != (d->words != NULL) && !(d->type == OPT_NOTHING && d->arg))
            fail_msg("%s: words and type do not agree", name);
        if (d->bare && !d->words)
            fail_msg("%s: a value of its own without any to choose from", name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),       cmocka_unit_test(test_good),
        cmocka_unit_test(test_bad),         cmocka_unit_test(test_no_error_wanted),
        cmocka_unit_test(test_queue_limit), cmocka_unit_test(test_information),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
