#!/usr/bin/python3
"""Compiles each public header alone, and once more twice in one file: headers.py BUILD_ROOT COMPILER..."""
import glob
import json
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def include_dirs(build):
    """Every -I and -isystem that the build uses: generated headers live there."""
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as f:
        commands = json.load(f)
    dirs = {}
    for entry in commands:
        words = entry["command"].split()
        for at, word in enumerate(words):
            path = words[at + 1] if word == "-isystem" else word[2:] if word.startswith("-I") else None
            if path:
                dirs[os.path.normpath(os.path.join(entry["directory"], path))] = True
    return list(dirs)


def main():
    build, compiler = sys.argv[1], sys.argv[2:]
    headers = sorted(glob.glob(ROOT + "/src/**/include/**/*.h", recursive=True))
    flags = ["-std=gnu17", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-x", "c",
             "-include", ROOT + "/src/base/include/base/banned.h"] + ["-I" + d for d in include_dirs(build)]
    failed = 0
    for header in headers:
        text = f'#include "{header}"\n#include "{header}"\n'
        run = subprocess.run(compiler + flags + ["-"], input=text, text=True, capture_output=True)
        if run.returncode:
            failed += 1
            print(f"{os.path.relpath(header, ROOT)} does not compile alone:\n{run.stderr}")
    print(f"headers: {len(headers)} compiled alone, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
