/* SPDX-License-Identifier: BSD-3-Clause
 * A guest of the Rust virtiofsd's: its state, versions 1 and 2, as records of ours. */
#pragma once

#include <glib.h>
#include <stddef.h>
#include <stdint.h>

#include "virtiofsd/fuse/fuse-policy.h"

/* Append records (base/record.h, whole) that say what those bytes say. What that daemon does not
 * tell is taken from our own options, @policy. 0; -EPROTO: it is no such state, or damaged;
 * -EOPNOTSUPP: of another version, or with numbers that are too large for us. */
int fuse_rust_translate(const uint8_t *bytes, size_t len, const struct fuse_policy *policy,
                        GByteArray *out);
