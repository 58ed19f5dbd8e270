/* SPDX-License-Identifier: BSD-3-Clause
 * The values of options that take one of several words. */
#include "virtiofsd/options-table.h"

const struct opt_word opt_cache_words[] = {
    {"never", OPT_CACHE_NEVER},
    {"metadata", OPT_CACHE_METADATA},
    {"auto", OPT_CACHE_AUTO},
    {"always", OPT_CACHE_ALWAYS},
    {"none", OPT_CACHE_NEVER, true}, /* the C daemon's name for never */
    {NULL},
};

const struct opt_word opt_handles_words[] = {
    {"never", OPT_HANDLES_NEVER},
    {"prefer", OPT_HANDLES_PREFER},
    {"mandatory", OPT_HANDLES_MANDATORY},
    {"fallback", OPT_HANDLES_PREFER, true}, /* the Rust daemon's old name for prefer */
    {NULL},
};

const struct opt_word opt_sandbox_words[] = {
    {"namespace", OPT_SANDBOX_NAMESPACE},
    {"chroot", OPT_SANDBOX_CHROOT},
    {"none", OPT_SANDBOX_NONE},
    {NULL},
};

const struct opt_word opt_seccomp_words[] = {
    {"kill", OPT_SECCOMP_KILL},
    {"log", OPT_SECCOMP_LOG},
    {"trap", OPT_SECCOMP_TRAP},
    {"none", OPT_SECCOMP_NONE},
    {NULL},
};

const struct opt_word opt_ask_words[] = {
    {"never", OPT_ASK_NEVER},
    {"auto", OPT_ASK_AUTO},
    {"always", OPT_ASK_ALWAYS},
    {NULL},
};

const struct opt_word opt_level_words[] = {
    {"off", LOG_LVL_OFF},
    {"error", LOG_LVL_ERROR},
    {"warn", LOG_LVL_WARN},
    {"info", LOG_LVL_INFO},
    {"debug", LOG_LVL_DEBUG},
    {"trace", LOG_LVL_DEBUG, true}, /* the Rust daemon's finest */
    {"err", LOG_LVL_ERROR, true},   /* the C daemon's */
    {NULL},
};

const struct opt_word opt_protocol_words[] = {
    {"virtiofs", OPT_PROTOCOL_VIRTIOFS},
    {"9p", OPT_PROTOCOL_9P},
    {"both", OPT_PROTOCOL_BOTH},
    {NULL},
};

const struct opt_word opt_dax_policy_words[] = {
    {"auto", OPT_DAX_AUTO},
    {"always", OPT_DAX_ALWAYS},
    {"never", OPT_DAX_NEVER},
    {NULL},
};

/* Names of dax/dax-vu.c, by which the daemon finds the dialect. */
const struct opt_word opt_dax_dialect_words[] = {
    {"auto", OPT_DIALECT_AUTO},     {"standard", OPT_DIALECT_STANDARD}, {"qemu", OPT_DIALECT_QEMU},
    {"crosvm", OPT_DIALECT_CROSVM}, {"alioth", OPT_DIALECT_ALIOTH},     {NULL},
};

/* Words of the Rust daemon's. */
const struct opt_word opt_migration_mode_words[] = {
    {"find-paths", 0},
    {"file-handles", 0},
    {NULL},
};

const struct opt_word opt_migration_error_words[] = {
    {"abort", 0},
    {"guest-error", 0},
    {NULL},
};
