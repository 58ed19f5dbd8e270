/* SPDX-License-Identifier: BSD-3-Clause
 * What the daemon counts, as it says at SIGUSR2: one line of JSON (docs/counters.md). */
#pragma once

#include "tests/lib/json.h"
#include "tests/wire/wire.h"

/* The @n-th line of JSON in the log (from 1), or NULL; to be freed. */
char *report_line(struct wire *w, unsigned n);
/* Send the signal to the process that was started, and wait for the report, which is valid JSON. To
 * be freed. */
char *report(struct wire *w);
/* The number there; UINT64_MAX: there is none. */
uint64_t at(const char *json, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Fail unless the number @name of @part is @want. */
void expect(const char *json, const char *part, const char *name, uint64_t want);
