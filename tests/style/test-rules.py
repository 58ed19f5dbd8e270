#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The rules find what they are for, and let pass what is right."""

import unittest

import rules


def complaints(rule, path, text):
    return [c for _, c in rule(path, text)]


class Includes(unittest.TestCase):
    GOOD = [
        ('virtiofsd/base/iov.c', '#include "virtiofsd/base/iov.h"'),
        ('virtiofsd/fs/fs-io.c', '#include "virtiofsd/fs/fs-priv.h"'),
        ('virtiofsd/fs/fs-io.c', '#include "virtiofsd/base/log.h"'),
        ('virtiofsd/fs/fs-io.c', '#include "virtiofsd/tree/tree.h"'),
        ('virtiofsd/tree/host-io.c', '#include "virtiofsd/tree/host-priv.h"'),
        ('vhost-user/vu-ring.c', '#include <linux/virtio_ring.h>'),
        ('virtiofsd/fuse/fuse-session.h', '#include <fuse3/fuse_lowlevel.h>'),
        ('virtiofsd/fuse/fuse-srv.c', '#include <linux/fuse.h>'),
        ('virtiofsd/fuse/fuse-srv.c', '#include "virtiofsd/fs/fs.h"'),
        ('virtiofsd/fuse/fuse-direct.c', '#include "dax/dax-window.h"'),
        ('dax/dax-vu.c', '#include "vhost-user/vu-backend.h"'),
        ('virtiofsd/daemon.c', '#include "virtiofsd/fs/fs.h"'),
        ('virtiofsd/daemon.c', '#include "virtiofsd/daemon.h"'),
        ('virtiofsd/options-help.c', '#include "virtiofsd/options-table.h"'),
        ('tests/unit/test-fs.c', '#include "virtiofsd/fs/fs-priv.h"'),
        ('tests/unit/test-fs.c', '#include <cmocka.h>'),
    ]
    BAD = [
        ('virtiofsd/base/iov.c', '#include "virtiofsd/fs/fs.h"'),
        ('virtiofsd/tree/host-io.c', '#include "virtiofsd/fs/fs.h"'),
        ('virtiofsd/fs/fs-io.c', '#include "virtiofsd/tree/host-priv.h"'),
        ('virtiofsd/fuse/fuse-srv.c', '#include "virtiofsd/tree/tree.h"'),
        ('virtiofsd/fs/fs-io.c', '#include "virtiofsd/fuse/fuse-srv.h"'),
        ('virtiofsd/fs/fs-io.c', '#include <fuse_lowlevel.h>'),
        ('virtiofsd/fs/fs-io.c', '#include <linux/fuse.h>'),
        ('virtiofsd/fs/fs-io.c', '#include <fuse3/fuse_lowlevel.h>'),
        ('virtiofsd/fuse/fuse-ops-name.c', '#include <fuse3/fuse_lowlevel.h>'),
        ('virtiofsd/fs/fs-io.c', '#include "fs-priv.h"'),
        ('virtiofsd/fs/fs-io.c', '#include "../base/log.h"'),
        ('virtiofsd/fs/fs-io.c', '#  include "vhost-user/vu-dev.h"'),
        ('vhost-user/vu-ring.c', '#include "virtiofsd/fs/fs.h"'),
        ('sandbox/sb-ns.c', '#include "virtiofsd/options.h"'),
        ('dax/dax-window.c', '#include "vhost-user/vu-backend.h"'),
        ('dax/dax-vu.c', '#include "vhost-user/vu-dev.h"'),
        ('virtiofsd/fuse/fuse-srv.c', '#include "virtiofsd/fs/fs-priv.h"'),
        ('virtiofsd/fuse/fuse-srv.c', '#include "vhost-user/vu-dev.h"'),
        ('virtiofsd/9p/p9-fid.c', '#include "virtiofsd/fuse/fuse-srv.h"'),
        ('virtiofsd/options.c', '#include "virtiofsd/fs/fs.h"'),
        ('virtiofsd/daemon.c', '#include "virtiofsd/options-table.h"'),
        ('virtiofsd/daemon.c', '#include "virtiofsd/fs/fs-priv.h"'),
        ('virtiofsd/daemon.c', '#include <seccomp.h>'),
        ('tests/lib/fe-ring.c', '#include "vhost-user/vu-ring.h"'),
        ('tests/wire/test-io.c', '#include "virtiofsd/fuse/fuse-wire.h"'),
        ('newfolder/new.c', '#include "virtiofsd/base/log.h"'),
        ('sandbox/sb-ns.c', '#include <errno.h>\n#include <fcntl.h>\n#include <errno.h>\n'),
    ]

    def test_good(self):
        for path, text in self.GOOD:
            self.assertEqual(complaints(rules.includes, path, text), [], (path, text))

    def test_bad(self):
        for path, text in self.BAD:
            self.assertEqual(len(complaints(rules.includes, path, text)), 1, (path, text))

    def test_line_number(self):
        found = list(rules.includes('sandbox/a.c', '\n\n#include "x.h"\n'))
        self.assertEqual(found[0][0], 3)


class Others(unittest.TestCase):
    def test_length(self):
        self.assertEqual(complaints(rules.length, 'a.c', '\n' * rules.MAX_LINES), [])
        self.assertEqual(len(complaints(rules.length, 'a.c', '\n' * (rules.MAX_LINES + 1))), 1)

    def test_words(self):
        for text in ('/* TODO */', 'FIXME', 'cd /home/joe/x', 'PATH=/root/bin', 'int a; \n'):
            self.assertEqual(len(complaints(rules.words, 'a.c', text)), 1, text)
        for text in ('todos', 'AXXXB', 'chroot/path', 'the /home directory', 'a/home/b', 'int a;\n'):
            self.assertEqual(complaints(rules.words, 'a.c', text), [], text)

    def test_quiet(self):
        for text in ('x = g_strerror(e);', 'strerror(e)', 'g_random_int()', 'tm = localtime_r(&t, &m)'):
            self.assertEqual(len(complaints(rules.quiet, 'dax/a.c', text)), 1, text)
            self.assertEqual(complaints(rules.quiet, 'tests/unit/a.c', text), [], text)
        for text in ('errno_text(e)', '/* not\n strerror(3) */', 'my_strerrors(e)'):
            self.assertEqual(complaints(rules.quiet, 'dax/a.c', text), [], text)

    def test_start(self):
        start = '/* SPDX-License-Identifier: BSD-3-Clause */\n'
        self.assertEqual(complaints(rules.header_start, 'a.c', start), [])
        self.assertEqual(complaints(rules.header_start, 'a.h', start + '#pragma once\n'), [])
        self.assertEqual(len(complaints(rules.header_start, 'a.h', start)), 1)
        self.assertEqual(len(complaints(rules.header_start, 'a.c', 'int a;\n')), 1)

    def test_tested(self):
        tree = ['sandbox/a.c', 'sandbox/a.h', 'vhost-user/b.c', 'tests/unit/test-a.c',
                'tests/wire/test-x.c', 'tests/lib/fe.c']
        table = '# comment\nvhost-user/b.c tests/wire/test-x.c\n'
        self.assertEqual(list(rules.tested(tree, table)), [])
        for bad_tree, bad_table in (
                (tree, ''),                                          # b.c stands nowhere
                (tree, 'vhost-user/b.c\n'),                          # listed without a test
                (tree, 'vhost-user/b.c tests/wire/test-y.c\n'),      # a test that is not there
                (tree, table + 'sandbox/gone.c tests/wire/test-x.c\n'),
                (tree + ['virtiofsd/fs/fs-new.c'], table)):
            self.assertEqual(len(list(rules.tested(bad_tree, bad_table))), 1, bad_table)


class Removal(unittest.TestCase):
    def test_bad(self):
        for path, text in [('tests/guest/lib.sh', 'rm -rf "$T"'), ('check', 'trap \'rm -fr "$d"\' EXIT'),
                           ('demo', 'rm -r -f x'), ('tests/unit/fs-tree.c', 'nftw(d, f, 16, FTW_DEPTH);'),
                           ('tests/style/x.py', 'shutil.rmtree(d)')]:
            with self.subTest(text):
                self.assertTrue(complaints(rules.removal, path, text))

    def test_good(self):
        for path, text in [('tests/guest/lib.sh', 'remove_tree "$T"'), ('tests/guest/test-tar.sh', 'rm -r dir'),
                           ('tests/remove.sh', 'rm -rf --one-file-system -- "$dir"'),
                           ('tests/lib/remove.c', 'nftw(d, f, 16, FTW_DEPTH);')]:
            with self.subTest(text):
                self.assertEqual(complaints(rules.removal, path, text), [])


if __name__ == '__main__':
    unittest.main()
