"""What a run's outcome means for those who show it, log it or exit with it."""

import logging
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from reclaim.cli.main import cli
from reclaim.run.report import MEANINGS, Outcome
from tests.outcomes import EXIT_CODES


def test_each_outcome_has_its_exit_code() -> None:
    assert {outcome.value: outcome.exit_code for outcome in Outcome} == EXIT_CODES


def test_an_invocation_fails_where_the_exit_code_is_1_but_for_an_open_circuit() -> None:
    wrong = {outcome.value for outcome in Outcome if outcome.went_wrong}

    assert wrong == {name for name, code in EXIT_CODES.items() if code} - {"circuit_open"}


def test_a_failed_run_is_an_error_in_the_log_and_one_that_went_wrong_otherwise_a_warning() -> None:
    for outcome in Outcome:
        wanted = logging.WARNING if outcome.went_wrong else logging.INFO
        assert outcome.log_level == (logging.ERROR if outcome is Outcome.FAILED else wanted)


def test_no_run_went_both_well_and_wrong() -> None:
    assert {outcome for outcome in Outcome if outcome.went_well and outcome.went_wrong} == set()
    assert {outcome for outcome in Outcome if not outcome.went_well and not outcome.went_wrong} == {
        Outcome.CIRCUIT_OPEN,
        Outcome.LEASE_HELD,
    }


@pytest.mark.parametrize("outcome", list(Outcome))
def test_the_help_of_run_has_the_table(outcome: Outcome) -> None:
    text = CliRunner().invoke(cli, ["run", "--help"]).output

    assert f"{outcome.value:<18}{outcome.exit_code}  {MEANINGS[outcome].sentence}" in text


def test_the_documents_have_the_table() -> None:
    """docs/operate.md, a row for each outcome."""
    text = (Path(__file__).parents[3] / "docs" / "operate.md").read_text(encoding="utf-8")
    table = text.partition("| outcome | exit code |")[2].partition("\n\n")[0]

    assert {name: int(code) for name, code in re.findall(r"^\| `(\w+)` \| (\d) \|", table, re.MULTILINE)} == EXIT_CODES
