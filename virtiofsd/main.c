/* SPDX-License-Identifier: BSD-3-Clause
 * virtiofsd: serve a host directory to virtual machines over virtio-fs. */
/* #syscalls:early close openat */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "virtiofsd/daemon.h"
#include "virtiofsd/options.h"

/* What is opened must not get the number of a standard descriptor that the caller has closed: the
 * log would be written to it, and what is said not to be inherited would be. */
static void fill_standard_fds(void)
{
    int fd;

    do
        fd = open("/dev/null", O_RDWR); /* the lowest number that is free */
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
}

int main(int argc, char **argv)
{
    struct options o;
    GError *err = NULL;
    int code = 0;

    fill_standard_fds();
    switch (options_parse(argc, argv, &o, &err)) {
    case OPTIONS_BAD:
        fprintf(stderr, "virtiofsd: error: %s\n", err->message);
        g_error_free(err);
        code = 2;
        break;
    case OPTIONS_RUN:
        code = daemon_run(&o);
        break;
    case OPTIONS_EXIT:
        break;
    }
    options_free(&o);
    return code;
}
