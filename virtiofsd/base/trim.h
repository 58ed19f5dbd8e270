/* SPDX-License-Identifier: BSD-3-Clause
 * Give memory back that only the start needed. */
#pragma once

/* Unmap the pages of program and library text that start-up touched (parsing, dynamic linking):
 * what is used again comes back from the page cache by a minor fault. Call once, when the process
 * settles down to what it will do for hours; hundreds of daemons share a host. */
void trim_startup_pages(void);
