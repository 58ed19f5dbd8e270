# SPDX-License-Identifier: BSD-3-Clause
"""The rules of the project as functions of one file's path and text. Each yields (line, complaint)."""

import fnmatch
import re

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]+([<"])([^>"]+)[>"]', re.M)

# Who may include which of our headers; the first row that fits the file counts. Patterns are
# shell patterns, where '*' also goes through '/'. The order of the folders from bottom to top is
# base -> {tree -> fs, vhost-user, sandbox} -> dax -> {fuse, 9p} -> daemon. Of a tree, the core knows
# its table of verbs, and how the host's is made.
BASE = 'virtiofsd/base/*.h'
MAY_INCLUDE = [
    ('virtiofsd/base/*', [BASE]),
    ('virtiofsd/tree/*', [BASE, 'virtiofsd/tree/*.h']),
    ('virtiofsd/fs/*',
     [BASE, 'virtiofsd/fs/*.h', 'virtiofsd/tree/tree.h', 'virtiofsd/tree/tree-types.h', 'virtiofsd/tree/host.h']),
    ('vhost-user/*', [BASE, 'vhost-user/*.h']),
    ('sandbox/*', [BASE, 'sandbox/*.h']),
    ('dax/dax-vu.c', [BASE, 'dax/*.h', 'vhost-user/vu-backend.h']),
    ('dax/*', [BASE, 'dax/*.h']),
    ('virtiofsd/fuse/*',
     [BASE, 'virtiofsd/fs/fs.h', 'virtiofsd/fs/fs-move.h', 'dax/dax-window.h', 'virtiofsd/fuse/*.h',
      'virtiofsd/fuse/fuse-table.def']),
    ('virtiofsd/9p/*', [BASE, 'virtiofsd/fs/fs.h', 'virtiofsd/9p/*.h']),
    # The policies of all parts are what options set.
    ('virtiofsd/options*', [BASE, 'virtiofsd/options*.h', '*-policy.h']),
    ('virtiofsd/*',
     [BASE, 'virtiofsd/options.h', 'virtiofsd/daemon*.h', 'virtiofsd/fs/fs.h',
      'virtiofsd/fs/fs-xattrmap.h', 'virtiofsd/fs/fs-idmap.h', 'virtiofsd/fuse/fuse-srv.h', 'vhost-user/vu-dev.h', 'vhost-user/vu-sock.h',
      'vhost-user/vu-backend.h', 'dax/dax-*.h', 'virtiofsd/9p/p9-srv.h', 'virtiofsd/9p/p9-sock.h',
      'virtiofsd/9p/p9-listen.h', 'virtiofsd/tree/host.h', 'sandbox/sandbox.h']),
    # The fake front-end speaks the protocols by itself: sharing the daemon's code would hide its
    # mistakes.
    ('tests/lib/*', ['tests/lib/*.h']),
    ('tests/wire/*', ['tests/*.h']),
    ('tests/bench/*', ['tests/*.h']),
    ('tests/guest/*', ['tests/*.h']),
    ('tests/*', ['tests/*.h', BASE, 'virtiofsd/fs/*.h', 'virtiofsd/tree/*.h', 'virtiofsd/fuse/*.h', 'vhost-user/*.h',
                 'sandbox/*.h', 'dax/*.h', 'virtiofsd/9p/*.h', 'virtiofsd/options*.h', 'virtiofsd/daemon*.h']),
]

# Headers of libraries that only some folders may include.
LIBRARY_ONLY_IN = [
    ('fuse*.h', ['virtiofsd/fuse/fuse-session.h']),
    ('linux/fuse.h', ['virtiofsd/fuse/*', 'tests/*']),
    ('linux/virtio*', ['vhost-user/*', 'tests/*']),
    ('linux/vhost*', ['vhost-user/*', 'tests/*']),
    ('seccomp.h', ['sandbox/*', 'tests/*']),
    ('cap-ng.h', ['sandbox/*', 'tests/*']),
    ('cmocka.h', ['tests/*']),
]

# Not much above 500 lines (see docs/): a longer file holds more than one noun.
MAX_LINES = 550

WORDS = [
    (re.compile(r'\b(TODO|FIXME|XXX|HACK)\b'), 'an unfinished piece: finish it or leave it out'),
    (re.compile(r'(?<![\w.])/(home|root|work|Users)/\w'), 'a path of one person\'s machine'),
    (re.compile(r'[ \t]+$', re.M), 'white space at the end of a line'),
]


def matches(name, patterns):
    return any(fnmatch.fnmatchcase(name, p) for p in patterns)


def line_of(text, pos):
    return text.count('\n', 0, pos) + 1


def own_include_allowed(path, header):
    if header.endswith('-priv.h'):
        # Private headers stay in their folder; unit tests may look inside.
        folder = header.rpartition('/')[0]
        return path.rpartition('/')[0] == folder or path.startswith(('tests/unit/', 'tests/fuzz/'))
    for files, headers in MAY_INCLUDE:
        if fnmatch.fnmatchcase(path, files):
            return matches(header, headers)
    return False


def includes(path, text):
    seen = set()
    for m in INCLUDE.finditer(text):
        kind, header = m.groups()
        line = line_of(text, m.start())
        if header in seen:
            yield line, f'{header} is included twice'
        seen.add(header)
        if kind == '<':
            for pattern, folders in LIBRARY_ONLY_IN:
                if fnmatch.fnmatchcase(header, pattern) and not matches(path, folders):
                    yield line, f'<{header}> may be included only in {", ".join(folders)}'
        elif '/' not in header or '..' in header:
            yield line, f'"{header}": includes name the path from the root of the tree'
        elif not own_include_allowed(path, header):
            yield line, f'"{header}": this folder may not include that header (tests/style/rules.py)'


def length(path, text):
    n = text.count('\n')
    if n > MAX_LINES:
        yield n, f'{n} lines, more than {MAX_LINES}: split the file by what it is about'


def words(path, text):
    for pattern, complaint in WORDS:
        for m in pattern.finditer(text):
            yield line_of(text, m.start()), f'"{m.group(0).strip()}": {complaint}'


def header_start(path, text):
    if 'SPDX-License-Identifier: BSD-3-Clause' not in text[:200]:
        yield 1, 'the licence line is missing (SPDX-License-Identifier: BSD-3-Clause)'
    if path.endswith('.h') and '#pragma once' not in text:
        yield 1, 'no "#pragma once"'


# Functions of libraries that look at files by absolute names, or are told by them what to do: in a
# sandbox those may be the guest's. Not for the tools of the build.
QUIET = [
    (re.compile(r'\b(g_)?strerror(_r)?\('), 'errno_text()'),
    (re.compile(r'\bg_random_\w+\('), 'random_bytes()'),
    (re.compile(r'\bg_rand_new\('), 'random_bytes()'),
    (re.compile(r'\b(localtime|gmtime|mktime|strftime)(_r)?\('), 'g_date_time_new_now_utc()'),
    (re.compile(r'\bg_get_(num_processors|host_name|user_name|home_dir|tmp_dir)\('), 'nothing'),
    (re.compile(r'\bpthread_(exit|cancel)\('), 'a return (they load a library)'),
]
COMMENT = re.compile(r'/\*.*?\*/', re.S)


def quiet(path, text):
    if not path.startswith(PROGRAM) or path.startswith('sandbox/gen-'):
        return
    code = COMMENT.sub(lambda m: '\n' * m.group(0).count('\n'), text)
    for pattern, instead in QUIET:
        for m in pattern.finditer(code):
            yield line_of(code, m.start()), f'"{m.group(0)}" opens files by absolute names: use {instead}'


# Removing a tree empties what somebody mounted in it. In guests it is `rm -r`: they have nothing of the host's.
REMOVAL = re.compile(r'\brm -(?:rf|fr|Rf|fR)\b(?! --one-file-system)|\brm -r -f\b|\bFTW_DEPTH\b|\brmtree\(')
REMOVERS = ('tests/lib/remove.c', 'tests/guest/prog/*')


def removal(path, text):
    if matches(path, REMOVERS):
        return
    for m in REMOVAL.finditer(text):
        yield line_of(text, m.start()), f'"{m.group(0)}": use remove_tree (tests/remove.sh, tests/lib/remove.h)'


PROGRAM = ('virtiofsd/', 'vhost-user/', 'sandbox/', 'dax/')


def tested(files, table):
    """The whole tree: complaints about program files that no test answers for.

    files: all paths; table: the text of tests/style/tested-by."""
    files = set(files)
    listed = {}
    for line in table.splitlines():
        source, *tests = line.partition('#')[0].split() or ['']
        if source:
            listed[source] = tests
    for source, tests in listed.items():
        if source not in files:
            yield f'{source}: stands in tests/style/tested-by, but not in the tree'
        if not tests:
            yield f'{source}: tests/style/tested-by names no test'
        for test in tests:
            if test not in files:
                yield f'{source}: its test {test} is not there'
    for path in sorted(files):
        if not path.endswith('.c') or not path.startswith(PROGRAM) or path in listed:
            continue
        name = path.rpartition('/')[2]
        if f'tests/unit/test-{name}' not in files:
            yield f'{path}: no tests/unit/test-{name}, and no line in tests/style/tested-by'
