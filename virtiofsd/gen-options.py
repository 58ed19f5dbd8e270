#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Make of options.ini the parser's table in C, the OPTIONS of the manual page, or the completion of bash.

Usage: gen-options.py OPTIONS.INI c OUTPUT
       gen-options.py OPTIONS.INI man|bash OUTPUT TEMPLATE [VERSION]

A template has @options@ where the text goes; that for bash also @values@."""

import configparser
import re
import sys

KEYS = {'kind', 'field', 'arg', 'min', 'max', 'most', 'power-of-2', 'zero-too', 'once', 'old-name', 'words',
        'old-words', 'needed', 'either', 'bare', 'letter', 'alias', 'alias-value', 'default', 'default-value', 'default-text',
        'complete', 'help', 'man'}
FLAGS = ('once', 'power-of-2', 'old-name', 'zero-too', 'needed', 'either')
# What the parser (options-value.c) writes to a field of each kind.
TYPES = {'switch': ('bool',), 'word': ('unsigned',), 'number': ('unsigned', 'int', 'uint64_t'), 'size': ('uint64_t',),
         'seconds': ('double',), 'string': ('char *',), 'texts': ('GPtrArray *',), 'id-map': ('struct sb_idmaps',)}
WITHOUT_FIELD = ('alias', 'old-list', 'nothing', 'absent', 'help', 'version', 'capabilities')
HELP_WIDTH = 78
UNITS = {'K': 10, 'M': 20, 'G': 30, 'T': 40}


class Row:
    """One option: its keys as attributes, with '_' for '-'; None where a key is missing."""

    def __init__(self, name, keys, group):
        unknown = set(keys) - KEYS
        if unknown:
            raise ValueError(f'unknown key: {", ".join(sorted(unknown))}')
        for key in KEYS:
            setattr(self, key.replace('-', '_'), keys.get(key, '').strip('\n') or None)
        self.group = group
        self.name = None if name.startswith('-') else name
        if not self.name:
            self.letter = name[1:]
        self.shown = '--' + name if self.name else name
        self.values = words_of(self.words)
        self.check()

    def check(self):
        for key in ('kind', 'help') + (() if self.kind == 'absent' else ('man',)):
            if not getattr(self, key):
                raise ValueError(f'no {key}')
        if (self.field is None) != (self.kind in WITHOUT_FIELD):
            raise ValueError(f'a field is {"missing" if self.field is None else "of no use"}')
        for word, _ in self.values:
            if not re.search(rf'\b{re.escape(word)}\b', self.man.replace('\\-', '-')):
                raise ValueError(f'the manual text does not explain "{word}"')
        for line in self.help.split('\n'):
            if len(line) > HELP_WIDTH:
                raise ValueError(f'a line of help is too long: {line}')

    def has(self, flag):
        return getattr(self, flag.replace('-', '_')) == 'yes'

    def default_shown(self):
        return self.default_text or self.default or ('off' if self.kind == 'switch' else None)


class Group:
    def __init__(self, title, keys):
        self.title, self.help, self.man = title, keys.get('help', title), keys.get('man', '').strip('\n')
        self.rows = []


def words_of(text):
    """[(word, value in C or None)]"""
    pairs = (word.partition('=') for word in (text or '').split())
    return [(word, value or None) for word, _, value in pairs]


def read(path):
    ini = configparser.ConfigParser(interpolation=None, delimiters=('=',), comment_prefixes=('#',),
                                    empty_lines_in_values=False, default_section='no default')
    ini.optionxform = str
    with open(path, encoding='utf-8') as f:
        ini.read_file(f)
    groups = []
    for name in ini.sections():
        if name.startswith('group '):
            groups.append(Group(name[6:], ini[name]))
            continue
        try:
            groups[-1].rows.append(Row(name, ini[name], len(groups) - 1))
        except ValueError as e:
            sys.exit(f'{path}: [{name}]: {e}')
    return groups


# ---- C ----

def quoted(text):
    return '"' + text.replace('\\', '\\\\').replace('"', '\\"').replace('\n', '\\n') + '"'


def help_text(row):
    lines = row.help.split('\n')
    shown = row.default_text or row.default
    if shown:
        shown = f'[default: {shown}]'
        if len(lines[-1]) + 1 + len(shown) <= HELP_WIDTH:
            lines[-1] += ' ' + shown
        else:
            lines.append(shown)
    return '\n'.join(lines)


def default_value(row):
    """The C expression of the field's default; None: all bits zero."""
    if row.default_value or not row.default:
        return row.default_value
    if row.kind == 'switch':
        return {'on': 'true', 'off': 'false'}[row.default]
    if row.kind == 'word':
        return dict(row.values)[row.default]
    if row.kind == 'size' and row.default[-1] in UNITS:
        return f'UINT64_C({row.default[:-1]}) << {UNITS[row.default[-1]]}'
    if row.kind in ('size', 'number', 'seconds'):
        return row.default
    sys.exit(f'{row.shown}: of kind {row.kind} there is no default; say it by default-text')


def c_words(row, name):
    yield f'static const struct opt_word {name}[] = {{'
    for word, value in row.values:
        yield f'    {{{quoted(word)}, {value or 0}, false}},'
    for word, value in words_of(row.old_words):
        yield f'    {{{quoted(word)}, {value or 0}, true}},'
    yield '    {NULL, 0, false},'
    yield '};'


def c_row(row, words):
    fields = {
        'name': row.name and quoted(row.name),
        'letter': row.letter and f"'{row.letter}'",
        'arg': row.arg and quoted(row.arg),
        'type': 'OPT_' + row.kind.upper().replace('-', '_'),
        'group': row.group,
        'flags': ' | '.join('OPT_' + f.upper().replace('-', '_') for f in FLAGS if row.has(f)),
        'offset': row.field and f'offsetof(struct options, {row.field})',
        'size': row.field and f'sizeof(((struct options *)0)->{row.field})',
        'min': row.min, 'max': row.max, 'most': row.most,
        'words': row.words and words,
        'bare': row.bare and quoted(row.bare),
        'alias': row.alias and quoted(row.alias),
        'alias_value': row.alias_value and quoted(row.alias_value),
        'help': quoted(help_text(row)),
    }
    yield '    {'
    for key, value in fields.items():
        if value not in (None, ''):
            yield f'        .{key} = {value},'
    yield '    },'


def c_check(row):
    """A field of another type would be written beyond, or in part."""
    types = ', '.join(f'{t}: 1' for t in TYPES[row.kind])
    yield (f'_Static_assert(_Generic(((struct options *)0)->{row.field}, {types}, default: 0), '
           f'"{row.shown}: a field of another type");')


def make_c(groups):
    rows = [row for group in groups for row in group.rows]
    yield '/* Made by gen-options.py from options.ini. */'
    yield '#include "virtiofsd/options-table.h"'
    yield 'const char *const opt_group_titles[] = {'
    for group in groups:
        yield f'    {quoted(group.help)},'
    yield '};'
    yield f'const unsigned opt_group_count = {len(groups)};'
    for i, row in enumerate(rows):
        if row.words:
            yield from c_words(row, f'words_{i}')
    yield 'const struct opt_def opt_table[] = {'
    for i, row in enumerate(rows):
        yield from c_row(row, f'words_{i}')
    yield '};'
    yield f'const unsigned opt_table_len = {len(rows)};'
    yield f'_Static_assert({len(rows)} <= OPT_MAX, "struct options counts too few");'
    for row in rows:
        if row.field:
            yield from c_check(row)
    yield 'const struct options opt_defaults = {'
    for row in rows:
        value = default_value(row)
        if value is not None:
            yield f'    .{row.field} = {value},'
    yield '};'


# ---- the manual page ----

def escaped(text):
    """man(7), with the hyphens of long options as what they are."""
    return re.sub(r'(?<![\w\\-])--\w[\w-]*', lambda m: m.group(0).replace('-', '\\-'), text)


def man_tag(row):
    name = row.shown.replace('-', '\\-')
    if row.kind == 'switch':
        return '.B ' + name.replace('\\-\\-', '\\-\\-[no\\-]', 1)
    if row.kind == 'old-list':
        return f'.BI "{name} " WORD\\fR[\\fB=\\fIVALUE\\fR][\\fB,\\fR...]'
    if row.bare:
        return f'.BR {name} [=\\fI{row.arg}\\fR]'
    if row.arg:
        return f'.BI {name}= ' + (row.arg if row.arg.startswith(':') else row.arg.replace(':', ' : '))
    if row.letter and row.name:
        return f'.BR \\-{row.letter} ", " {name}'
    return f'.B {name}'


def man_text(row, old_names):
    default = row.default_shown()
    text = escaped(row.man).replace('@old-names@', old_names).replace('@default@', default or '')
    if default and row.field and not re.search(r'^Default:', text, re.M):
        text += ('\n.IP' if text.endswith('\n.RE') else '') + f'\nDefault: {escaped(default)}.'
    return text


def make_man(groups):
    old = ', '.join(sorted(row.name.replace('-', '_') for g in groups for row in g.rows if row.has('old-name')))
    for group in groups:
        yield f'.SS {group.title}'
        if group.man:
            yield escaped(group.man)
        refused = [row.shown.replace('-', '\\-') for row in group.rows if row.kind == 'absent']
        if refused:
            yield '.BR ' + ' ", " '.join(refused) + ' .'
        for row in group.rows:
            if row.kind != 'absent':
                yield from ('.TP', man_tag(row), man_text(row, old))


# ---- the completion ----

def bash_case(names, *body):
    yield f'        {" | ".join(names)})'
    for line in body + ('return', ';;'):
        yield f'            {line}'


def make_values(groups):
    """One branch for each way to complete a value."""
    rows = [row for g in groups for row in g.rows if row.arg]
    ways = {'dir': '_filedir -d', 'file': '_filedir', 'group': 'COMPREPLY=($(compgen -g -- "$cur"))'}
    for way, line in ways.items():
        yield from bash_case([row.shown for row in rows if row.complete == way], line)
    lists = {}
    for row in rows:
        if row.values:
            lists.setdefault(' '.join(word for word, _ in row.values), []).append(row.shown)
    for words, names in lists.items():
        yield from bash_case(names, f"COMPREPLY=($(compgen -W '{words}' -- \"$cur\"))")
    yield from bash_case([row.shown for row in rows if not row.complete and not row.values])


def offered(row):
    if row.kind == 'switch':
        return '--no-' + row.name if row.default == 'on' or (row.default_text or '').startswith('on') else row.shown
    return row.shown + ('=' if row.arg else '')


def make_options(groups):
    """What is offered; not what is there for compatibility."""
    for group in groups:
        names = [offered(row) for row in group.rows
                 if row.name and row.kind not in ('alias', 'nothing', 'absent')]
        if names:
            yield '        ' + ' '.join(names)


def main():
    groups = read(sys.argv[1])
    form, output = sys.argv[2:4]
    if form == 'c':
        text = '\n'.join(make_c(groups)) + '\n'
    else:
        with open(sys.argv[4], encoding='utf-8') as f:
            text = f.read()
        make = make_man if form == 'man' else make_options
        text = text.replace('@version@', (sys.argv[5:] or [''])[0])
        text = text.replace('@options@\n', '\n'.join(make(groups)) + '\n')
        text = text.replace('@values@\n', '\n'.join(make_values(groups)) + '\n')
    with open(output, 'w', encoding='utf-8') as f:
        f.write(text)


main()
