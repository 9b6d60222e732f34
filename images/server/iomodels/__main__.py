"""The command ``python -m iomodels MODEL``: run one server (images/CONTRACT.md)."""

from __future__ import annotations

import sys

from iomodels.app import main

sys.exit(main())
