#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Functions of more than 80 lines, from the first line of the declaration to the closing brace. Prints them.
  check_function_length.py FOLDER... [--limit N]     status 1 when there is one
A lambda belongs to its function. Preprocessor lines count as lines, but their braces don't count."""
import argparse
import pathlib
import re
import sys

SUFFIXES = {".h", ".cpp", ".cu", ".cuh"}
# Comments, literals and preprocessor lines (with continued ones): what may hold braces that are no code.
NO_CODE = re.compile(r'//[^\n]*|/\*.*?\*/|R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"'
                     r"|(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])'|^[ \t]*#(?:\\\n|[^\n])*", re.S | re.M)
# A brace after this opens no function's body: namespaces, types, and lists of values.
NO_FUNCTION = re.compile(r"^(?:inline\s+)?(?:namespace|extern)\b|^(?:typedef\s+)?(?:class|struct|union|enum)\b[^()]*$|=\s*$")


def functions(text):
    """(line of the declaration, lines, declaration) of every function's definition."""
    code = NO_CODE.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), text)
    outer = []  # of each open brace outside of functions: nothing; within one: its start
    head, depth, start, declaration = 0, 0, None, ""
    for brace in re.finditer(r"[{};]", code):
        at = brace.start()
        if start is not None:  # in a function's body
            depth += {"{": 1, "}": -1, ";": 0}[brace.group()]
            # `member{value}` of an initialiser list ends before a comma or the body.
            if depth == 0 and brace.group() == "}" and not re.match(r"\s*[,{]", code[at + 1:at + 200]):
                first = code.count("\n", 0, start) + 1
                yield first, code.count("\n", start, at) + 1, declaration
                start, head = None, at + 1
            continue
        if brace.group() == "{":
            before = code[head:at]
            begin = head + len(before) - len(before.lstrip())
            said = re.sub(r"^template\s*<.*?>\s*(?=[\w_:~]+[\s*&])", "", " ".join(before.split()))
            if "(" in said and not NO_FUNCTION.search(said):
                start, depth, declaration = begin, 1, said.split("(")[0].strip()
            else:
                outer.append(at)
                head = at + 1
        else:
            if brace.group() == "}" and outer:
                outer.pop()
            head = at + 1


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("folders", nargs="+", type=pathlib.Path)
    p.add_argument("--limit", type=int, default=80)
    a = p.parse_args()
    long, seen = 0, 0
    for folder in a.folders:
        for path in sorted(f for f in folder.rglob("*") if f.suffix in SUFFIXES):
            for line, lines, name in functions(path.read_text()):
                seen += 1
                if lines > a.limit:
                    long += 1
                    print(f"{path}:{line}: {name} has {lines} lines, at most {a.limit}: cut it where the ideas part")
    if seen == 0:
        sys.exit(f"no function in {', '.join(map(str, a.folders))}")
    return 1 if long else 0


if __name__ == "__main__":
    sys.exit(main())
