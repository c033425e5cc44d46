#!/usr/bin/env python3
"""Puts what comes on standard input into a document, in place of what stands there between <!-- NAME --> and
<!-- end of NAME -->."""

import pathlib
import re
import sys

if len(sys.argv) != 3:
    sys.exit("usage: paste.py NAME DOCUMENT")
name, path = sys.argv[1], pathlib.Path(sys.argv[2])
begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
text, count = re.subn(re.escape(begin) + ".*?" + re.escape(end), lambda _: f"{begin}\n{sys.stdin.read().strip()}\n\n{end}",
                      path.read_text(), flags=re.DOTALL)
if count != 1:
    sys.exit(f"paste.py: {path} has {count} places for {name}: expected one")
path.write_text(text)
