# SPDX-License-Identifier: GPL-2.0
"""usage: safety.py FILE...

Finds unsafe blocks and impls without a SAFETY comment above or beside them, and
unsafe functions and traits without a "# Safety" section in their documentation.
Private callbacks do not need one. The exit status is 1 if there are any.

Reads lines, not syntax, which is sufficient for sources formatted by rustfmt.
"""

import re
import sys

STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
DECLARED = re.compile(r'\bunsafe\s+(?:extern\s+""\s+)?(?:fn|trait)\s+\w')
CALLBACK = re.compile(r'^\s*unsafe\s+extern\s+""\s+fn\b')
TRAIT_IMPL = re.compile(r"^unsafe impl\b.*\bfor\b")
USED = re.compile(r"\bunsafe\s*(?:\{|impl\b)")
ENDS = re.compile(r"[;{}]\s*$")


def findings(lines):
    """Yield (line number, what is missing)."""
    doc = comment = ""
    # A comment holds until the statement that it stands above has ended.
    held = False
    # The methods of an unsafe trait are documented where the trait is.
    in_trait_impl = False
    for number, line in enumerate(lines, 1):
        code = STRING.sub('""', line).split("//")[0]
        text = line.strip()
        if text.startswith("///"):
            doc += text
            continue
        if text.startswith("//"):
            comment += text
            continue
        if text.startswith("#["):
            # Between a doc or a comment and its item.
            continue
        held = held or "SAFETY:" in comment
        if TRAIT_IMPL.search(code):
            in_trait_impl = not code.rstrip().endswith("{}")
        elif code.startswith("}"):
            in_trait_impl = False
        # Only the kernel calls a private callback. The SAFETY comments inside it name
        # the guarantees of the kernel.
        if DECLARED.search(code) and not CALLBACK.search(code):
            if "# Safety" not in doc and not in_trait_impl:
                yield number, 'no "# Safety" section'
        elif USED.search(code) and not held and "SAFETY:" not in line:
            yield number, "no SAFETY comment"
        doc = comment = ""
        held = held and not ENDS.search(code)


def main():
    """Print what is found in the files named."""
    found = False
    for name in sys.argv[1:]:
        with open(name, encoding="utf-8") as file:
            for number, what in findings(file):
                print(f"{name}:{number}: {what}")
                found = True
    return found


if __name__ == "__main__":
    sys.exit(main())
