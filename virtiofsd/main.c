/* SPDX-License-Identifier: BSD-3-Clause
 * virtiofsd: serve a host directory to virtual machines over virtio-fs. */
#include <stdio.h>

#include "virtiofsd/daemon.h"
#include "virtiofsd/options.h"

int main(int argc, char **argv)
{
    struct options o;
    GError *err = NULL;
    int code = 0;

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
