/* SPDX-License-Identifier: BSD-3-Clause
 * How every part of the sandbox says what failed, and reads a number of the kernel's to say why. */
/* #syscalls:early close openat read */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "sandbox/sb-priv.h"
#include "virtiofsd/base/auto.h"
#include "virtiofsd/base/errno-text.h"

G_DEFINE_QUARK(sb - error - quark, sb_error)

bool sb_fail(GError **err, int code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    g_autofree char *what = g_strdup_vprintf(fmt, ap);
    va_end(ap);
    g_set_error(err, SB_ERROR, code, "%s: %s", what, errno_text(code));
    return false;
}

bool sb_fail_namespace(GError **err, int code, bool user_ns, const char *what)
{
    static const struct {
        int code;
        const char *text;
    } causes[] = {
        {EPERM, " (without CAP_SYS_ADMIN, or in a container?)"},
        {EACCES, " (a security module, or in a container?)"},
        {EINVAL, " (our root is not a mount point: a chroot, or an initramfs?)"},
        {ENOSYS, " (an old kernel, or the filter of a container?)"},
        {ENOSPC, " (is a sysctl user.max_*_namespaces too small?)"},
    };
    const char *cause = "";

    for (unsigned i = 0; i < G_N_ELEMENTS(causes); i++) {
        if (causes[i].code == code)
            cause = causes[i].text;
    }
    g_set_error(err, SB_ERROR, code, "%s: %s%s; try %s--sandbox=none", what, errno_text(code),
                cause, user_ns ? "" : "--sandbox=chroot or ");
    return false;
}

long sb_read_number(const char *path, long fallback)
{
    char text[32];
    AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (n <= 0)
        return fallback;
    text[n] = '\0';
    return strtol(text, NULL, 10);
}
