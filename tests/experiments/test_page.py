"""That the page says what the experiments found, and that its charts are whole and always the same."""

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from experiments import __main__ as program
from experiments import page
from experiments.charts import svg
from experiments.page import Done
from experiments.result import Chart, Claim, Result, Table

CHART = Chart(
    "two-lines", "Pending & <more>", "seconds", "entries", {"a": [(0, 1), (1, 20_000)], "b": [(0, 3)]}, [(1, "killed")]
)
RESULT = Result(
    "How it was done.",
    [Claim("Nothing is lost.", holds=True, found="0 lost."), Claim("All come.", holds=False, found="7 of 8 came.")],
    [Table("Who had what", ["consumer", "entries", "share"], [["a|b", 12_345, 0.51], ["c", 1, 0.5]])],
    [CHART],
)  # fmt: skip


def test_the_page_has_every_claim_table_and_chart(tmp_path: Path) -> None:
    written = page.write(tmp_path, [Done("one", "Tweets, again", RESULT, 12.3)], "make experiments", 1.5, 0.25)

    text = written.read_text()
    assert "1 of 2 claims hold." in text
    assert "| [Tweets, again](#tweets-again) | 1 of 2 | 12 |" in text
    assert "## Tweets, again\n\nHow it was done.\n\n" in text
    assert "| Nothing is lost. | 0 lost. | holds |\n| All come. | 7 of 8 came. | **does not hold** |" in text
    assert "![Pending & <more>](experiments/two-lines.svg)" in text
    assert "| consumer | entries | share |\n| --- | --: | --: |\n| a\\|b | 12,345 | 0.5 |\n| c | 1 | 0.5 |" in text
    assert [path.name for path in (tmp_path / "experiments").iterdir()] == ["two-lines.svg"]


def test_a_terminal_is_told_the_same() -> None:
    text = page.in_a_terminal(Done("one", "Tweets", RESULT, 12.3))

    assert "holds          Nothing is lost. 0 lost.\nDOES NOT HOLD  All come. 7 of 8 came.\n" in text
    assert "consumer  entries  share\na|b       12,345   0.5  \nc         1        0.5" in text


def test_a_chart_is_well_formed_names_its_lines_and_is_always_the_same() -> None:
    text = svg(CHART)

    texts = [element.text for element in ET.fromstring(text).iter("{http://www.w3.org/2000/svg}text")]
    assert {"Pending & <more>", "seconds", "entries", "a", "b", "killed", "20,000"} <= set(texts)
    assert svg(CHART) == text


def test_a_claim_about_time_decides_only_at_full_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine fails no test; every other claim decides at a reduced size too."""

    def ended(*words: str, is_of_time: bool) -> int:
        claim = Claim("It is fast.", holds=False, found="It is not.", is_of_time=is_of_time)
        monkeypatch.setattr(program, "_run", lambda name, _: Done(name, name, replace(RESULT, claims=[claim]), 0.0))
        monkeypatch.setattr("sys.argv", ["experiments", *words, "tweets"])
        return program.main()

    codes = [ended("--quick", is_of_time=True), ended(is_of_time=True), ended("--quick", is_of_time=False)]
    assert codes == [0, 1, 1]
