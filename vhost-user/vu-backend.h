/* SPDX-License-Identifier: BSD-3-Clause
 * The back-end channel: the socket on which we may ask the front-end. It is negotiated
 * (BACKEND_REQ) and kept here; this device has no request of its own to send yet. */
#pragma once

struct vu_backend {
    int fd; /* -1 = none */
};

/* Take over @fd as the channel in place of an earlier one. Returns 0, or -EINVAL when it is not a
 * stream socket; it is closed then. */
int vu_backend_set(struct vu_backend *b, int fd);
void vu_backend_close(struct vu_backend *b);
