/* SPDX-License-Identifier: BSD-3-Clause
 * Prints the table of options for check-options: name, form (switch, value, plain), group, words;
 * after an empty line what --print-capabilities says. */
#include <stdio.h>

#include "virtiofsd/options-table.h"

int main(void)
{
    for (unsigned i = 0; i < opt_table_len; i++) {
        const struct opt_def *d = &opt_table[i];
        const char *form = d->type == OPT_SWITCH ? "switch" : d->arg ? "value" : "plain";
        const char *standing = d->group == OPT_GROUP_ABSENT   ? "refused"
                               : d->group == OPT_GROUP_COMPAT ? "compat"
                                                              : "own";
        if (d->name)
            printf("--%s %s %s", d->name, form, standing);
        else
            printf("-%c %s %s", d->letter, form, standing);
        for (const struct opt_word *w = d->words; w && w->text; w++) {
            if (!w->hidden)
                printf(" %s", w->text);
        }
        putchar('\n');
    }
    putchar('\n');
    opt_print_capabilities();
    return 0;
}
