# SPDX-License-Identifier: Apache-2.0
"""Doxygen's input filter: our headers' plain comments as it takes them. c_comments.py HEADER"""

import re
import sys

text = open(sys.argv[1], encoding="utf-8").read()
text = re.sub(r"^/\* SPDX.*?\*/\n|^// SPDX.*\n", "", text)
text = re.sub(r"^/\* -{3,}.*?\*/$", "", text, flags=re.M)  # titles of sections
if sys.argv[1].endswith(".h"):
    text = re.sub(r"\A/\* ", "/** \\\\file\n * ", text)
    # A struct or an enum once, not also as a typedef of the same name.
    text = re.sub(r"^typedef (struct|enum) (\w+) \{(.*?)\} \2;", r"\1 \2 {\3};", text, flags=re.M | re.S)
    # Behind a member or a value, the comment is of that; otherwise of what follows.
    text = re.sub(r"^([^\n/*]*\S[^\n/*]*)/\* ", r"\1/**< ", text, flags=re.M)
    text = re.sub(r"^( *)/\* ", r"\1/** ", text, flags=re.M)
else:
    text = re.sub(r"\A((?://.*\n)+)", lambda m: "/// \\file\n" + re.sub(r"^//", "///", m[1], flags=re.M), text)
sys.stdout.write(text)
