# SPDX-License-Identifier: GPL-2.0
"""usage: examples.py BUILD-DIRECTORY FILE...

Compiles the examples in the doc comments of each FILE: blocks of code between "```" lines. Each
one is compiled as a module of the driver's crate, with the command by which BUILD-DIRECTORY
compiled the crate, and warnings are errors. A block with an attribute behind its first "```"
(such as "text") is no example. Each FILE must have an example, unless it has no item that is
documented as public to the crate.

Exit status 1 if an example does not compile, or a file has none.
"""

import json
import os
import re
import subprocess
import sys
import tempfile

import unsound

DOC = re.compile(r"^\s*//[/!] ?(.*)$")
ITEM = re.compile(r"^pub\(crate\) (?:const )?(?:unsafe )?(?:struct|enum|union|trait|fn|type)\b")


def blocks(path):
    """Yield line number and lines of each example of a file."""
    start, lines, skipped = None, [], False
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            found = DOC.match(line)
            text = found.group(1) if found else None
            if text is None:
                start, skipped = None, False
            elif text.startswith("```") and (start or skipped):
                if start:
                    yield start, lines
                start, skipped = None, False
            elif text == "```":
                start, lines = number + 1, []
            elif text.startswith("```"):
                skipped = True
            elif start:
                lines.append(text)


def needs_example(path):
    """Return whether a file has items of its own for other files."""
    with open(path, encoding="utf-8") as file:
        return any(ITEM.match(line) for line in file)


def collect(paths, root):
    """Write a module of all examples. Return where its lines come from, and files without."""
    where, missing = {}, []
    with open(root, "w", encoding="utf-8") as out:
        number = 0

        def put(text, place=None):
            nonlocal number
            number += 1
            where[number] = place
            out.write(text + "\n")

        count = 0
        for path in paths:
            found = list(blocks(path))
            if not found and needs_example(path):
                missing.append(path)
            for start, lines in found:
                count += 1
                put(f"mod example_{count} {{")
                for offset, text in enumerate(lines):
                    # rustdoc leaves out the marks of lines that it does not show.
                    put(text.removeprefix("# ") if text != "#" else "", f"{path}:{start + offset}")
                put("}")
    return where, missing


def main():
    """Check the files named."""
    build, paths = os.path.abspath(sys.argv[1]), sys.argv[2:]
    words = unsound.command(build)
    with tempfile.TemporaryDirectory(dir=build) as directory:
        examples = os.path.join(directory, "examples.rs")
        where, missing = collect(paths, examples)
        root = unsound.crate(directory, examples)
        done = unsound.compile_crate(build, words, directory, root, ["-Dwarnings"])
    wrong = [f"{path}: no example" for path in missing]
    failed = False
    for line in done.stderr.splitlines():
        if not line.startswith("{"):
            continue
        message = json.loads(line)
        if message["level"] != "error" or message["message"].startswith("aborting"):
            continue
        failed = True
        span = next((span for span in message.get("spans", []) if span["is_primary"]), None)
        place = "?"
        if span:
            place = f"{span['file_name']}:{span['line_start']}"
            if os.path.basename(span["file_name"]) == "misuse.rs":
                place = where.get(span["line_start"]) or place
        wrong.append(f"{place}: {message['message']}")
    if done.returncode and not failed:
        wrong.append(done.stderr.strip() or "rustc failed")
    for line in wrong:
        print(line)
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
