"""Command line of `python -m nettools`: `agent`, `ctl`, `probe`, and `delayline`, the agent's child."""

from __future__ import annotations

import json
import sys

_USAGE = "usage: nettools agent [--real-time] | ctl JSON | probe HOST [COUNT [INTERVAL_MS]]"


def main(arguments: list[str]) -> int:
    """Run one command; return its exit code, 2 for a wrong command line."""
    match arguments:
        case ["agent", *options] if options in ([], ["--real-time"]):
            from . import agent

            return agent.main(real_time=bool(options))
        case ["ctl", command]:
            from . import ctl

            return ctl.main(command)
        case ["delayline"]:
            from . import delayline

            return delayline.main()
        case ["probe", host, *rest] if len(rest) <= 2:
            from . import probe

            count, interval_ms = int(rest[0]) if rest else 20, float(rest[1]) if len(rest) > 1 else 20.0
            print(json.dumps(probe.probe(host, count, interval_ms)))
            return 0
    print(_USAGE, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
