"""Streams of HTTP/1 requests: mostly well-formed, made of what parsers disagree about, then damaged."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

METHODS = [b"GET", b"HEAD", b"POST", b"PUT"]
ODD_METHODS = [
    b"get", b"DELETE", b"OPTIONS", b"TRACE", b"CONNECT", b"PATCH", b"G\tET", b"PRI", b"", b"POST ", b" POST",
]
SEGMENTS = [
    b"a", b"acme", b"app.git", b"info", b"refs", b"git-upload-pack", b"%41", b"%7e", b"a%2Bb", b"a+b", b"a:b", b"~x",
    b"@", b"...", b".a", b"a.", b"..a", b"a=b", b"(x)", b"%22", b"%3C", b"%7B", b"-", b"*", b"'", b"$", b"!", b",",
    b"%5B", b"%7C",
]
ODD_SEGMENTS = [
    b"", b".", b"..", b"%2e%2e", b"%2E", b"%2f", b"%5c", b"\\", b";x", b"a;b", b"%3b", b"%00", b"%", b"%4", b"%zz",
    b"%25", b"%252e", b"#", b"a#b", b"%23", b"%3F", b"\x7f", b"\xc3\xa9", b"%c3%a9", b"\x00", b"<", b"\"", b"|",
    b"%20", b"{",
]
QUERIES = [
    b"", b"?", b"?service=git-upload-pack", b"?a=b&c=%20", b"?a?b", b"?/../x", b"?%7e", b"?;", b"?[]", b"?{|}",
    b"?a%2fb",
]
ODD_QUERIES = [b"?#", b"?a#b", b"?\\", b"?%", b"?%00", b"?%0a", b"?\xff", b"?\x7f", b"?<", b"#x", b"#"]
VERSIONS = [b"HTTP/1.1"] * 6 + [b"HTTP/1.0"]
ODD_VERSIONS = [
    b"HTTP/1.2", b"HTTP/2.0", b"HTTP/0.9", b"http/1.1", b"HTTP/1.1 ", b"HTTP/01.1", b"HTTP/1.10", b"HTTP/1",
    b"HTTP/1.", b"HTTP/3", b"", b"HTTP/1.1x", b"HTP/1.1", b"HTTP/+1.1", b"HTTP/1.01",
]
HOSTS = [b"h", b"h:80", b"127.0.0.1:8418", b"[::1]", b"[::1]:80", b"H.Example", b"a-b.c", b"a_b", b"h."]
ODD_HOSTS = [
    b"", b"h h", b"h/x", b"u@h", b"h:", b"h:99999", b"h:x", b"h,h", b"[::1", b"[x]", b"h?x", b"h#", b"..", b"a..b",
    b".h", b"-h", b"h:0", b"h:000080", b"%41", b"[]", b"[::1]x", b"[::ffff:1.2.3.4]", b"[:]", b"_", b"h:65535",
    b"h:65536", b"h..", b"h\\x", b"*", b"[a]", b"[12345::]:1",
]
FIELDS = [
    b"Accept: */*", b"User-Agent: git/2.39.5", b"Content-Type: application/x-git-upload-pack-request",
    b"Content-Encoding: gzip", b"Git-Protocol: version=2", b"Accept-Encoding: deflate, gzip",
    b"Authorization: Basic OmE=", b"Pragma: no-cache", b"X-A: 1", b"Connection: keep-alive", b"Connection: close",
    b"Connection: Content-Length", b"Connection: Host, x", b"X-B:", b"X-C:  v  ", b"Range: bytes=0-",
    b"If-None-Match: \"x\"", b"Cookie: a=b", b"Trailer: x", b"TE: trailers", b"Keep-Alive: timeout=5",
    b"Upgrade: h2c", b"Connection: upgrade", b"Expect: 100-continue", b"expect: 100-Continue",
    b"X-Forwarded-For: 1.2.3.4", b"X_D: 1", b"Content_Length: 5", b"X!y: 1", b"X-E: \t", b"Max-Forwards: 0",
    b"Proxy-Connection: keep-alive", b"1: 2", b"X.y: 1", b"X~y|z: 1", b"Content-Length-: 3",
    b"Transfer-Encoding2: chunked", b"X-F: a\"b\\c", b"Content-Type:",
]
ODD_FIELDS = [
    b"Host: other", b"Authorization: Basic OmI=", b"Expect: x", b"Expect: 100-continue, x", b" folded", b"\tfolded",
    b"X : 1", b": 1", b"X", b"X-G: a\x00b", b"X-H: a\x01b", b"X-I: \xe9", b"X\xe9: 1", b"X-J: a\rb", b"X-K: a\nb",
    b"X\t: 1", b"X y: 1", b"X(: 1", b"X-L: \x7f", b"Expect:", b"Connection:", b"Host:h", b"Host : h", b"\x0bX: 1",
    b"X\x00: 1", b"X:1\x0b", b"{x}: 1", b"\"x\": 1", b"x/y: 1", b"x@y: 1",
]
LENGTHS = [b"%d", b" %d", b"%d ", b"0%d", b"000000000000000000000000%d", b"\t%d", b"%d\t"]
ODD_LENGTHS = [
    b"+%d", b"-%d", b"%d, %d", b"%d,%d", b"0x%d", b"%d.0", b"%de0", b"", b"18446744073709551616",
    b"9223372036854775808", b"%d ;x", b"\"%d\"", b"%d\x0b", b"_%d", b"\x0c%d", b"4294967296", b"%d %d", b"%d,",
]
CODINGS = [b"chunked", b" chunked", b"Chunked", b"CHUNKED ", b"\tchunked", b"chunked\t"]
ODD_CODINGS = [
    b"gzip", b"identity", b"xchunked", b"chunked, identity", b"gzip, chunked", b"chunked, chunked", b"chunked;q=1",
    b"", b"chunked,", b",chunked", b"\x0bchunked", b"chunked\x00", b"\"chunked\"", b"chunk ed", b"cHuNkEd\x0c",
    b"chunked ,", b"chunke", b"chunkedd",
]
EXTENSIONS = [b";a=b", b" ", b";", b"\t", b"x", b";a=\"\n\"", b" ;a", b"\x00", b"0x"]
LAST_SIZES = [b"0", b"0", b"00", b"0000"]
ODD_LAST_SIZES = [b"", b"-0", b"+0", b"0;x", b"0 ", b"0x0", b"00000000000000000", b"10000000000000000"]
PAYLOADS = [b"", b"abc", b"0\r\n\r\n", b"GET /in HTTP/1.1\r\nHost: h\r\n\r\n", bytes(40), b"\r\n"]
TRAILERS = [b"", b"X: 1\r\n", b"Content-Length: 5\r\n", b"X: 1\r\nY: 2\r\n", b"X:\r\n"]
ODD_TRAILERS = [
    b"X\r\n", b" X: 1\r\n", b"X : 1\r\n", b": 1\r\n", b"X: a\x00b\r\n", b"X: a\rb\r\n", b"X: 1\n", b"X: \xe9\r\n",
    b"\tx\r\n", b"X y: 1\r\n", b"GET / HTTP/1.1\r\n", b"\x7f: 1\r\n",
]
SPLICES = [
    b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\n\n", b" ", b"\t", b"\x00", b"\x0b", b"\x0c", b"\x7f", b"\x80", b"\xff",
    b":", b";", b",", b"%", b"%00", b"/", b"//", b"/../", b"\\", b"#", b"?", b"0", b"00", b"-", b"+", b"_",
    b"0\r\n\r\n", b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"\r\n ", b"Host: x\r\n", b"HTTP/1.1",
    b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n",
]


class Maker:
    def __init__(self, numbers: random.Random, seeds: Sequence[bytes]) -> None:
        self._random, self._seeds, self._odds = numbers, seeds, 0.0

    def stream(self) -> bytes:
        """One to three requests."""
        numbers = self._random
        if self._seeds and numbers.random() < 0.1:
            made = numbers.choice(self._seeds)
        else:
            # Most streams are odd in one place or none, so that both sides go on reading.
            self._odds = numbers.choice([0, 0, 0.02, 0.05, 0.2])
            made = b"".join(self._request() for _ in range(numbers.choice([1, 1, 1, 2, 3])))
        for _ in range(numbers.choice([0, 0, 0, 1, 1, 2, 4])):
            made = self._damaged(made)
        return made

    def _pick(self, usual: Sequence[bytes], odd: Sequence[bytes]) -> bytes:
        return self._random.choice(odd if self._random.random() < self._odds else usual)

    def _request(self) -> bytes:
        numbers = self._random
        method, version = self._pick(METHODS, ODD_METHODS), self._pick(VERSIONS, ODD_VERSIONS)
        host = self._pick(HOSTS, ODD_HOSTS)
        target = b"".join(b"/" + self._pick(SEGMENTS, ODD_SEGMENTS) for _ in range(numbers.randint(1, 4)))
        target += self._pick(QUERIES, ODD_QUERIES)
        if numbers.random() < 0.1:
            authority = numbers.choice([host, host, self._pick(HOSTS, ODD_HOSTS)])
            target = numbers.choice([b"http", b"HTTP", b"https"]) + b"://" + authority + target
        fields = [b"Host: " + host] if numbers.random() > self._odds else []
        fields += [self._pick(FIELDS, ODD_FIELDS) for _ in range(numbers.randint(0, 4))]
        framing, body = self._framing(method in (b"POST", b"PUT"))
        fields += framing
        numbers.shuffle(fields)
        head = [b" ".join([method, target, version]), *fields, b"", b""]
        return b"\r\n".join(head) + body

    def _framing(self, may_have_body: bool) -> tuple[list[bytes], bytes]:
        numbers = self._random
        payload = numbers.choice(PAYLOADS)
        kinds = ["none", "length", "chunked", "chunked"] if may_have_body else ["none"] * 6 + ["zero", "length"]
        kind = numbers.choice(kinds)
        if numbers.random() < self._odds:
            kind = "both"
        fields = []
        if kind in ("length", "both"):
            length = self._pick(LENGTHS, ODD_LENGTHS).replace(b"%d", b"%d" % len(payload))
            fields.append(b"Content-Length: " + length)
        if kind == "zero":
            fields.append(b"Content-Length: 0")
        if kind in ("chunked", "both"):
            fields.append(b"Transfer-Encoding: " + self._pick(CODINGS, ODD_CODINGS))
            return fields, self._chunks(payload)
        return fields, payload if kind == "length" else b""

    def _chunks(self, payload: bytes) -> bytes:
        numbers, out = self._random, b""
        while payload:
            size = numbers.randint(1, len(payload))
            digits = numbers.choice([b"%x", b"%X", b"0%x", b"000%x", b"00000000000%x"]) % size
            extension = self._pick([b""], EXTENSIONS)
            out += digits + extension + self._pick([b"\r\n"], [b"\n", b"\r", b"\n\r", b""]) + payload[:size]
            out += self._pick([b"\r\n"], [b"\n", b"", b"\r\r\n", b" \r\n"])
            payload = payload[size:]
        last = self._pick(LAST_SIZES, ODD_LAST_SIZES)
        trailers = self._pick(TRAILERS, ODD_TRAILERS)
        return out + last + b"\r\n" + trailers + self._pick([b"\r\n"], [b"\n", b"", b"\r\r\n"])

    def _damaged(self, made: bytes) -> bytes:
        numbers = self._random
        at = numbers.randint(0, len(made))
        upto = min(len(made), at + numbers.choice([0, 0, 0, 1, 1, 2, 8]))
        kind = numbers.random()
        if kind < 0.5:
            return made[:at] + numbers.choice(SPLICES) + made[upto:]
        if kind < 0.65:
            return made[:at] + bytes([numbers.randrange(256)]) + made[upto:]
        if kind < 0.75:
            return made[:at] + made[upto:]
        lines = made.split(b"\r\n")
        line = numbers.randrange(len(lines))
        if kind < 0.9:
            lines.insert(numbers.randrange(len(lines)), lines[line])
        else:
            del lines[line]
        return b"\r\n".join(lines)


def streams(numbers: random.Random, seeds: Sequence[Path]) -> Iterator[bytes]:
    maker = Maker(numbers, [seed.read_bytes() for seed in seeds])
    while True:
        yield maker.stream()
