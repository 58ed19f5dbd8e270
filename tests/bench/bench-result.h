/* SPDX-License-Identifier: BSD-3-Clause
 * Samples of all rounds, their medians, and how they are shown. */
#pragma once

#include <stdio.h>

#define BR_MAX_ROUNDS  64
#define BR_MAX_DAEMONS 12
#define BR_MAX_ROWS    80

/* One figure of one daemon: a sample per round. */
struct br_cell {
    unsigned n;
    double v[BR_MAX_ROUNDS];
};

enum br_figure {
    BR_OPS,   /* operations per second, or for start-up rows the figure itself */
    BR_CPU,   /* daemon CPU per operation, us */
    BR_KICKS, /* per operation */
    BR_CALLS,
    BR_FIGURES,
};

struct br_row {
    char mode[24]; /* "16 in flight, one CPU" */
    char op[32];
    const char *unit; /* NULL: the four figures; else one figure in this unit, less is better */
    struct br_cell cell[BR_MAX_DAEMONS][BR_FIGURES];
};

struct br {
    unsigned ndaemons, nrows;
    const char *daemon[BR_MAX_DAEMONS];
    struct br_row row[BR_MAX_ROWS];
};

/* The row of (mode, op), made when it is new. */
struct br_row *br_row(struct br *r, const char *mode, const char *op, const char *unit);
void br_add(struct br_row *row, unsigned daemon, enum br_figure f, double v);
/* 0 when there is no sample. */
double br_median(const struct br_cell *c);
/* The table for people. */
void br_print(const struct br *r, FILE *f);
/* One line per (row, daemon), tab-separated; br_tsv_head() writes the line of titles. */
void br_tsv_head(FILE *f);
void br_tsv(const struct br *r, FILE *f);
