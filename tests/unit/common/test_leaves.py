"""Nested data as paths and values."""

from __future__ import annotations

from lab.common.leaves import leaves


def test_every_value_has_its_path():
    data = {"a": 1, "b": {"c": [1, {"d": 2}], "e": {}}, "f": None}
    assert list(leaves(data)) == [
        (("a",), 1), (("b", "c"), [1, {"d": 2}]), (("b", "e"), {}), (("f",), None),
    ]  # fmt: skip
