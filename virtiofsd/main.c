/* SPDX-License-Identifier: BSD-3-Clause
 * virtiofsd: serve a host directory to virtual machines over virtio-fs. */
#include "virtiofsd/daemon.h"

int main(int argc, char **argv)
{
    return daemon_main(argc, argv, daemon_tree);
}
