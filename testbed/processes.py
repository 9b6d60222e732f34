"""The packages of images/ as plain processes of this host: their import path and a model's command line."""

from __future__ import annotations

import os
import sys

from lab.common.paths import IMAGES


def environment(**more: str) -> dict[str, str]:
    """Return this process's environment, with the packages of images/ to import and with `more`."""
    path = os.pathsep.join((str(IMAGES), str(IMAGES / "server")))
    return {**os.environ, "PYTHONPATH": path, **more}


def model_command(model: str, *flags: str) -> list[str]:
    """Return the command of a model's server on a free port of the loopback; `ready` tells the port."""
    return [sys.executable, "-m", "iomodels", model, "--host", "127.0.0.1", "--port", "0", *flags]
