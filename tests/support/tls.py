"""A certificate authority for one test, made with the openssl command."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Certificate:
    certificate: Path
    key: Path


class Authority:
    """Signs server certificates; `certificate` is what a client must trust."""

    def __init__(self, folder: Path, name: str = "test authority") -> None:
        self._folder = folder
        folder.mkdir(parents=True)
        self.certificate, self._key = folder / "ca.pem", folder / "ca.key"
        self._openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                      "-days", "2", "-subj", f"/CN={name}", "-keyout", self._key, "-out", self.certificate,
                      "-addext", "keyUsage=critical,keyCertSign")  # fmt: skip

    def issue(self, *names: str, stem: str = "server") -> Certificate:
        """A certificate for `names`: "DNS:git.example" or "IP:127.0.0.1"."""
        request, extensions = self._folder / f"{stem}.csr", self._folder / f"{stem}.ext"
        issued = Certificate(self._folder / f"{stem}.pem", self._folder / f"{stem}.key")
        extensions.write_text(f"subjectAltName={','.join(names)}\n")
        self._openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                      "-subj", "/CN=server", "-keyout", issued.key, "-out", request)  # fmt: skip
        self._openssl("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self._key,
                      "-days", "2", "-extfile", extensions, "-out", issued.certificate)  # fmt: skip
        return issued

    @staticmethod
    def _openssl(*args: str | Path) -> None:
        subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True)
