"""Owns the race: contenders on one bed, run in turn on the same backlog; every run is checked."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from bench.backlog import Backlog
from bench.bed import Bed
from bench.measuring import APP, Taken, measure, turns
from bench.section import Say


def nothing() -> None:
    """What most contenders need before and after a run."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One that takes part.

    Attributes:
        env: its environment.
        name: which of `bench.contenders` it is.
        prepare: is called when the bed is filled, before a run.
        check: is called after a run; raises CheckFailed if that was not what it should have been.
    """

    env: Mapping[str, str]
    name: str = APP
    prepare: Callable[[], None] = nothing
    check: Callable[[], None] = nothing


def race(
    bed: Bed, backlog: Backlog, contenders: Mapping[str, Contender], rounds: int, say: Say
) -> dict[str, list[Taken]]:
    """What each contender took in each round.

    Raises:
        CheckFailed: a run did not do what it should have done.
    """
    taken: dict[str, list[Taken]] = {name: [] for name in contenders}
    for at, name in turns(rounds, contenders):
        contender = contenders[name]
        bed.fill(backlog)
        contender.prepare()
        before = bed.server.processor_sec
        one = measure(contender.env, contender.name)
        one = replace(one, server_sec=bed.server.processor_sec - before)
        bed.check(backlog, contender.env.get("HASH_VERSION_FIELD"))
        contender.check()
        taken[name].append(one)
        say(f"  {at}/{rounds} {name}: {backlog.count / one.seconds[0]:,.0f} entries/s")
    return taken
