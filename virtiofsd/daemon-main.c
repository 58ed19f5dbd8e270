/* SPDX-License-Identifier: BSD-3-Clause
 * From the command line to the exit code. */
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

int daemon_main(int argc, char **argv, daemon_tree_fn *make_tree)
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
        code = daemon_run(&o, make_tree);
        break;
    case OPTIONS_EXIT:
        break;
    }
    options_free(&o);
    return code;
}
