# SPDX-License-Identifier: GPL-2.0
"""usage: cycles.py FILE...

Looks for cycles between the Rust files of a crate, whose paths are relative to the crate's root. A
file uses another one if it names an item that the other one defines, in a path that begins with
crate, super or self. An item that a module re-exports counts as one of the file that defines it,
and a re-export is no use. So a module may re-export the items of its parts, which may use it. The
root of the crate is left out: it starts everything, and has the parameters of the module.

Prints a shortest cycle for each set of files that use each other. Exit status 1 if there is one.
"""

import re
import sys

COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.S)
STRING = re.compile(r'b?"(?:\\.|[^"\\])*"', re.S)
TESTS = re.compile(r"#\[kunit_tests\(\w+\)\]\s*mod \w+ \{.*?\n\}", re.S)
VISIBILITY = re.compile(r"\bpub\(in [^)]*\)")
USE = re.compile(r"\b(pub(?:\([^)]*\))?\s+)?use\s+([^;]*);")
PATH = re.compile(r"(?<![\w:$])(?:crate|super|self)(?:::\w+)+")


def module(path):
    """Return the module of a file, as a tuple of names."""
    names = path.removesuffix(".rs").split("/")
    return () if "/" not in path and names[0] == ROOT else tuple(names)


def leaves(text, prefix=()):
    """Yield the paths of a use tree and the names that they get, without "as"."""
    text = text.strip()
    if "{" not in text:
        words = text.split()
        path = prefix + tuple(words[0].split("::")) if words else prefix
        if path[-1:] == ("self",):
            path = path[:-1] or path
        yield path, words[2] if len(words) == 3 else path[-1]
        return
    head, rest = text.split("{", 1)
    prefix += tuple(name for name in head.strip().split("::") if name)
    depth, item = 0, ""
    for char in rest.rsplit("}", 1)[0] + ",":
        if char == "," and depth == 0:
            if item.strip():
                yield from leaves(item, prefix)
            item = ""
        else:
            depth += {"{": 1, "}": -1}.get(char, 0)
            item += char


class Crate:
    """The files of a crate."""

    def __init__(self, paths):
        self.files = {module(path): path for path in paths}
        self.exports = {}
        self.used = {}
        for name, path in self.files.items():
            with open(path, encoding="utf-8") as file:
                self.read(name, file.read())

    def absolute(self, here, path):
        """Return a path from the root of the crate, None if it is of another crate."""
        if path[0] == "crate":
            return path[1:]
        if path[0] == "self":
            return here + path[1:]
        if path[0] == "super":
            while path[:1] == ("super",):
                here, path = here[:-1], path[1:]
            return here + path
        # A path of edition 2021 that begins with the name of a module below.
        return here + path if here + path[:1] in self.files else None

    def read(self, name, text):
        """Note what a file uses and re-exports."""
        text = TESTS.sub("", STRING.sub('""', COMMENT.sub("", text)))
        used = self.used.setdefault(name, set())
        for found in USE.finditer(text):
            for path, alias in leaves(found.group(2)):
                path = self.absolute(name, path)
                if path is None:
                    continue
                if found.group(1):
                    self.exports[name + (alias,)] = path
                else:
                    used.add(path)
        for found in PATH.finditer(VISIBILITY.sub("pub", USE.sub("", text))):
            path = self.absolute(name, tuple(found.group(0).split("::")))
            if path:
                used.add(path)

    def definer(self, path):
        """Return the module whose file defines the item of a path."""
        for _ in range(20):
            length = next((n for n in range(1, len(path) + 1) if path[:n] in self.exports), None)
            if length is None:
                break
            path = self.exports[path[:length]] + path[length:]
        while path and path not in self.files:
            path = path[:-1]
        return path

    def edges(self):
        """Return the modules that each module uses."""
        found = {}
        for name, paths in self.used.items():
            found[name] = {self.definer(path) for path in paths} - {name, ()}
            found[name] &= self.files.keys()
        return found


def shortest_cycle(edges, start):
    """Return a shortest way from a module to itself, None if there is none."""
    ways, seen = [[start]], {start}
    for way in ways:
        for name in sorted(edges[way[-1]]):
            if name == start:
                return way + [name]
            if name not in seen:
                seen.add(name)
                ways.append(way + [name])
    return None


def main():
    """Check the files named."""
    crate = Crate(sys.argv[1:])
    edges, reported, wrong = crate.edges(), set(), False
    cycles = filter(None, (shortest_cycle(edges, name) for name in sorted(edges)))
    for cycle in sorted(cycles, key=len):
        if reported.isdisjoint(cycle):
            print("cycle: " + " -> ".join(crate.files[name] for name in cycle))
            wrong = True
        reported.update(cycle)
    return wrong


ROOT = "rust_loop"

if __name__ == "__main__":
    sys.exit(main())
