"""The records of many engines are merged."""

from __future__ import annotations

import json
import os

import pytest
from hdrh.histogram import HdrHistogram
from swarm.channel import Channel
from swarm.faults import Faults, error_kind
from swarm.merge import EngineRecords, Record, merged_faults
from swarm.seconds import Seconds


def second(k: int, phase: str, response_us: list[int], *, failed: int = 0) -> Record:
    seconds = Seconds()
    seconds.start(0.0, 1.0, 3.0)
    record = seconds.at(k + 0.5)
    record.intended = record.sent = len(response_us) + failed
    record.answered, record.failed = len(response_us), failed
    record.errors = {"timeout": failed} if failed else {}
    record.response_censored = {5_000_000: failed} if failed else {}
    for us in response_us:
        record.response[us] = record.response.get(us, 0) + 1
    record.cpu_s, record.connected = 0.25, 10
    assert record.phase == phase
    travelled: Record = json.loads(json.dumps({"event": "second"} | record.as_record()))
    return travelled


def records() -> EngineRecords:
    result = EngineRecords()
    result.engines = 2
    result.add("0:0", second(0, "warmup", [7]))
    result.add("0:0", second(1, "measure", [100, 200]))
    result.add("1:0", second(1, "measure", [300], failed=2))
    result.add("0:0", second(2, "measure", [400]))
    return result


def test_seconds_are_sums_over_engines() -> None:
    engine_records = records()
    engine_records.finish()
    merged = engine_records.seconds()
    assert [(s["k"], s["phase"], s["answered"], s["failed"]) for s in merged] == [
        (0, "warmup", 1, 0),
        (1, "measure", 3, 2),
        (2, "measure", 1, 0),
    ]
    assert merged[1]["errors"] == {"timeout": 2}
    assert (merged[1]["connected"], merged[1]["cpu_cores"]) == (20, [0.25, 0.25])
    decoded = HdrHistogram.decode(merged[1]["response_hdr"])
    assert decoded.get_total_count() == 3
    assert decoded.get_max_value() == 300
    gave_up = HdrHistogram.decode(merged[1]["response_censored_hdr"])
    assert gave_up.get_total_count() == 2
    assert gave_up.get_min_value() == pytest.approx(5_000_000, rel=1e-3)
    assert HdrHistogram.decode(merged[0]["response_censored_hdr"]).get_total_count() == 0


def test_a_later_record_replaces_the_former() -> None:
    engine_records = records()
    unsettled = second(3, "measure", [100])
    unsettled["intended"] = 2
    engine_records.add("0:0", unsettled)
    engine_records.add("1:0", second(3, "measure", []))
    engine_records.add("0:0", second(3, "measure", [100, 90_000]))
    engine_records.finish()
    assert engine_records.seconds()[-1]["answered"] == 2


def test_a_settled_second_is_folded_at_once_and_counted_once() -> None:
    engine_records = records()
    assert [(s["k"], s["answered"]) for s in engine_records.seconds()] == [(1, 3)]
    assert engine_records.latest_response == {100: 1, 200: 1, 300: 1}
    engine_records.finish()
    engine_records.finish()
    assert engine_records.window().counters["answered"] == 4
    assert engine_records.all_phases().counters["answered"] == 5


def test_the_window_so_far_is_what_has_been_reported_of_it() -> None:
    engine_records = records()
    so_far = engine_records.window_so_far()
    assert (so_far.counters["answered"], so_far.counters["failed"]) == (4, 2), (
        "folded and open seconds, no warm-up"
    )
    assert so_far.histograms["response"] == {100: 1, 200: 1, 300: 1, 400: 1}
    assert engine_records.window().counters["answered"] == 3, "reading folds nothing"


def test_the_window_is_the_sum_of_its_seconds() -> None:
    engine_records = records()
    engine_records.finish()
    window = engine_records.window()
    reported = [s for s in engine_records.seconds() if s["phase"] == "measure"]
    assert window.counters["answered"] == sum(s["answered"] for s in reported)
    assert sum(window.histograms["response"].values()) == 4
    assert window.errors == {"timeout": 2}


def test_faults_merge_by_kind() -> None:
    first, other = Faults(), Faults()
    first.add("timeout", "no answer", 10.0)
    first.add("timeout", "still none", 12.0)
    other.add("timeout", "neither here", 9.0)
    merged = merged_faults([{"faults": first.as_record()}, {"faults": other.as_record()}])
    assert merged == {
        "timeout": {"count": 3, "first_mono_ms": 9e3, "last_mono_ms": 12e3, "example": "no answer"}
    }


def test_the_kernels_errors_have_kinds() -> None:
    names = {
        number: error_kind(OSError(number, ""), connecting=True) for number in (111, 110, 99, 24, 104, 113)
    }
    assert names == {
        111: "connect_refused",
        110: "connect_timeout",
        99: "ports_exhausted",
        24: "emfile",
        104: "connect_reset",
        113: "unreachable",
    }
    assert error_kind(OSError(104, ""), connecting=False) == "reset"
    assert error_kind(OSError(32, ""), connecting=False) == "reset"
    assert error_kind(OSError(110, ""), connecting=False) == "timeout"


def test_a_slow_parent_never_stops_the_channel() -> None:
    (read_in, write_in), (read_out, write_out) = os.pipe(), os.pipe()
    channel = Channel(read_in, write_out)
    for number in range(2000):
        channel.send({"number": number, "ballast": "x" * 100})
    assert not channel.flush()
    received = b""
    while not channel.flush() or len(received.splitlines()) < 2000:
        received += os.read(read_out, 65536)
    assert [json.loads(line)["number"] for line in received.splitlines()] == list(range(2000))
    for fd in (read_in, write_in, read_out, write_out):
        os.close(fd)


def test_commands_may_come_in_pieces() -> None:
    (read_in, write_in), (read_out, write_out) = os.pipe(), os.pipe()
    channel = Channel(read_in, write_out)
    assert list(channel.receive()) == []
    os.write(write_in, b'{"do": "users", "tar')
    assert list(channel.receive()) == []
    os.write(write_in, b'get": 3}\n{"do": "x"}\n')
    assert list(channel.receive()) == [{"do": "users", "target": 3}, {"do": "x"}]
    os.close(write_in)
    assert list(channel.receive()) == []
    assert channel.ended
    for fd in (read_in, read_out, write_out):
        os.close(fd)


def test_a_second_that_may_get_more_is_counted_once() -> None:
    engine_records = EngineRecords()
    engine_records.engines = 1
    for times in ([100], [100, 250]):  # settled each time: such requests are reported with their answer
        engine_records.add("0:0", second(1, "measure", times) | {"more": True})
    engine_records.finish()
    assert [s["answered"] for s in engine_records.seconds()] == [2]
    assert engine_records.window().counters["answered"] == 2


def test_the_lag_of_an_engine_counts_since_the_load_clock_started() -> None:
    engine_records = EngineRecords()
    engine_records.engines = 1
    seconds = Seconds()
    seconds.start(0.0, 1.0, 3.0)
    for time_s, lag_us in ((-1.0, 90_000), (0.5, 1_000), (1.5, 2_000)):
        record = seconds.at(time_s)
        record.loop_lag[lag_us] = 1
        engine_records.add("0:0", json.loads(json.dumps({"event": "second"} | record.as_record())))
    engine_records.finish()
    assert engine_records.loop_lag_p99_us(["0:0"]) == 2_000
