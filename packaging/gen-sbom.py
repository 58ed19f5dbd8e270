#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Write the bill of materials of what is installed: SPDX 2.3, as JSON.

Usage: gen-sbom.py --version V --root DIR --output FILE [--linked NAME=VERSION…] [--static] [--tool NAME=VERSION…]
                   FILE=INSTALLED-AS…

The same input gives the same text. The time is $SOURCE_DATE_EPOCH; where that is not set, the time of the last commit of
the tree, or now."""

import argparse
import datetime
import hashlib
import json
import os
import shutil
import subprocess
import time

NAME = 'virtiofsd'
# What the libraries' own documents say of the parts that are linked (not of their tools and tests).
LIBRARIES = {
    'glib-2.0': ('LGPL-2.1-or-later', 'https://gitlab.gnome.org/GNOME/glib'),
    'fuse3': ('LGPL-2.1-only', 'https://github.com/libfuse/libfuse'),
    'libcap-ng': ('LGPL-2.1-or-later', 'https://github.com/stevegrubb/libcap-ng'),
    'glibc': ('LGPL-2.1-or-later', 'https://sourceware.org/git/glibc.git'),
    'libseccomp': ('LGPL-2.1-only', 'https://github.com/seccomp/libseccomp'),
}
TYPES = {'.json': 'TEXT', '.1': 'DOCUMENTATION', '.md': 'DOCUMENTATION'}


def created(root):
    seconds = os.environ.get('SOURCE_DATE_EPOCH')
    if not seconds and shutil.which('git'):
        git = subprocess.run(['git', '-C', root, 'log', '-1', '--format=%ct'], capture_output=True, text=True)
        seconds = git.stdout.strip() if git.returncode == 0 else ''
    when = datetime.datetime.fromtimestamp(int(seconds or time.time()), datetime.timezone.utc)
    return when.strftime('%Y-%m-%dT%H:%M:%SZ')


def digest(path, algorithm):
    with open(path, 'rb') as f:
        return hashlib.new(algorithm, f.read()).hexdigest()


def licence_of(root):
    """Its identifier and the line of the copyright, from the file that says so."""
    with open(os.path.join(root, 'LICENSE'), encoding='utf-8') as f:
        lines = f.read().splitlines()
    identifier = next(line for line in lines if line.startswith('SPDX-License-Identifier: ')).partition(': ')[2]
    return identifier, next(line for line in lines if line.startswith('Copyright'))


def file_entry(path, installed, licence, copyright_text):
    name = os.path.basename(installed)
    kind = 'BINARY' if open(path, 'rb').read(4) == b'\x7fELF' else TYPES.get(os.path.splitext(name)[1], 'TEXT')
    entry = {
        'SPDXID': 'SPDXRef-File-' + installed.strip('/').replace('/', '-').replace('_', '-'),
        'fileName': './' + installed.lstrip('/'),
        'fileTypes': [kind],
        'checksums': [{'algorithm': a.upper(), 'checksumValue': digest(path, a)} for a in ('sha1', 'sha256')],
        'licenseConcluded': licence,
        'licenseInfoInFiles': [licence],
        'copyrightText': copyright_text,
    }
    if kind == 'BINARY':
        entry['comment'] = 'As built; packages strip it.'
    return entry


def library_entry(name, version):
    licence, home = LIBRARIES[name]
    return {
        'SPDXID': 'SPDXRef-Package-' + name,
        'name': name,
        'versionInfo': version,
        'downloadLocation': 'NOASSERTION',
        'homepage': home,
        'filesAnalyzed': False,
        'licenseConcluded': 'NOASSERTION',
        'licenseDeclared': licence,
        'copyrightText': 'NOASSERTION',
        'supplier': 'NOASSERTION',
        'primaryPackagePurpose': 'LIBRARY',
        'externalRefs': [{'referenceCategory': 'PACKAGE-MANAGER', 'referenceType': 'purl',
                          'referenceLocator': f'pkg:generic/{name}@{version}'}],
    }


def verification_code(files):
    """SPDX 2.3, 7.9: the SHA1 of the sorted SHA1s of the files."""
    sums = sorted(f['checksums'][0]['checksumValue'] for f in files)
    return hashlib.sha1(''.join(sums).encode()).hexdigest()


def relationship(one, kind, other):
    return {'spdxElementId': one, 'relationshipType': kind, 'relatedSpdxElement': other}


def document(options):
    licence, copyright_text = licence_of(options.root)
    files = [file_entry(*pair.split('=', 1), licence, copyright_text) for pair in options.files]
    own = {
        'SPDXID': 'SPDXRef-Package-' + NAME,
        'name': NAME,
        'versionInfo': options.version,
        'downloadLocation': 'NOASSERTION',
        'filesAnalyzed': True,
        'packageVerificationCode': {'packageVerificationCodeValue': verification_code(files)},
        'licenseConcluded': licence,
        'licenseDeclared': licence,
        'licenseInfoFromFiles': [licence],
        'copyrightText': copyright_text,
        'supplier': 'NOASSERTION',
        'summary': 'vhost-user daemon that gives a host directory to a guest by virtio-fs and 9P',
        'primaryPackagePurpose': 'APPLICATION',
        'externalRefs': [{'referenceCategory': 'PACKAGE-MANAGER', 'referenceType': 'purl',
                          'referenceLocator': f'pkg:generic/{NAME}@{options.version}'}],
    }
    linked = [library_entry(*pair.split('=', 1)) for pair in options.linked]
    tools = [library_entry(*pair.split('=', 1)) for pair in options.tool]
    link = {True: 'STATIC_LINK', False: 'DYNAMIC_LINK'}
    related = [relationship('SPDXRef-DOCUMENT', 'DESCRIBES', own['SPDXID'])]
    related += [relationship(own['SPDXID'], 'CONTAINS', f['SPDXID']) for f in files]
    related += [relationship(own['SPDXID'], link[options.static and p['name'] != 'glibc'], p['SPDXID']) for p in linked]
    related += [relationship(p['SPDXID'], 'BUILD_DEPENDENCY_OF', own['SPDXID']) for p in tools]
    body = {
        'spdxVersion': 'SPDX-2.3',
        'dataLicense': 'CC0-1.0',
        'SPDXID': 'SPDXRef-DOCUMENT',
        'name': f'{NAME}-{options.version}',
        'creationInfo': {'created': created(options.root), 'creators': [f'Tool: {NAME}-gen-sbom-{options.version}']},
        'packages': [own] + linked + tools,
        'files': files,
        'relationships': related,
    }
    # Unique for each document, and no other for the same one.
    body['documentNamespace'] = (f'https://spdx.org/spdxdocs/{NAME}-{options.version}-' +
                                 hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest())
    return body


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--version', required=True)
    parser.add_argument('--root', required=True)
    parser.add_argument('--output', required=True)
    parser.add_argument('--static', action='store_true')
    parser.add_argument('--linked', action='append', default=[])
    parser.add_argument('--tool', action='append', default=[])
    parser.add_argument('files', nargs='+')
    options = parser.parse_args()
    text = json.dumps(document(options), indent=2, sort_keys=True)
    with open(options.output, 'w', encoding='utf-8') as f:
        f.write(text + '\n')


main()
