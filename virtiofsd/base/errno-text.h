/* SPDX-License-Identifier: BSD-3-Clause
 * What an errno value means. */
#pragma once

/* In English, for log lines: "No such file or directory". Never NULL, never freed; any thread, any
 * time: strerror(3) of libc and of GLib look for translations and character sets, in files by
 * absolute names, which in a sandbox may be the guest's. */
const char *errno_text(int code);
