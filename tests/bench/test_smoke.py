"""That the benchmark runs, and that its own checks hold: hashes as the tweets were, nothing pending. No thresholds."""

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from bench.backlog import Backlog
from bench.bed import Bed, CheckFailed
from bench.charts import Bar, chart
from bench.measuring import Sample

ROOT = Path(__file__).parents[2]


def test_a_quick_benchmark_measures_everything_and_writes_the_document(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "bench", "--quick", "--rounds", "1", "--output", str(tmp_path)]
    ended = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=110)

    assert ended.returncode == 0, ended.stdout + ended.stderr
    text = (tmp_path / "benchmarks.md").read_text()
    for title in (
        "Goals",
        "Speed",
        "Scale",
        "Slow commands",
        "A handler that waits",
        "A slower network",
        "Many targets",
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


def test_a_chart_is_well_formed_and_names_its_bars() -> None:
    svg = chart("Speed & <more>", "entries/s", [("plain", [Bar("ours", Sample([1.0, 2.0, 3.0]), goal=2.5)])])

    texts = [element.text for element in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]
    assert texts[0] == "Speed & <more>"
    assert "ours" in texts
