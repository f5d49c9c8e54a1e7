"""A push by hand: the bytes that git sends to git-receive-pack."""

from __future__ import annotations

OLD, NEW, NULL = "a" * 40, "b" * 40, "0" * 40
CAPABILITIES = "\0 report-status side-band-64k agent=test"
#: What is said of a reference that is not refused itself.
OTHER = "mintfs: not sent, since another reference was refused"


def packets(*lines: str | bytes) -> bytes:
    encoded = [line.encode() if isinstance(line, str) else line for line in lines]
    return b"".join(b"%04x" % (len(line) + 4) + line for line in encoded)


def command(reference: str, old: str = OLD, new: str = NEW) -> str:
    return f"{old} {new} {reference}"


def push_body(*commands: str, capabilities: str = CAPABILITIES, pack: bytes = b"PACK and so on") -> bytes:
    return packets(commands[0] + capabilities, *commands[1:]) + b"0000" + pack
