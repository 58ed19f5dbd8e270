#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Collect the system calls that the daemon may make: from comments beside those that make them, and from
sb-calls.ini, which says how the comments look.

Usage: gen-calls.py SB-CALLS.INI ROOT OUTPUT DEPFILE"""

import configparser
import os
import re
import sys

BITS = {'daemon': 'C | W', 'handles': 'H', 'lock': 'L', 'keeper': 'K', 'broker': 'B', 'statfs': 'S'}
MARK = re.compile(r'#syscalls(?::(\w+))? ([a-z0-9_ ]+)')


def marks(text):
    """[(who, [call])] of one source."""
    return [(who or 'daemon', names.split()) for who, names in MARK.findall(text)]


def read(path):
    ini = configparser.ConfigParser(interpolation=None, delimiters=('=',), comment_prefixes=('#',))
    ini.optionxform = str
    with open(path, encoding='utf-8') as f:
        ini.read_file(f)
    return ini


class Calls:
    def __init__(self, ini):
        self.ini, self.who, self.why = ini, {}, {}

    def add(self, name, who, why):
        self.who.setdefault(name, set()).update({'daemon', 'lock'} if who == 'lock' else {who})
        self.why.setdefault(name, []).append(why)

    def collect(self, source, text):
        for who, names in marks(text):
            if who == 'early':
                continue
            if who not in BITS:
                sys.exit(f'{source}: #syscalls:{who}: no such thread')
            for name in names:
                for call in [name] + self.ini.get('instead', name, fallback='').split():
                    self.add(call, who, source)

    def rows(self):
        conditions = self.ini['conditions']
        unused = set(conditions) - set(self.who)
        if unused:
            sys.exit(f'sb-calls.ini: a condition of calls that nobody makes: {", ".join(sorted(unused))}')
        for name in sorted(self.who):
            bits = ' | '.join(BITS[who] for who in BITS if who in self.who[name])
            why = ', '.join(dict.fromkeys(self.why[name])).replace('"', "'")
            yield f'    {{"{name}", {bits}, "{why}", {conditions.get(name, "COND_NONE")}}},'


def sources(root):
    """The program's, by folder; not the tools of the build."""
    for top in ('virtiofsd', 'vhost-user', 'dax', 'sandbox'):
        for folder, _, files in os.walk(os.path.join(root, top)):
            yield folder, sorted(f for f in files if f.endswith('.c') and not f.startswith('gen-'))


def main():
    config, root, output, depfile = sys.argv[1:5]
    calls = Calls(read(config))
    inputs = []
    for folder, files in sources(root):
        inputs.append(folder)  # new files in it count
        for name in files:
            inputs.append(os.path.join(folder, name))
            with open(inputs[-1], encoding='utf-8') as f:
                calls.collect(name, f.read())
    for name, text in calls.ini['libraries'].items():
        who, _, why = text.partition(': ')
        for w in who.split():
            calls.add(name, w, why)
    with open(depfile, 'w', encoding='utf-8') as f:
        f.write(f'{output}: ' + ' '.join(sorted(inputs)) + '\n')
    with open(output, 'w', encoding='utf-8') as f:
        f.write('/* Made by gen-calls.py. */\n' + '\n'.join(calls.rows()) + '\n')


if __name__ == '__main__':
    main()
