"""That the benchmark runs, and that its own checks hold: hashes as the tweets were, nothing pending. No thresholds."""

import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from bench import bed as bed_module
from bench.backlog import Backlog
from bench.bed import Bed, CheckFailed
from bench.charts import Bar, chart
from bench.collector import collecting
from bench.measuring import Sample, measure, turns
from reclaim.run.report import Outcome

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(400)
def test_a_quick_benchmark_measures_everything_and_writes_the_document(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "bench", "--quick", "--rounds", "1", "--output", str(tmp_path)]
    ended = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=380)

    assert ended.returncode == 0, ended.stdout + ended.stderr
    text = (tmp_path / "benchmarks.md").read_text()
    for title in (
        "Goals",
        "Speed",
        "Scale",
        "Slow commands",
        "Large entries",
        "Requeue and forward",
        "Entries that are POSTed",
        "Cluster",
        "Entra tokens",
        "A handler that waits",
        "A slower network",
        "Many targets",
        "Telemetry",
        "An operator's workbench",
        "Billing",
    ):
        assert f"## {title}" in text
    charts = {path.name for path in (tmp_path / "benchmarks").iterdir()}
    assert charts == {"speed.svg", "scale.svg", "lanes.svg", "delay.svg", "targets.svg"}
    assert all(f"](benchmarks/{name})" in text for name in charts)
    assert str(ROOT) not in text


def test_what_a_run_left_undone_is_found_by_the_check() -> None:
    backlog = Backlog(3)
    with Bed.on("valkey-9") as bed:
        bed.fill(backlog)
        with pytest.raises(CheckFailed, match="3 entries of tweets_stream are pending"):
            bed.check(backlog)
        bed.send([("XGROUP", "DELCONSUMER", "tweets_stream", "redisearch_app_group", "worker")])
        with pytest.raises(CheckFailed, match="0 hashes for 3 entries"):
            bed.check(backlog)


def test_a_hash_that_differs_from_its_tweet_is_found_by_the_check() -> None:
    backlog = Backlog(1)
    with Bed.on("valkey-9") as bed:
        bed.fill(backlog)
        bed.send([("XGROUP", "DELCONSUMER", "tweets_stream", "redisearch_app_group", "worker")])
        bed.send([("HSET", "tweet:1500000000000000000", "id", "another")])
        with pytest.raises(CheckFailed, match="is not as the tweet was"):
            bed.check(backlog)


@pytest.mark.parametrize("offset", [0, 1])
def test_of_very_many_hashes_any_may_be_among_those_compared(offset: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bed_module, "CHECK_ALL_UP_TO", 1)
    monkeypatch.setattr(bed_module, "CHECK_ONE_IN", 2)
    monkeypatch.setattr(bed_module, "randbelow", lambda _: offset)
    backlog = Backlog(2)
    with Bed.on("valkey-9") as bed:
        bed.put(backlog)
        bed.send([("HSET", f"tweet:{1_500_000_000_000_000_000 + number}", "id", "another") for number in range(2)])
        with pytest.raises(CheckFailed, match=f"tweet:150000000000000000{offset} is not as the tweet was"):
            bed.check(backlog)


@pytest.mark.parametrize(("ledger", "what"), [("dead", "dead letters"), ("lost", "lost")])
def test_an_entry_that_was_put_aside_is_found_by_the_check(ledger: str, what: str) -> None:
    backlog = Backlog(1)
    with Bed.on("valkey-9") as bed:
        bed.put(backlog)
        bed.check_handled(backlog, stored=1)
        bed.send([("XADD", f"{{tweets_stream}}:reclaim:redisearch_app_group:{ledger}", "*", "id", "1-0")])
        with pytest.raises(CheckFailed, match=f"1 entries of tweets_stream are {what}"):
            bed.check_handled(backlog, stored=1)


@pytest.mark.parametrize("stored", [1, 3])
def test_an_entry_that_was_not_handled_or_handled_twice_is_found_by_the_check(stored: int) -> None:
    backlog = Backlog(2)
    with Bed.on("valkey-9") as bed:
        bed.put(backlog)
        with pytest.raises(CheckFailed, match=f"{stored} entries were handled, and there were 2"):
            bed.check_handled(backlog, stored)


def test_a_fresh_entry_that_was_claimed_is_found_by_the_check() -> None:
    backlog = Backlog(2)
    with Bed.on("valkey-9") as bed:
        bed.fill(backlog)
        bed.check_untouched(backlog)
        bed.send([("XCLAIM", "tweets_stream", "redisearch_app_group", "another", 0, "1700000000000-0")])
        with pytest.raises(CheckFailed, match="2 entries of tweets_stream were worker's"):
            bed.check_untouched(backlog)


def test_a_run_that_ends_otherwise_than_expected_is_no_measurement() -> None:
    nothing = Backlog(0)
    with Bed.on("valkey-9") as bed:
        bed.fill(nothing)
        measure(bed.env(nothing), runs=2, expected=Outcome.NOTHING_PENDING)
        with pytest.raises(CheckFailed, match="ours ended as nothing_pending, not as completed"):
            measure(bed.env(nothing))


def test_telemetry_that_was_not_sent_or_not_taken_is_found_by_the_check() -> None:
    with collecting() as collector:
        with pytest.raises(CheckFailed, match="sent no telemetry"):
            collector.check()
        address = collector.connection_string.rpartition("//")[2]
        sender = HTTPConnection(address)
        sender.request("POST", "/v2.1/track", b"[]")
        sender.getresponse().read()
        sender.close()
        collector.check()
        with pytest.raises(CheckFailed, match="sent no telemetry"):
            collector.check()
    with pytest.raises(CheckFailed, match="does not answer"):
        collector.check()


def test_each_round_is_begun_by_another_contender() -> None:
    assert list(turns(3, "ab")) == [(1, "a"), (1, "b"), (2, "b"), (2, "a"), (3, "a"), (3, "b")]


def test_a_chart_is_well_formed_and_names_its_bars() -> None:
    svg = chart("Speed & <more>", "entries/s", [("plain", [Bar("ours", Sample([1.0, 2.0, 3.0]), goal=2.5)])])

    texts = [element.text for element in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]
    assert texts[0] == "Speed & <more>"
    assert "ours" in texts
