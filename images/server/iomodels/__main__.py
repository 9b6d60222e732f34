"""The command ``python -m iomodels MODEL``: one server, by itself (images/CONTRACT.md)."""

from __future__ import annotations

import sys

from iomodels.app import main

sys.exit(main())
