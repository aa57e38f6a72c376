# SPDX-License-Identifier: Apache-2.0
"""The command ``hybridhash``: the program itself, which lies in this package."""

import os
import sys


def main() -> None:
    program = os.path.join(os.path.dirname(__file__), "hybridhash")
    os.execv(program, [program, *sys.argv[1:]])


if __name__ == "__main__":
    main()
