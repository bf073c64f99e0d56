#!/usr/bin/python3
"""Checks every #include below src/ against src/rooms.txt, and the table itself for cycles.

A room sees its own files, the public headers of the rooms on its list (direct, not inherited), the foreign headers
on its list, and the C library's. With --table it prints the table for docs/architecture.md.
"""
import os
import re
import sys

SRC = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "src")
SYSTEM = re.compile(r"(sys|linux|arpa|net|netinet|asm)/[\w/-]+\.h$|("
                    r"alloca|assert|ctype|dirent|dlfcn|elf|endian|errno|fcntl|fenv|float|fnmatch|ftw|getopt|glob|"
                    r"grp|ifaddrs|inttypes|langinfo|libgen|limits|locale|malloc|math|mntent|netdb|poll|pthread|"
                    r"pty|pwd|regex|sched|semaphore|setjmp|signal|spawn|stdalign|stdarg|stdatomic|stdbool|stddef|"
                    r"stdint|stdio|stdlib|stdnoreturn|string|strings|syslog|termios|threads|time|unistd|utime|"
                    r"wchar|wctype|wordexp"
                    r")\.h$")
INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)')


def read_rooms():
    rooms = {}
    with open(os.path.join(SRC, "rooms.txt"), encoding="ascii") as f:
        for line in f:
            if line.strip() and not line.startswith("#"):
                name, rooms_seen, foreign = (part.strip() for part in line.split("|"))
                rooms[name] = (rooms_seen.split(), foreign.split())
    return rooms


def check_table(rooms):
    """A list may only name rooms, by the last part of their name, and no room may be reached from itself."""
    by_short = {name.split("/")[-1]: name for name in rooms}
    done, path = set(), []

    def visit(name):
        if name in path:
            yield f"src/rooms.txt: cycle: {' -> '.join(path[path.index(name):] + [name])}"
        elif name not in done:
            path.append(name)
            for short in rooms[name][0]:
                if short not in by_short:
                    yield f"src/rooms.txt: {name} may include {short}, which is no room"
                else:
                    yield from visit(by_short[short])
            path.pop()
            done.add(name)

    for name in rooms:
        yield from visit(name)


def room_of(path, rooms):
    """The room with the longest name that the file (relative to src/) lies in."""
    inside = [name for name in rooms if path.startswith(name + "/")]
    return max(inside, key=len, default=None)


def check_quoted(room, directory, header, rooms):
    head = header.split("/")[0]
    if ".." in header.split("/"):
        return "leaves its folder with '..': include public headers by room, \"json/json.h\""
    inside = [os.path.join(directory, header), os.path.join(SRC, room, header)]
    if any(map(os.path.exists, inside)) or head == room.split("/")[-1]:
        return None
    if header.endswith(".pb-c.h") and (room == "pb" or ("/" not in header and "pb" in rooms[room][0])):
        return None
    if "/" not in header:
        return "is not beside the file"
    if header.endswith("-internal.h"):
        return "is internal to another room"
    if head not in rooms[room][0]:
        return f"is not on the list of {room} in src/rooms.txt"
    return None


def check_angled(room, header, is_test, rooms):
    if SYSTEM.match(header) or (is_test and header == "cmocka.h"):
        return None
    if any(header == f or (f.endswith("/") and header.startswith(f)) for f in rooms[room][1]):
        return None
    return f"is a foreign header that is not on the list of {room} in src/rooms.txt"


def check_file(path, rooms):
    relative = os.path.relpath(path, SRC)
    room = room_of(relative, rooms)
    if not room:
        yield f"src/{relative}: lies in no room of src/rooms.txt"
        return
    is_test = os.path.basename(path).startswith("test-")
    with open(path, encoding="utf-8", errors="replace") as f:
        for number, line in enumerate(f, 1):
            m = INCLUDE.match(line)
            if not m:
                continue
            why = (check_quoted(room, os.path.dirname(path), m[1], rooms) if m[1]
                   else check_angled(room, m[2], is_test, rooms))
            if why:
                yield f"src/{relative}:{number}: {m[1] or m[2]} {why}"


def main():
    rooms = read_rooms()
    if sys.argv[1:] == ["--table"]:
        print("| room | may include | foreign headers |\n| --- | --- | --- |")
        for name, (seen, foreign) in rooms.items():
            print(f"| `{name}` | {' '.join(seen) or '-'} | {' '.join(foreign) or '-'} |")
        return 0
    complaints = list(check_table(rooms))
    files = 0
    for folder, _, names in sorted(os.walk(SRC)):
        for name in sorted(names):
            if name.endswith((".c", ".h")):
                files += 1
                complaints += check_file(os.path.join(folder, name), rooms)
    print("\n".join(complaints + [f"layers: {files} files, {len(complaints)} complaints"]))
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
