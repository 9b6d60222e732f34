"""`python -m swarm master|worker|engine|verify`, with settings in `LAB_SWARM`; see the node contract."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from . import engine_main, settings
from .errors import SettingsError, SwarmError

ROLES = ("master", "worker", "engine", "verify")


def main(arguments: list[str]) -> int:
    """Run one role. Each is imported only when it runs, because importing locust patches the process."""
    role = arguments[0] if arguments else ""
    try:
        if role not in ROLES:
            raise SettingsError(f"the role must be one of {', '.join(ROLES)}, not {role!r}")
        return _run(role, arguments[1:])
    except SwarmError as error:
        print(f"swarm {role}: {error}", file=sys.stderr)
        return error.exit_code


def _run(role: str, rest: list[str]) -> int:
    given = settings.from_environment()
    engine_main.make_exchange(given)  # every role refuses an unknown handler or path
    if role == "engine":
        return engine_main.main(given, int(rest[0]))
    if role == "verify":
        from . import verify

        return verify.main(given)
    if role == "master":
        from . import master

        return master.main(given)
    from . import worker

    return worker.main(given)


def leave(code: int) -> NoReturn:
    """Exit at once: tearing down Locust's greenlets and 50,000 users takes seconds and changes nothing."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


leave(main(sys.argv[1:]))
