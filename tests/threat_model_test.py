"""docs/threat-model.md names tests; each must be there."""

from __future__ import annotations

import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
_LINE = re.compile(r"^\| .* \|$", re.MULTILINE)


def _named() -> list[str]:
    """The tests of the last column of every table."""
    page = (REPOSITORY / "docs/threat-model.md").read_text()
    cells = [row.rsplit(" | ", 1)[1].rstrip(" |") for row in _LINE.findall(page)]
    return [name for cell in cells if cell != "tests" for name in re.findall(r"`([^`]+)`", cell)]


def _unit_tests() -> set[str]:
    form = re.compile(r"^TEST(?:_F|_P)?\((\w+),\s*(\w+)\)", re.MULTILINE)
    sources = (REPOSITORY / "tests").rglob("*_test.cc")
    return {".".join(match) for source in sources for match in form.findall(source.read_text())}


def _end_to_end_tests() -> set[str]:
    form = re.compile(r"^def test_(\w+)\(", re.MULTILINE)
    sources = (REPOSITORY / "tests/e2e").glob("*_test.py")
    return {f"{s.stem.removesuffix('_test')}: {name}" for s in sources for name in form.findall(s.read_text())}


def test_every_line_names_a_test() -> None:
    rows = [row for row in _LINE.findall((REPOSITORY / "docs/threat-model.md").read_text()) if "| tests |" not in row]
    assert len(rows) > 40
    for row in rows:
        assert re.search(r"`[^`]+` \|$", row), f"no test is named: {row}"


def test_every_test_that_is_named_is_there() -> None:
    there = _unit_tests() | _end_to_end_tests()
    missing = [name for name in _named() if name not in there]
    assert not missing, f"no such tests: {missing}"
