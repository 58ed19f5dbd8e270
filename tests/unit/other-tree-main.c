/* SPDX-License-Identifier: BSD-3-Clause
 * The daemon over another tree than the host's directory. */
#include "tests/unit/tree-over.h"
#include "virtiofsd/daemon.h"

static struct tree *make_tree(const struct options *o, const struct sb_result *sb, GError **err)
{
    return TREE_OVER(daemon_tree(o, sb, err));
}

int main(int argc, char **argv)
{
    return daemon_main(argc, argv, make_tree);
}
