/* SPDX-License-Identifier: BSD-3-Clause
 * What the operator decides about the host's directory. Options set these fields directly. */
#pragma once

#include <stdbool.h>

/* FENCED: as PREFER, but inodes are held by descriptors while there is room for them, and a broker
 * signs and opens handles of those that are not. */
enum host_handles {
    HOST_HANDLES_NEVER,
    HOST_HANDLES_PREFER,
    HOST_HANDLES_MANDATORY,
    HOST_HANDLES_FENCED,
};

struct host_policy {
    enum host_handles handles;
    bool allow_direct_io;  /* O_DIRECT holds on the host, too */
    bool preserve_noatime; /* pass on O_NOATIME where the guest's file has it */
};
