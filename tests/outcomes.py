"""The table of a run's outcomes, written once more by hand: how a run can end, and what the command line exits with."""

EXIT_CODES = {
    "completed": 0,
    "nothing_pending": 0,
    "out_of_time": 0,
    "stopped": 0,
    "lease_held": 0,
    "failed": 1,
    "group_missing": 1,
    "group_gone": 1,
    "lease_lost": 1,
    "circuit_open": 1,
    "too_many_held": 1,
    "dead_letters_full": 1,
}
