"""All that a mintfsd does, at the same time and on several threads: what ThreadSanitizer is to look at."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

from support.git_server import GitServer
from support.job import Job
from support.load import Cloner, Control, Reader
from support.mintfs import Daemon, connector

PUSHES, ROUNDS, LEASES = 5, 15, 10


def _push(job: Job, work: Path, pushed: list[str]) -> None:
    for number in range(PUSHES):
        head = job.commit(work, f"file-{number}", os.urandom(1 << 20))
        job.git("push", "--quiet", cwd=work)
        pushed.append(head)


def test_clones_pushes_readers_and_leases_do_not_disturb_each_other(
    server: GitServer, password: Path, start_mintfs: Callable[..., Daemon], new_job: Callable[..., Job], tmp_path: Path
) -> None:
    mintfs = start_mintfs(connector("git", server.url, password), proxy={"threads": 4})
    control = Control(mintfs)
    kept = [control.open_lease() for _ in range(LEASES)]
    job, url = new_job(kept[0]), f"{server.url}/acme/app.git"
    pushed: list[str] = []
    pusher = threading.Thread(target=_push, args=(job, job.clone(url), pushed))
    readers, cloners = [Reader(kept) for _ in range(3)], [Cloner(new_job(kept[1]), url) for _ in range(2)]
    pusher.start()
    for _ in range(ROUNDS):
        closing = [control.open_lease() for _ in range(LEASES)]
        passing = Reader(closing)
        for lease in closing:
            control.close_lease(lease)
            assert not lease.path.exists()
        # Its files go while it reads: it sees a whole one or none.
        assert [failure for failure in passing.end()["first"] if "bytes" in failure] == []
        assert mintfs.cli("status").returncode == 0
    pusher.join()
    assert [clone.failure for cloner in cloners for clone in cloner.end() if clone.failure] == []
    for reader in readers:
        report = reader.end()
        assert report["failed"] == 0 and report["done"] > 0, report
    assert len(pushed) == PUSHES and server.head("acme/app") == pushed[-1]
    for lease in kept:
        control.close_lease(lease)
    assert mintfs.leases() == []
