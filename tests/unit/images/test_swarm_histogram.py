"""Sparse counts are an HdrHistogram: same buckets, same quantiles, same encoding."""

from __future__ import annotations

from hdrh.histogram import HdrHistogram
from hypothesis import given
from hypothesis import strategies as st
from swarm import histogram

values = st.integers(1, histogram.HIGHEST_US)
samples = st.lists(values, min_size=1, max_size=200)


def counted(sample: list[int]) -> histogram.Counts:
    counts: histogram.Counts = {}
    for value in sample:
        histogram.record(counts, value / 1e6 + 1e-9)  # a nanosecond against rounding down
    return histogram.unpack(histogram.pack(counts))


def reference(sample: list[int]) -> HdrHistogram:
    result = HdrHistogram(histogram.LOWEST_US, histogram.HIGHEST_US, histogram.DIGITS)
    for value in sample:
        result.record_value(value)
    return result


@given(values)
def test_a_bucket_is_named_by_its_lowest_value(value: int) -> None:
    assert histogram.bucket_us(value) == reference([]).get_lowest_equivalent_value(value)
    highest = histogram.highest_equivalent_us(histogram.bucket_us(value))
    assert highest == reference([]).get_highest_equivalent_value(value)


@given(samples, st.floats(0.001, 1.0))
def test_quantiles_are_those_of_the_sample_within_a_thousandth(sample: list[int], q: float) -> None:
    exact = sorted(sample)[max(1, round(q * len(sample))) - 1]
    found = histogram.quantile_us(counted(sample), q)
    assert found is not None
    assert exact <= found <= exact * 1.001 + 1


@given(samples)
def test_the_encoding_is_hdrhistograms_own(sample: list[int]) -> None:
    decoded = HdrHistogram.decode(histogram.encode(counted(sample)))
    expected = reference(sample)
    assert decoded.get_total_count() == len(sample)
    for percentile in (0.0, 50.0, 95.0, 99.0, 100.0):
        assert decoded.get_value_at_percentile(percentile) == expected.get_value_at_percentile(percentile)


@given(samples, samples)
def test_a_merge_is_the_histogram_of_both(first: list[int], second: list[int]) -> None:
    merged = counted(first)
    histogram.merge(merged, counted(second))
    assert merged == counted(first + second)


@given(samples)
def test_packing_sorts_into_buckets_and_loses_nothing(sample: list[int]) -> None:
    packed = counted(sample)
    assert sum(packed.values()) == len(sample)
    assert set(packed) == {histogram.bucket_us(value) for value in sample}
    assert histogram.unpack(histogram.pack(packed)) == packed


def test_what_is_out_of_range_is_clamped() -> None:
    assert histogram.bucket_us(0) == 1
    assert histogram.bucket_us(-5) == 1
    assert histogram.bucket_us(10**12) == histogram.bucket_us(histogram.HIGHEST_US)


def test_nothing_has_no_quantile() -> None:
    assert histogram.quantile_us({}, 0.5) is None
