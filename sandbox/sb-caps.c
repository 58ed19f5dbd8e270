/* SPDX-License-Identifier: BSD-3-Clause
 * Stage 4 of the isolation: capabilities.
 *
 * libcap-ng knows the names. The sets themselves are changed by plain system calls: the library
 * looks into /proc first, and what is called /proc inside the sandbox is a directory of the
 * guest's. */
/* #syscalls:early capget capset prctl */
#include <cap-ng.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox/sb-priv.h"
#include "virtiofsd/base/log.h"

#define BIT(cap) (UINT64_C(1) << (cap))

/* What serving files on behalf of the guest's users takes. */
static const uint64_t needed = BIT(CAP_CHOWN)          /* chown(2) as the guest's root */
                               | BIT(CAP_DAC_OVERRIDE) /* the guest's kernel checked already */
                               | BIT(CAP_FOWNER)       /* chmod, times, sticky directories */
                               | BIT(CAP_FSETID)       /* keep set-id bits where the guest does */
                               | BIT(CAP_SETGID)       /* make files as the guest's user */
                               | BIT(CAP_SETUID)       /* the same */
                               | BIT(CAP_MKNOD)        /* device nodes, whiteouts */
                               | BIT(CAP_SETFCAP);     /* security.capability */

/* No errno has a word for it. */
G_GNUC_PRINTF(2, 3) static bool bad_list(GError **err, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    if (err)
        *err = g_error_new_valist(SB_ERROR, EINVAL, fmt, ap);
    va_end(ap);
    return false;
}

bool sb_modcaps_parse(const char *text, uint64_t *add, uint64_t *del, GError **err)
{
    g_auto(GStrv) parts = g_strsplit(text, ":", 0);

    if (!parts[0])
        return bad_list(err, "no capability: want +NAME or -NAME");
    for (char **p = parts; *p; p++) {
        const char *name = *p + 1;
        if (**p != '+' && **p != '-')
            return bad_list(err, "bad capability '%s': want +NAME or -NAME", *p);
        if (g_ascii_strncasecmp(name, "cap_", 4) == 0)
            name += 4;
        int cap = capng_name_to_capability(name);
        if (cap < 0)
            return bad_list(err, "unknown capability '%s'", *p);
        uint64_t *into = **p == '+' ? add : del, *from = **p == '+' ? del : add;
        *into |= BIT(cap);
        *from &= ~BIT(cap);
    }
    return true;
}

uint64_t sb_caps_wanted(const struct sb_config *cfg)
{
    uint64_t caps = needed;

    if (cfg->file_handles && !cfg->fenced)
        caps |= BIT(CAP_DAC_READ_SEARCH);
    return (caps | cfg->caps_add) & ~cfg->caps_del;
}

static bool get_caps(struct __user_cap_data_struct data[2])
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    return syscall(SYS_capget, &head, data) == 0;
}

bool sb_caps_have(unsigned cap)
{
    struct __user_cap_data_struct data[2];
    return get_caps(data) && data[cap / 32].permitted & (1u << cap % 32);
}

static bool set_caps(uint64_t caps)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    const uint32_t low = (uint32_t)caps, high = (uint32_t)(caps >> 32);
    struct __user_cap_data_struct data[2] = {{.effective = low, .permitted = low},
                                             {.effective = high, .permitted = high}};
    return syscall(SYS_capset, &head, data) == 0;
}

/* Only a process with CAP_SETPCAP may do this. Without it the set does not matter either: nothing
 * is gained by an execve(2) after no-new-privileges. */
static void clear_bounding_set(void)
{
    for (unsigned long cap = 0; prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) == 0; cap++)
        ;
}

static void tell_missing(uint64_t missing)
{
    g_autoptr(GString) names = g_string_new(NULL);

    for (unsigned cap = 0; cap < 64; cap++) {
        if (!(missing & BIT(cap)))
            continue;
        const char *name = capng_capability_to_name(cap);
        g_string_append_printf(names, " %s", name ? name : "?");
    }
    log_info("some operations of the guest will be refused, since we run without:%s", names->str);
}

/* *permitted: those that we had. */
static bool keep_caps(uint64_t wanted, uint64_t *permitted, GError **err)
{
    struct __user_cap_data_struct have[2];

    if (!get_caps(have))
        return sb_fail(err, errno, "cannot read our capabilities");
    *permitted = have[0].permitted | (uint64_t)have[1].permitted << 32;

    clear_bounding_set();
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
        return sb_fail(err, errno, "cannot clear the ambient capabilities");
    if (!set_caps(wanted & *permitted))
        return sb_fail(err, errno, "cannot drop capabilities");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return sb_fail(err, errno, "cannot set no-new-privileges");
    return true;
}

bool sb_caps_keep(uint64_t caps, GError **err)
{
    uint64_t permitted;
    return keep_caps(caps, &permitted, err);
}

bool sb_drop_caps(const struct sb_config *cfg, GError **err)
{
    uint64_t permitted = 0, wanted = sb_caps_wanted(cfg);

    if (!keep_caps(wanted, &permitted, err))
        return false;
    if (wanted & ~permitted)
        tell_missing(wanted & ~permitted);
    return true;
}
