"""Writes the part of TOML that mintfs.toml needs: tables, arrays of tables and plain values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def dump(document: Mapping[str, Any]) -> str:
    parts = []
    for name, content in document.items():
        for table in content if isinstance(content, list) else [content]:
            head = f"[[{name}]]" if isinstance(content, list) else f"[{name}]"
            parts += [head, *(f"{key} = {_value(value)}" for key, value in table.items()), ""]
    return "\n".join(parts)


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_value(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return json.dumps(value if isinstance(value, (str, int, bool)) else str(value), ensure_ascii=False)
