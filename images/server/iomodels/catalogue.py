"""Make the table of models in ``docs/models.md`` from the manifest.

``python -m iomodels.catalogue docs/models.md`` updates the page.
"""

from __future__ import annotations

import sys
from pathlib import Path

from iomodels import manifest

BEGIN = "<!-- made from images/server/manifest.toml by `python -m iomodels.catalogue`: do not edit -->"
END = "<!-- end -->"


def table() -> str:
    """Return the models as a Markdown table."""
    entries = manifest.entries()
    rows = [
        "| model | family | shape | transport | its calls | own memory per connection | known limits |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, entry in entries.items():
        counters = [
            f"[`{name}`](#{name})",
            entry["family"],
            entry["shape"],
            ", ".join(entry["transports"]),
            ", ".join(f"`{call}`" for call in entry["syscalls"]["must"]),
            _size(entry["memory_bytes_per_connection"]),
            ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in entry.get("limits", {}).items())
            or "–",
        ]
        rows.append(f"| {' | '.join(counters)} |")
    return "\n".join(rows)


def updated(page: str) -> str:
    """Return the page with a new table between its markers.

    Raises:
        ValueError: a marker is missing.
    """
    before, begin, remaining = page.partition(BEGIN)
    _, end, after = remaining.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no {BEGIN!r} … {END!r}")
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}"


def _size(value: int) -> str:
    if value >= 1 << 20:
        return f"{value / (1 << 20):.1f} MiB"
    return f"{value >> 10} KiB" if value >= 1 << 10 else "–"


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(updated(path.read_text(encoding="utf-8")), encoding="utf-8")
