/* SPDX-License-Identifier: BSD-3-Clause
 * A guest moves: its state as bytes, for the vhost-user device and whoever else carries them. */
#pragma once

#include <glib.h>
#include <stddef.h>
#include <stdint.h>

struct fuse_srv;

/* Append the state of the guest to @out, with @taken (struct vu_taken): requests that wait. Forgets
 * nothing. No request may be under way. 0 or -errno. */
int daemon_move_save(struct fuse_srv *fuse, const GArray *taken, GByteArray *out);
/* Take up a guest by bytes that come from outside: ours, or the Rust
 * daemon's. Appends to @taken what the device had
 * taken. 0, or -errno: a reset is due. */
int daemon_move_load(struct fuse_srv *fuse, const uint8_t *bytes, size_t len, GArray *taken);
