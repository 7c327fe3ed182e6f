# SPDX-License-Identifier: GPL-2.0
"""usage: unsound.py BUILD-DIRECTORY FILE...

Compiles each FILE as a module of the driver's crate, with the command by which BUILD-DIRECTORY
compiled the crate. rustc must report the errors that the file expects, and none in other lines:
a line expects the error that stands behind its "//~", by its code (E0382), by the name of a
lint, or by a word of the message. A file that expects none must compile.

A file whose directory is called "standin" takes the place of the file of the same name in
loop_worker/, and must compile there.

Exit status 1 if a file does otherwise.
"""

import concurrent.futures
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# The parts of the crate, beside its root.
PARTS = ["abstractions", "backing_file", "loop_cmd", "loop_device", "loop_worker"]
EXPECTED = re.compile(r"//~ (\S+)")
ASSIGNMENT = re.compile(r"^[A-Z_]+=")


def command(build):
    """Return the words by which the crate was compiled, without source and outputs."""
    with open(os.path.join(build, ".rust_loop_main.o.cmd"), encoding="utf-8") as file:
        saved = file.readline().split(":=", 1)[1]
    # Make's escapes of what is special to it.
    words = shlex.split(saved.replace("$(pound)", "#").replace("$$", "$"))
    source = next(word for word in words if word.endswith("rust_loop.rs"))
    return [word for word in words if word != source and not word.startswith("--emit")]


def crate(directory, misuse):
    """Lay out the crate in a directory, with a further module. Return the path of its root."""
    is_standin = os.path.basename(os.path.dirname(misuse)) == "standin"
    for part in PARTS:
        for name in (part, part + ".rs"):
            if is_standin and name == "loop_worker":
                os.mkdir(os.path.join(directory, name))
                for file in os.listdir(os.path.join(TOP, name)):
                    os.symlink(os.path.join(TOP, name, file), os.path.join(directory, name, file))
            else:
                os.symlink(os.path.join(TOP, name), os.path.join(directory, name))
    if is_standin:
        replaced = os.path.join(directory, "loop_worker", os.path.basename(misuse))
        os.remove(replaced)
        os.symlink(misuse, replaced)
        misuse = os.devnull
    os.symlink(misuse, os.path.join(directory, "misuse.rs"))
    root = os.path.join(directory, "rust_loop.rs")
    with open(os.path.join(TOP, "rust_loop.rs"), encoding="utf-8") as file:
        text = file.read()
    with open(root, "w", encoding="utf-8") as file:
        file.write(text + "\n#[allow(dead_code, missing_docs)]\nmod misuse;\n")
    return root


def compile_crate(build, words, directory, root, options):
    """Compile the crate whose root is named. Return the finished rustc."""
    env = dict(os.environ, RUSTC_BOOTSTRAP="1",
               RUST_LOOP_BINDINGS=os.path.join(build, "bindings/bindings_generated.rs"))
    # Assignments come first, and are no words of the command.
    while ASSIGNMENT.match(words[0]):
        name, value = words.pop(0).split("=", 1)
        env[name] = value
    words += ["--emit=metadata=" + os.path.join(directory, "misuse.rmeta"),
              "--error-format=json", *options, root]
    return subprocess.run(words, cwd=build, env=env, stderr=subprocess.PIPE, text=True,
                          check=False)


def errors(build, words, misuse):
    """Compile, and yield the line (None if elsewhere), code and message of each error."""
    with tempfile.TemporaryDirectory(dir=build) as directory:
        root = crate(directory, misuse)
        done = compile_crate(build, words, directory, root, ["-Awarnings"])
    seen = False
    for line in done.stderr.splitlines():
        if not line.startswith("{"):
            continue
        message = json.loads(line)
        if message["level"] != "error" or message["message"].startswith("aborting"):
            continue
        seen = True
        at = next((span["line_start"] for span in message.get("spans", [])
                   if span["is_primary"] and span["file_name"].endswith("misuse.rs")), None)
        code = (message.get("code") or {}).get("code", "")
        yield at, code, message["message"]
    if done.returncode and not seen:
        yield None, "", done.stderr.split("\n", 1)[0]


def check(build, words, misuse):
    """Return what is wrong with a file, a line each."""
    wrong = []
    expected = {}
    with open(misuse, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            found = EXPECTED.search(line)
            if found:
                expected[number] = found.group(1)
    missing = dict(expected)
    for at, code, message in errors(build, list(words), misuse):
        want = expected.get(at)
        if want is None:
            wrong.append(f"{misuse}:{at}: unexpected error: {message} ({code})")
        elif want == code or want in message:
            missing.pop(at, None)
    wrong += [f"{misuse}:{at}: compiles, or fails otherwise; expected {want}"
              for at, want in missing.items()]
    return wrong


def main():
    """Check the files named."""
    build = os.path.abspath(sys.argv[1])
    words = command(build)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(lambda name: check(build, words, os.path.abspath(name)), sys.argv[2:])
        wrong = [line for lines in results for line in lines]
    for line in wrong:
        print(line)
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
