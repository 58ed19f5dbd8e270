/* SPDX-License-Identifier: BSD-3-Clause
 * The option that somebody meant who wrote another. */
#include <string.h>

#include "virtiofsd/options-table.h"

#define NAME_MAX_LEN 64

/* How many letters must be put in, taken out, exchanged or swapped with their neighbour to make @b
 * of
 * @a ("optimal string alignment"). Both are at most NAME_MAX_LEN long. */
static unsigned distance(const char *a, size_t la, const char *b, size_t lb)
{
    unsigned rows[3][NAME_MAX_LEN + 1];
    unsigned *before = rows[0], *above = rows[1], *row = rows[2];

    for (size_t j = 0; j <= lb; j++)
        above[j] = (unsigned)j;
    for (size_t i = 1; i <= la; i++) {
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= lb; j++) {
            bool same = a[i - 1] == b[j - 1];
            row[j] = MIN(MIN(above[j], row[j - 1]) + 1, above[j - 1] + !same);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = MIN(row[j], before[j - 2] + 1);
        }
        unsigned *oldest = before;
        before = above;
        above = row;
        row = oldest;
    }
    return above[lb];
}

const struct opt_def *opt_near(const char *name)
{
    const struct opt_def *best = NULL;
    size_t len = strlen(name);
    unsigned least = (unsigned)MIN(1 + len / 4, 3); /* beyond it is another word, not a slip */

    if (len > NAME_MAX_LEN)
        return NULL;
    for (unsigned i = 0; i < opt_table_len; i++) {
        const char *known = opt_table[i].name;
        if (!known)
            continue;
        if (len >= 2 && strncmp(known, name, len) == 0)
            return &opt_table[i];
        unsigned d = distance(name, len, known, strlen(known));
        if (d < least + !best) {
            least = d;
            best = &opt_table[i];
        }
    }
    return best;
}
