/* SPDX-License-Identifier: BSD-3-Clause
 * What --help, --version and --print-capabilities say. */
#include <stdio.h>

#include "virtiofsd/options-table.h"

#define HELP_INDENT 10

/* What libvirt and others read from us; a word is added when the daemon can do what it means. */
static const char *const features[] = {
    "posix-acl-negotiation-mode", /* --posix-acl and --security-label take never, auto, always */
    "security-label-negotiation-mode",
    "migrate-precopy",
    "separate-options",
};

static void print_option(const struct opt_def *def)
{
    fputs("  ", stdout);
    if (def->letter)
        printf("-%c%s", def->letter, def->name ? ", " : "");
    if (def->name)
        printf("--%s%s", def->type == OPT_SWITCH ? "[no-]" : "", def->name);
    if (def->arg)
        printf(def->bare ? "[=%s]" : def->name ? "=%s" : " %s", def->arg);
    putchar('\n');

    g_auto(GStrv) lines = g_strsplit(def->help, "\n", -1);
    for (char **l = lines; *l; l++)
        printf("%*s%s\n", HELP_INDENT, "", *l);
}

static void print_those(unsigned flag)
{
    for (unsigned i = 0; i < opt_table_len; i++)
        if (opt_table[i].flags & flag)
            printf(" --%s=%s", opt_table[i].name, opt_table[i].arg);
}

static void print_usage(void)
{
    const char *lead = "Usage:";

    for (unsigned i = 0; i < opt_table_len; i++) {
        const struct opt_def *def = &opt_table[i];
        if (!(def->flags & OPT_EITHER))
            continue;
        printf("%s virtiofsd", lead);
        print_those(OPT_NEEDED);
        printf(" --%s=%s [OPTION...]\n", def->name, def->arg);
        lead = "      ";
    }
}

void opt_print_help(void)
{
    printf("virtiofsd: give a host directory to a virtual machine (virtio-fs over vhost-user)\n\n");
    print_usage();
    for (unsigned g = 0; g < opt_group_count; g++) {
        printf("\n%s:\n", opt_group_titles[g]);
        for (unsigned i = 0; i < opt_table_len; i++) {
            if (opt_table[i].group == g)
                print_option(&opt_table[i]);
        }
    }
}

void opt_print_version(void)
{
    printf("virtiofsd %s\n", VIRTIOFSD_VERSION);
}

void opt_print_capabilities(void)
{
    printf("{\n  \"type\": \"fs\",\n  \"features\": [");
    for (unsigned i = 0; i < G_N_ELEMENTS(features); i++)
        printf("%s\n    \"%s\"", i ? "," : "", features[i]);
    printf("\n  ]\n}\n");
}
