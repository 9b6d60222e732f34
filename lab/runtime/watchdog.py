"""The watchdog: a process that removes the deployment when the orchestrator was killed.

It reads from a pipe whose other end only the orchestrator holds: the kernel closes it when the orchestrator
ends, however it ends. It has a session of its own, so that Ctrl-C does not reach it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback

from lab.common.paths import ROOT

SETTLE_S = 3.0
CALL_S = 10.0


class Watchdog:
    """The orchestrator's side: start a watchdog for the journals of `run` and its containers on `engine`."""

    def __init__(self, run: str, engine: str | None = None) -> None:
        task = json.dumps({"run": run, "engine": engine})
        theirs, self._ours = os.pipe()  # close-on-exec: a node that inherited our end would keep it open
        null = os.open(os.devnull, os.O_RDWR)
        try:
            self._pid = os.posix_spawn(
                sys.executable,
                [sys.executable, "-m", "lab.runtime.watchdog", task],
                {**os.environ, "PYTHONPATH": str(ROOT)},
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, theirs, 0),
                    (os.POSIX_SPAWN_DUP2, null, 1),
                    (os.POSIX_SPAWN_DUP2, null, 2),
                ],
                setsid=True,
            )
        finally:
            os.close(theirs)
            os.close(null)

    def dismiss(self) -> None:
        """End the watchdog: everything has been removed."""
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        os.close(self._ours)


def main() -> None:
    """Wait until the orchestrator ends, then remove all; errors are written beside the journal."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    task = json.loads(sys.argv[1])
    sys.stdin.buffer.read()
    from lab.runtime import cleanup, journal  # imported late: a run that ends normally does not pay for them

    try:
        if task["engine"]:
            _remove(task["engine"], task["run"])
        cleanup.end_processes(task["run"])
    except Exception:
        (journal.folder() / f"{task['run']}.watchdog.log").write_text(
            traceback.format_exc(), encoding="utf-8"
        )
        raise


def _remove(where: str, run: str) -> None:
    """Remove until nothing new appears: something may have been in creation when the orchestrator died."""
    from lab.engine.api import Engine
    from lab.engine.client import open_client
    from lab.runtime import cleanup

    client = open_client(where, CALL_S)
    engine = Engine(client.api)
    quiet_since = time.monotonic()
    while time.monotonic() - quiet_since < SETTLE_S:
        if cleanup.remove_labelled(engine, run) != "0 containers, 0 networks":
            quiet_since = time.monotonic()
        time.sleep(0.3)
    client.close()


if __name__ == "__main__":
    main()
