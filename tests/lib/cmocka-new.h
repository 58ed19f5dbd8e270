/* SPDX-License-Identifier: BSD-3-Clause
 * cmocka 2 as the tests know cmocka 1: included before everything else, where it is 2. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* A word that the tests use for functions of their own. */
#undef stop

/* It was for unsigned numbers always; now it says so. */
#undef assert_in_range
#define assert_in_range(value, minimum, maximum) assert_uint_in_range(value, minimum, maximum)
