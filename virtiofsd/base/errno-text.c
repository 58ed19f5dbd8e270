/* SPDX-License-Identifier: BSD-3-Clause */
#include "virtiofsd/base/errno-text.h"

#include <string.h>

const char *errno_text(int code)
{
    const char *text = strerrordesc_np(code);
    return text ? text : "an unknown error";
}
