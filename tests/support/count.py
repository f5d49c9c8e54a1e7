"""Counts the tests of a report: "PASSED FAILED SKIPPED" on stdout, each skipped one's name on stderr.

count.py meson testlog.json   each GoogleTest case counts, a program without cases counts as one
count.py junit report.xml     of pytest
"""

from __future__ import annotations

import json
import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

_PASSED = re.compile(r"^\[  PASSED  \] (\d+) tests?\.", re.MULTILINE)
_FAILED = re.compile(r"^\[  FAILED  \] (\d+) tests?, listed below:", re.MULTILINE)
_SKIPPED = re.compile(r"^\[  SKIPPED \] ([^\s,]+)$", re.MULTILINE)
_RAN = re.compile(r"^\[==========\] (\d+) tests? from .* ran\.", re.MULTILINE)


def meson(file: Path) -> tuple[int, int, list[str]]:
    passed, failed, skipped = 0, 0, []
    for line in file.read_text().splitlines():
        test = json.loads(line)
        output = test.get("stdout", "")
        good = test["result"] in ("OK", "EXPECTEDFAIL")
        if test["result"] == "SKIP":
            skipped.append(test["name"])
        elif _RAN.search(output):
            passed += sum(map(int, _PASSED.findall(output)))
            cases = sum(map(int, _FAILED.findall(output)))
            failed += cases or (0 if good else 1)  # a sanitizer's report at the end fails the program
            skipped += sorted(set(_SKIPPED.findall(output)))
        else:
            passed, failed = passed + good, failed + (not good)
    return passed, failed, skipped


def junit(file: Path) -> tuple[int, int, list[str]]:
    passed, failed, skipped = 0, 0, []
    for case in ElementTree.parse(file).iter("testcase"):
        outcome = {child.tag: child.get("message", "") for child in case}
        if outcome.keys() & {"failure", "error"}:
            failed += 1
        elif "skipped" in outcome:
            skipped.append(f"{case.get('name')}: {outcome['skipped']}")
        else:
            passed += 1
    return passed, failed, skipped


if __name__ == "__main__":
    good, bad, left_out = {"meson": meson, "junit": junit}[sys.argv[1]](Path(sys.argv[2]))
    if good + bad == 0:
        bad = 1  # a report without a test is no success
    print(good, bad, len(left_out))
    print(*left_out, sep="\n", file=sys.stderr)
