#!/usr/bin/env python3
"""Prints build-info.c. The time is the revision's, so that two builds of one revision are the same."""
import subprocess
import sys


def git(root, *args):
    try:
        return subprocess.run(['git', '-C', root, *args], check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ''


def main(root, fallback):
    revision = git(root, 'rev-parse', 'HEAD')
    if revision and git(root, 'status', '--porcelain', '--untracked-files=no'):
        revision += '-modified'
    values = {
        'build_version': revision or fallback,
        'build_time': git(root, 'log', '-1', '--format=%cI'),
        'build_tag': git(root, 'describe', '--tags', '--exact-match'),
    }
    print('#include "build-info.h"\n')
    for name, value in values.items():
        safe = ''.join(c for c in value if c.isalnum() or c in '.:+-_')
        print(f'const char *const {name} = "{safe}";')


main(sys.argv[1], sys.argv[2])
