#!/usr/bin/python3
"""A manual page from its template: manual.py TEMPLATE VERSION DATE PROGRAM

@FLAGS@ and @FLAGS COMMAND@ become what the program's --help tells of its flags, @COMMANDS@ its commands.
"""
import re
import subprocess
import sys
import textwrap


def roff(text):
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text[:1] in (".", "'") else text


def running(text):
    return "\n".join(roff(line) for line in textwrap.wrap(text, 72, break_long_words=False, break_on_hyphens=False))


def help_of(program, *command):
    return subprocess.run([program, *command, "--help"], capture_output=True, text=True, check=True).stdout


def flag(name, text, env):
    """An option that has no flag is its environment variable."""
    if name.startswith("("):
        return f".TP\n.B {roff(env)}\n{running(text)}\n"
    return f".TP\n.B {roff(name)}\n{running(text + (f' (environment: {env})' if env else ''))}\n"


def flags(program, *command):
    found = re.findall(r"^  (--\S.*|\(environment only\))\n {8}(.*?)(?: \[\$(.*)\])?$", help_of(program, *command),
                       re.M)
    assert found, f"{program} tells of no flags"
    return "".join(flag(*one) for one in found).rstrip("\n")


def commands(program):
    found = re.findall(r"^  ([a-z][\w-]*)  +(\S.*)$", help_of(program).split("\nflags", 1)[0], re.M)
    assert found, f"{program} tells of no commands"
    return "\n".join(f".TP\n.B {roff(name)}\n{running(text)}" for name, text in found)


def main():
    template, version, date, program = sys.argv[1:]
    with open(template, encoding="utf-8") as f:
        text = f.read()
    text = text.replace("@VERSION@", version).replace("@DATE@", date)
    text = re.sub(r"^@FLAGS ?(.*)@$", lambda m: flags(program, *m[1].split()), text, flags=re.M)
    text = re.sub(r"^@COMMANDS@$", lambda m: commands(program), text, flags=re.M)
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
