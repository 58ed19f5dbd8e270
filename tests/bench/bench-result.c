/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/bench/bench-result.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct br_row *br_row(struct br *r, const char *mode, const char *op, const char *unit)
{
    for (unsigned i = 0; i < r->nrows; i++)
        if (strcmp(r->row[i].mode, mode) == 0 && strcmp(r->row[i].op, op) == 0)
            return &r->row[i];
    if (r->nrows == BR_MAX_ROWS)
        abort();
    struct br_row *row = &r->row[r->nrows++];
    snprintf(row->mode, sizeof(row->mode), "%s", mode);
    snprintf(row->op, sizeof(row->op), "%s", op);
    row->unit = unit;
    return row;
}

void br_add(struct br_row *row, unsigned daemon, enum br_figure f, double v)
{
    struct br_cell *c = &row->cell[daemon][f];
    if (c->n < BR_MAX_ROUNDS)
        c->v[c->n++] = v;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double br_median(const struct br_cell *c)
{
    double v[BR_MAX_ROUNDS];
    if (c->n == 0)
        return 0;
    memcpy(v, c->v, c->n * sizeof(v[0]));
    qsort(v, c->n, sizeof(v[0]), by_value);
    return c->n % 2 ? v[c->n / 2] : (v[c->n / 2 - 1] + v[c->n / 2]) / 2;
}

static bool is_kind(const char *daemon, const char *kind)
{
    size_t n = strlen(kind);
    return strncmp(daemon, kind, n) == 0 && (daemon[n] == '\0' || daemon[n] == '-');
}

/* Best figure of the daemons of a kind ("rust", "c"; NULL: of both): for figures where less is
 * better the smallest, else the largest. 0 when there is none. */
static double best(const struct br *r, const struct br_row *row, enum br_figure f, const char *kind)
{
    bool less = row->unit || f != BR_OPS;
    double b = 0;
    for (unsigned i = 0; i < r->ndaemons; i++) {
        const char *d = r->daemon[i];
        if (kind ? !is_kind(d, kind) : !is_kind(d, "rust") && !is_kind(d, "c"))
            continue;
        double v = br_median(&row->cell[i][f]);
        if (v > 0 && (b == 0 || (less ? v < b : v > b)))
            b = v;
    }
    return b;
}

static double named(const struct br *r, const struct br_row *row, enum br_figure f,
                    const char *name)
{
    for (unsigned i = 0; i < r->ndaemons; i++)
        if (strcmp(r->daemon[i], name) == 0)
            return br_median(&row->cell[i][f]);
    return 0;
}

static void print_ratio(FILE *f, double a, double b)
{
    if (a > 0 && b > 0)
        fprintf(f, " %7.2f", a / b);
    else
        fprintf(f, " %7s", "-");
}

static void print_speed(const struct br *r, const struct br_row *row, FILE *f)
{
    fprintf(f, "%-14s", row->op);
    for (unsigned i = 0; i < r->ndaemons; i++)
        fprintf(f, " |%8.1f %6.2f %4.2f %4.2f", br_median(&row->cell[i][BR_OPS]) / 1000,
                br_median(&row->cell[i][BR_CPU]), br_median(&row->cell[i][BR_KICKS]),
                br_median(&row->cell[i][BR_CALLS]));
    double ours = named(r, row, BR_OPS, "ours");
    fputs(" |", f);
    print_ratio(f, ours, best(r, row, BR_OPS, "rust"));
    print_ratio(f, ours, best(r, row, BR_OPS, NULL));
    print_ratio(f, ours, named(r, row, BR_OPS, "direct"));
    print_ratio(f, named(r, row, BR_CPU, "ours"), best(r, row, BR_CPU, "rust"));
    fputc('\n', f);
}

static void print_figure(const struct br *r, const struct br_row *row, FILE *f)
{
    fprintf(f, "%-24s", row->op);
    for (unsigned i = 0; i < r->ndaemons; i++) {
        double v = br_median(&row->cell[i][BR_OPS]);
        if (row->cell[i][BR_OPS].n)
            fprintf(f, " |%12.2f", v);
        else
            fprintf(f, " |%12s", "-");
    }
    fprintf(f, " | %s\n", row->unit);
}

static void print_head(const struct br *r, const struct br_row *row, FILE *f)
{
    fprintf(f, "\n%s\n%-*s", row->mode, row->unit ? 24 : 14, "");
    for (unsigned i = 0; i < r->ndaemons; i++)
        fprintf(f, " | %-*s", row->unit ? 11 : 24, r->daemon[i]);
    if (!row->unit) {
        fprintf(f, " | ours: operations/s against    CPU\n%-14s", "");
        for (unsigned i = 0; i < r->ndaemons; i++)
            fprintf(f, " |%8s %6s %4s %4s", "kop/s", "cpu us", "kick", "call");
        fprintf(f, " | %7s %7s %7s %7s", "rust", "better", "direct", "/rust");
    }
    fputc('\n', f);
}

void br_print(const struct br *r, FILE *f)
{
    const char *mode = "";
    for (unsigned i = 0; i < r->nrows; i++) {
        const struct br_row *row = &r->row[i];
        if (strcmp(mode, row->mode) != 0)
            print_head(r, row, f);
        mode = row->mode;
        (row->unit ? print_figure : print_speed)(r, row, f);
    }
}

void br_tsv_head(FILE *f)
{
    fputs("mode\top\tunit\tdaemon\trounds\tmedian\tmin\tmax\tcpu_us\tkicks\tcalls\tto_rust\t"
          "to_better\n",
          f);
}

void br_tsv(const struct br *r, FILE *f)
{
    for (unsigned i = 0; i < r->nrows; i++) {
        const struct br_row *row = &r->row[i];
        double rust = best(r, row, BR_OPS, "rust"), both = best(r, row, BR_OPS, NULL);
        for (unsigned k = 0; k < r->ndaemons; k++) {
            const struct br_cell *c = &row->cell[k][BR_OPS];
            double min = 0, max = 0, med = br_median(c);
            for (unsigned j = 0; j < c->n; j++) {
                min = j == 0 || c->v[j] < min ? c->v[j] : min;
                max = c->v[j] > max ? c->v[j] : max;
            }
            if (c->n == 0)
                continue;
            fprintf(f, "%s\t%s\t%s\t%s\t%u\t%.6g\t%.6g\t%.6g\t%.4g\t%.4g\t%.4g\t%.4g\t%.4g\n",
                    row->mode, row->op, row->unit ? row->unit : "op/s", r->daemon[k], c->n, med,
                    min, max, br_median(&row->cell[k][BR_CPU]), br_median(&row->cell[k][BR_KICKS]),
                    br_median(&row->cell[k][BR_CALLS]), rust > 0 ? med / rust : 0,
                    both > 0 ? med / both : 0);
        }
    }
}
