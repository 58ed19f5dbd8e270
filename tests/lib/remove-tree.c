/* SPDX-License-Identifier: BSD-3-Clause
 * usage: remove-tree DIR; the C tests' remover as a program, for the test that holds it back. */
#include "tests/lib/remove.h"

int main(int argc, char **argv)
{
    return argc == 2 && remove_tree(argv[1]) ? 0 : 1;
}
