"""A part of a page that is made from code: what stands between two marks."""

from __future__ import annotations


def renew(page: str, begin: str, end: str, text: str) -> str:
    """Return the page with `text` between its marks. Raises ValueError where the marks are not there."""
    before, found_begin, rest = page.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found_begin or not found_end:
        raise ValueError(f"no {begin!r} … {end!r} in the page")
    return f"{before}{begin}\n\n{text}\n\n{end}{after}"
