#!/usr/bin/env python3
"""Writes a file as a C array: embed.py INPUT OUTPUT NAME."""
import sys

data = open(sys.argv[1], "rb").read()
with open(sys.argv[2], "w") as out:
    out.write("/* Generated. */\n#include <stddef.h>\n")
    out.write(f"extern const unsigned char {sys.argv[3]}[];\nextern const size_t {sys.argv[3]}_len;\n")
    out.write(f"const unsigned char {sys.argv[3]}[] = {{\n")
    for i in range(0, len(data), 20):
        out.write("".join(f"{b}," for b in data[i : i + 20]) + "\n")
    out.write(f"}};\nconst size_t {sys.argv[3]}_len = {len(data)};\n")
