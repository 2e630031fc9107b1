"""What a run's outcome means for those who show it or log it."""

import logging

from reclaim.run.report import Outcome


def test_a_failed_run_is_an_error_in_the_log_and_one_that_went_wrong_otherwise_a_warning() -> None:
    unusual = {outcome: outcome.log_level for outcome in Outcome if outcome.log_level != logging.INFO}

    assert unusual == {
        Outcome.FAILED: logging.ERROR,
        Outcome.GROUP_MISSING: logging.WARNING,
        Outcome.LEASE_LOST: logging.WARNING,
    }


def test_no_run_went_both_well_and_wrong() -> None:
    assert {outcome for outcome in Outcome if outcome.went_well and outcome.went_wrong} == set()
    assert {outcome for outcome in Outcome if not outcome.went_well and not outcome.went_wrong} == {
        Outcome.CIRCUIT_OPEN,
        Outcome.LEASE_HELD,
    }
