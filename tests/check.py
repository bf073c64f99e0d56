#!/usr/bin/python3
"""The local checker: what compilers and clang-format do not see. Each complaint names its reason."""
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FUNCTION_MAX, FILE_MAX, LINE_MAX, PYTHON_LINE_MAX = 120, 1200, 110, 120

# path -> why it may be longer. A new entry needs a reason that a reviewer accepts.
LONG_FILES = {}
# "path:function" -> why.
LONG_FUNCTIONS = {}

# (pattern, which files, reason). Patterns see code without comments and string contents.
BANNED = [
    (r"\balloca\s*\(", r"\.[ch]$", "alloca has no bound: use a Buf or a fixed array"),
    (r"\bv?f?scanf\s*\(", r"\.[ch]$", "scanf reads without checking: use str_to_* and str_cut"),
    (r"\bstrerror\s*\(", r"\.[ch]$", "strerror is not thread-safe: use err_set_errno"),
    (r"(?<![\w.>])(s?rand|s?random|drand48)\s*\(", r"\.[ch]$", "predictable numbers: use random_bytes"),
    (r"\bsignal\s*\((?!\w+, SIG_(IGN|DFL))", r"\.[ch]$", "signal() differs between systems: use sigaction or loop's signal_watch"),
    (r"\bu?sleep\s*\(", r"\.[ch]$", "a sleep is no synchronisation: wait for the condition"),
    (r"\bnanosleep\s*\(", r"^src/(?!.*/test-).*\.[ch]$", "a program that sleeps serves nobody: use a timer"),
    (r"\b(vfork|daemon)\s*\(", r"\.[ch]$", "use loop's children"),
    (r"\b_?exit\s*\(", r"^src/(?!.*(main|/test-|-main)).*\.[ch]$", "only a program's main ends the process"),
    (r"\bsetenv\s*\(|\bputenv\s*\(", r"^src/(?!.*/test-).*\.[ch]$", "the environment is shared by all threads"),
    (r"\bfopen\s*\(", r"^src/(?!.*/test-).*\.[ch]$", "fopen leaks its descriptor into children: use file_read, or open with O_CLOEXEC"),
    (r"\bpthread_create\s*\(", r"^src/(?!(loop|store)/|.*/test-).*\.[ch]$", "only loop and store create threads"),
]
# (path, start of the reason): where the ban does not hold.
EXCEPTIONS = {
    ("src/cli/main.c", "the environment is shared"),  # acpctl has no thread yet
    ("src/cli/pager.c", "the environment is shared"),
    ("src/loop/child.c", "only a program's main ends"),  # the child between fork and exec
    ("src/launcher/up.c", "only a program's main ends"),  # the children that become the supervisor
    ("src/sandbox/sandbox.c", "only a program's main ends"),  # a child that tries a sandbox out
    ("src/control-plane/shim.c", "only a program's main ends"),  # the half that detaches itself ends
    ("src/control-plane/shim-child.c", "only a program's main ends"),  # the child between fork and exec
}

COMMENT_OR_STRING = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def blank(match):
    """Keeps the lines, drops the text; of a string the quotes stay."""
    text = match[0]
    return '""' + "\n" * text.count("\n") if text[0] == '"' else " " + "\n" * text.count("\n")


def code_only(text):
    return COMMENT_OR_STRING.sub(blank, text)


def check_lines(path, text):
    is_c = path.endswith((".c", ".h", ".def"))
    for number, line in enumerate(text.split("\n"), 1):
        where = f"{path}:{number}"
        if not line.isascii() and not path.endswith((".md", ".py")):
            yield f"{where}: not ASCII: write it as an escape"
        if line != line.rstrip():
            yield f"{where}: white space at the end of the line"
        if is_c and "\t" in line:
            yield f"{where}: tab: four spaces"
        limit = LINE_MAX if is_c else PYTHON_LINE_MAX if path.endswith(".py") else None
        if limit and len(line) > limit:
            yield f"{where}: {len(line)} columns: at most {limit}"
        if re.search(r"\b(TODO|FIXME|XXX|HACK)\b", line) and not re.search(r"#\d+", line):
            yield f"{where}: an open end without an issue number"
        if re.search(r"(?<![\w.$}~-])/(work|root|mnt|Users)/", line) or re.search(r"/home/(?!USER)\w+/", line):
            yield f"{where}: a path of somebody's machine"
    if text and not text.endswith("\n"):
        yield f"{path}: no newline at the end"


def check_banned(path, code):
    for pattern, files, reason in BANNED:
        if not re.search(files, path):
            continue
        if any(path == p and reason.startswith(r) for p, r in EXCEPTIONS):
            continue
        for m in re.finditer(pattern, code):
            yield f"{path}:{code.count(chr(10), 0, m.start()) + 1}: {m[0].strip()}...: {reason}"


def check_secrets(path, text):
    """A secret in a format or a log field. Revealing into a header or a file is what secret_reveal is for."""
    for number, line in enumerate(text.split("\n"), 1):
        if "secret_reveal" not in line:
            continue
        if re.search(r"STR_ARG\(\s*secret_reveal|F_STRV?\(|log_\w+\(|printf|err_(set|wrap)", line):
            yield f"{path}:{number}: a secret in a text: it would end in logs or error messages"


def check_lengths(path, text):
    lines = text.split("\n")
    if len(lines) - 1 > FILE_MAX and path not in LONG_FILES:
        yield f"{path}: {len(lines) - 1} lines: at most {FILE_MAX}; split it by nouns"
    start = None
    for number, line in enumerate(lines, 1):
        if line == "{":
            start = number
        elif line == "}" and start:
            name = re.search(r"(\w+)\(", lines[start - 2]) or re.search(r"(\w+)\(", lines[start - 3])
            length = number - start - 1
            key = f"{path}:{name[1] if name else '?'}"
            if length > FUNCTION_MAX and key not in LONG_FUNCTIONS:
                yield f"{path}:{start}: function of {length} lines: at most {FUNCTION_MAX}"
            start = None


def check_header(path, text):
    if path.endswith(".h") and "#pragma once" not in text:
        yield f"{path}: no #pragma once"


def check_own_header_first(path, text, files):
    """x.c includes x.h (or an internal header that does) first, which proves that the header stands alone."""
    folder, stem = os.path.split(path[:-2])
    public = f"{folder}/include/{os.path.basename(folder)}/{stem}.h"
    if not path.endswith(".c") or public not in files:
        return
    first = re.search(r'^#include\s+["<]([^">]+)[">]', text, re.M)
    if not first or not (public.endswith("/" + first[1]) or first[1].endswith("-internal.h")):
        yield f"{path}: does not include its own header first"


def check_rooms(files):
    for path in files:
        if path.startswith("src/") and path.endswith("/meson.build"):
            if os.path.dirname(path) + "/README.md" not in files:
                yield f"{os.path.dirname(path)}: a room without a README.md of a dozen lines"


def project_files():
    """Without git, so that a tarball can be checked too."""
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [d for d in folders if not re.match(r"\.git$|build|node_modules|\.venv|__pycache__|\.\w+_cache", d)]
        for name in names:
            yield os.path.relpath(os.path.join(folder, name), ROOT)


def main():
    files = set(project_files())
    complaints = list(check_rooms(files))
    checked = 0
    for path in sorted(files):
        if path.startswith(("tests/fuzz/corpus/", "docs/decisions/")) or not re.search(
                r"\.(c|h|def|py|sh|proto|md|txt)$|meson\.build$|Makefile$", path):
            continue
        checked += 1
        with open(os.path.join(ROOT, path), encoding="utf-8") as f:
            text = f.read()
        if path != "tests/check.py":
            complaints += check_lines(path, text)
        if path.endswith((".c", ".h")):
            code = code_only(text)
            complaints += check_banned(path, code)
            complaints += check_secrets(path, text)
            complaints += check_lengths(path, text)
            complaints += check_header(path, text)
            complaints += check_own_header_first(path, text, files)
    print("\n".join(complaints + [f"check: {checked} files, {len(complaints)} complaints"]))
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
