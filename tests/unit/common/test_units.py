"""Quantities: right readings, and refusals that say what would be right."""

import math

import pytest

from lab.common import units


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (units.seconds, "50ms", 0.05),
        (units.seconds, "200us", 0.0002),
        (units.seconds, "1.5s", 1.5),
        (units.seconds, "2min", 120),
        (units.size_bytes, "64KiB", 65536),
        (units.size_bytes, "1GiB", 2**30),
        (units.size_bytes, "1MB", 10**6),
        (units.bandwidth_bit_per_s, "10mbit", 10**7),
        (units.arrivals_per_s, "2000/s", 2000),
        (units.arrivals_per_s, "60/min", 1),
        (units.share, "0.1%", 0.001),
    ],
)
def test_reads(parse, text, value):
    assert parse(text) == pytest.approx(value)


@pytest.mark.parametrize(
    ("parse", "text", "says"),
    [
        (units.seconds, 50, "no unit"),
        (units.seconds, "50", "50ms"),
        (units.seconds, "50MS", "50ms"),
        (units.seconds, "soon", "50ms or 10s"),
        (units.seconds, True, "a duration is wanted"),
        (units.seconds, None, "a duration is wanted"),
        (units.bandwidth_bit_per_s, "10mbps", "10mbit"),
        (units.bandwidth_bit_per_s, "10", "10mbit"),
        (units.share, 1, "1%"),
        (units.share, "101%", "more than 100%"),
        (units.size_bytes, "9" * 400 + "GiB", "99999999999999999999…GiB: the number is too large"),
        (units.seconds, "9" * 400 + "s", "the number is too large"),
        (units.size_bytes, "64kib", "64KiB"),
        (units.arrivals_per_s, 2000, "2000/s"),
        (units.seconds, -1, "-1 has no unit: write a duration such as 1ms"),
    ],
)
def test_refuses_and_says_what_is_right(parse, text, says):
    with pytest.raises(ValueError, match=r".") as caught:
        parse(text)
    assert says in str(caught.value)


@pytest.mark.parametrize(("value", "text"), [(0.04, "40ms"), (1.5, "1.5s"), (0.0002, "200us"), (0, "0s")])
def test_shows_seconds(value, text):
    assert units.show_seconds(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.2, "0s"),
        (43.4, "43s"),
        (59.6, "1min"),
        (86.2, "1min 26s"),
        (3599.4, "59min 59s"),
        (3599.6, "1h"),
        (7500, "2h 5min"),
        (86_399, "1 day"),
        (90_000, "1 day 1h"),
        (2.2e8, "2,546 days 7h"),
    ],
)
def test_shows_how_long_something_takes(value, text):
    assert units.show_duration(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(512, "512 B"), (48_333, "47.2 KiB"), (1_395_864_371, "1.30 GiB")]
)
def test_shows_bytes(value, text):
    assert units.show_bytes(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.1, "0.1"),
        (1e-5, "0.00001"),
        (30e6, "30,000,000"),
        (12_345_678.0, "12,345,678"),
        (1_234_567.25, "1,234,570"),
        (-2.5, "-2.5"),
        (math.inf, "∞"),
    ],
)
def test_shows_a_number_without_an_exponent(value, text):
    assert units.show_plain(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0 ms"), (0.3124, "0.312 ms"), (41.02, "41.0 ms"), (1204.3, "1,204 ms")],
)
def test_shows_milliseconds(value, text):
    assert units.show_ms(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(512, "512 bit/s"), (64e3, "64.0 kbit/s"), (29_612_345.0, "29.6 Mbit/s"), (1e9, "1.00 Gbit/s")],
)
def test_shows_a_bit_rate(value, text):
    assert units.show_bit_rate(value) == text
