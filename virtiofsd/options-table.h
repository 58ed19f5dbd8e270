/* SPDX-License-Identifier: BSD-3-Clause
 * The table of options, made from options.ini, where the meaning of each column stands. Private to
 * the options-*.c files and their tests. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "virtiofsd/options.h"

enum opt_type {
    OPT_SWITCH,   /* bool; "--no-NAME" is its opposite */
    OPT_WORD,     /* one of .words, into an enum */
    OPT_NUMBER,   /* .min .. .max, into an integer of .size bytes */
    OPT_SIZE,     /* like OPT_NUMBER, in bytes, with K, M, G or T for powers of 1024 */
    OPT_SECONDS,  /* .min .. .max with a fraction, into a double */
    OPT_STRING,   /* .min .. .max bytes, into a char * */
    OPT_TEXTS,    /* like OPT_STRING, appended to a GPtrArray */
    OPT_ID_MAP,   /* :INSIDE:OUTSIDE:COUNT:, one more of a struct sb_idmaps */
    OPT_ALIAS,    /* means option .alias (with .alias_value, if there is one) */
    OPT_OLD_LIST, /* -o LIST */
    OPT_NOTHING,  /* taken, does nothing, which is logged when the option has a long name */
    OPT_ABSENT,   /* known from other daemons, refused; .arg tells whether it has a value */
    OPT_HELP,
    OPT_VERSION,
    OPT_CAPABILITIES,
};

struct opt_word {
    const char *text;
    unsigned value;
    bool hidden; /* an old spelling: taken, not advertised */
};

enum {
    OPT_ONCE = 1 << 0, /* a second one is an error, not a change of mind */
    OPT_POWER_OF_2 = 1 << 1,
    OPT_OLD_NAME = 1 << 2, /* also a word of -o LIST, with '_' for '-' */
    OPT_ZERO_TOO = 1 << 3, /* 0 is a value besides .min .. .max */
    OPT_NEEDED = 1 << 4,   /* for the usage: always, */
    OPT_EITHER = 1 << 5,   /* or one of these */
};

struct opt_def {
    const char *name; /* without "--"; NULL when there is only a short form */
    char letter;      /* short form, or 0 */
    const char *arg;  /* what the help calls the value; NULL: takes none */
    enum opt_type type;
    unsigned group; /* index of its title */
    unsigned flags;
    size_t offset, size; /* the field of struct options */
    uint64_t min, max;
    uint64_t most; /* OPT_NUMBER: what a larger value is taken as, which is logged; 0: as it is */
    const struct opt_word *words; /* ends with text NULL */
    const char *bare;             /* what --NAME alone means; NULL: it needs a value */
    const char *alias, *alias_value;
    const char *help; /* lines */
};

extern const struct opt_def opt_table[];
extern const unsigned opt_table_len;
extern const char *const opt_group_titles[];
extern const unsigned opt_group_count;
extern const struct options opt_defaults; /* of fields that own nothing */

/* The option of that long name, also in its "no-" form when it is a switch (*@on = false then).
 * NULL when there is none. */
const struct opt_def *opt_find(const char *name, size_t len, bool *on);

/* The option whose name @name is the beginning of, or that differs from it by a slip or two. NULL
 * when there is none. */
const struct opt_def *opt_near(const char *name);

/* What may stand for the value of @def, as text for a message: "one of never, auto" or "a number
 * from 1 to 9". The caller frees it. */
char *opt_allowed(const struct opt_def *def);

/* What the field of @def owns: none yet; and nothing any more. */
void opt_init(struct options *out, const struct opt_def *def);
void opt_clear(struct options *out, const struct opt_def *def);

/* Set the field of @def in @out. @value is NULL for none; @on is for switches; @shown is how the
 * user wrote the option, for the message. */
bool opt_set(struct options *out, const struct opt_def *def, const char *value, bool on,
             const char *shown, GError **err);

/* Whether @value is one of the words of @def, that does nothing; true where it has none. */
bool opt_word_known(const struct opt_def *def, const char *value, const char *shown, GError **err);

/* Parse the words of one -o: comma-separated; ",," and "\," are a comma in a value. */
bool opt_old_list(struct options *out, const char *list, GError **err);

/* Answers on stdout. */
void opt_print_help(void);
void opt_print_version(void);
void opt_print_capabilities(void);
