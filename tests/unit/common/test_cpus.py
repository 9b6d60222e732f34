"""CPU lists as Linux writes them."""

from __future__ import annotations

import pytest

from lab.common.cpus import cpu_list


@pytest.mark.parametrize(
    ("text", "cpus"), [("0", [0]), ("0,2-3", [0, 2, 3]), ("0-3\n", [0, 1, 2, 3]), ("", []), ("\n", [])]
)
def test_a_list_names_every_cpu(text, cpus):
    assert cpu_list(text) == cpus


@pytest.mark.parametrize("text", ["a", "1-x", "0;1"])
def test_what_is_no_list_is_refused(text):
    with pytest.raises(ValueError, match="is no list of CPUs"):
        cpu_list(text)
