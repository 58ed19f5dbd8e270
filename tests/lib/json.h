/* SPDX-License-Identifier: BSD-3-Clause
 * JSON as RFC 8259 has it, as much of it as a test needs: is it one, and which number is where? */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Whether @text is one JSON value and nothing else but white space. */
bool json_valid(const char *text);
/* The value at @path in valid JSON: names and indices with '/' between ("parts/0/queue"). NULL:
 * there is none. */
const char *json_find(const char *text, const char *path);
/* The number there, which must be a natural one; UINT64_MAX: there is none. */
uint64_t json_number(const char *text, const char *path);
/* Whether the string @value is there (no escapes). */
bool json_is(const char *text, const char *path, const char *value);
