"""The program: one world after another until the time is up, a table at the end, exit code 1 on a violation."""

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from dev.soak import journal
from dev.soak.child import Nursery
from dev.soak.faults import FAULTS
from dev.soak.healing import heal
from dev.soak.judge import judge
from dev.soak.lab import Lab
from dev.soak.life import live
from dev.soak.plans import POISON
from dev.soak.warm import Loop
from dev.soak.world import World

SECONDS = 4.0
ALL_BY_MINUTES = 10.0  # in so many minutes every kind of fault must have happened
# What the world does to a deployment, and by which counts it is known to have happened.
KINDS = {
    "foreign entries": ("entry: foreign",),
    "slow links": ("happened: command over a slow link",),
    "groups made anew": ("groups made anew",),
    "failovers": ("fault: failover",),
    "dead endpoints": ("happened: entry met a dead endpoint",),
    "re-reading consumers": ("happened: entry read again by its consumer",),
    "poison in bulk": (f"entry: {POISON}",),
    "processes killed": ("kills",),
    **{f"answers: {name}": (f"happened: {name}",) for name in FAULTS},
}
MAX_TOLD = 200  # violations in the table; a world tells all of its own


def soak(
    seed: int, minutes: float, *, seconds: float = SECONDS, worlds: int = 0, first: int = 0, keep_going: bool = False
) -> tuple[Counter[str], list[str]]:
    """Build worlds until the time is up, or so many of them; return what was counted, and what was not as promised."""
    total: Counter[str] = Counter()
    problems: list[str] = []
    until = time.monotonic() + minutes * 60
    with Lab() as lab, tempfile.TemporaryDirectory(prefix="soak-") as directory:
        nursery, loop, number = Nursery(Path(directory) / "children.log"), Loop(), first
        try:
            while time.monotonic() < until and not (worlds and number >= first + worlds):
                count, found = _one(lab, loop, nursery, f"{seed}:{number}", seconds)
                total += count
                total["worlds"] += 1
                number += 1
                problems += found
                if found and not keep_going:
                    break
        finally:
            nursery.close()
        problems += _lines_of_children(Path(directory) / "children.log")
    if minutes >= ALL_BY_MINUTES and not worlds and not problems:
        problems += [f"the soak has no {name}" for name, times in happened(total).items() if not times]
    return total, problems


def happened(count: Counter[str]) -> dict[str, int]:
    """How often each kind of fault happened: not how often it was arranged."""
    return {
        name: sum(times for what, times in count.items() if what.startswith(starts)) for name, starts in KINDS.items()
    }


def _one(lab: Lab, loop: Loop, nursery: Nursery, seed: str, seconds: float) -> tuple[Counter[str], list[str]]:
    with World(lab, loop, nursery, seed) as world:
        live(world, seconds)
        heal(world)
        found = judge(world)
        world.count[f"worlds: {world.kind}"] += 1
        world.count["longest log line, bytes"] = 0
        if found:
            _tell(world, found)
        return world.count, [f"world {seed}: {one}" for one in found]


def _tell(world: World, found: list[str]) -> None:
    """Print the seed, the world and its history."""
    print(f"\n=== world {world.seed} on {world.kind}: {len(found)} violations")
    for books in world.books:
        print(
            f"    target {books.plan.number}, {books.plan.mode}, foreign {books.plan.is_foreign}: {books.plan.settings}"
        )
    print("--- history")
    print("\n".join(world.history))
    print("--- journal")
    for line in journal.read():
        print(f"{line.at_ms:.1f}  {line.pid}  {line.word}  {line.target}  {line.entry}  {line.about}")
    print("--- violations")
    print("\n".join(found), flush=True)


def _lines_of_children(log: Path) -> list[str]:
    """What the processes that were killed have logged: no line is too long, no exception was unhandled."""
    text = log.read_bytes()
    long = [line for line in text.splitlines() if len(line) > 8192]
    problems = [f"G7: a log line of {len(line)} bytes in a process of its own: {line[:300]!r}" for line in long]
    if b"Task exception was never retrieved" in text or b"exception in callback" in text:
        problems.append(f"an unhandled exception in a process of its own: {text[-3000:]!r}")
    return problems


def main() -> int:
    """Read the command line, soak, print the table."""
    parser = argparse.ArgumentParser(prog="python -m dev.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="how long a world lives; default: %(default)s")
    parser.add_argument("--first", type=int, default=0, help="the number of the first world, to see one again")
    parser.add_argument(
        "--worlds", type=int, default=0, help="how many worlds at most; default: as many as there is time"
    )
    parser.add_argument("--keep-going", action="store_true", help="build further worlds after a violation")
    given = parser.parse_args()
    count, problems = soak(
        given.seed,
        given.minutes,
        seconds=given.seconds,
        worlds=given.worlds,
        first=given.first,
        keep_going=given.keep_going,
    )
    print(f"\nseed {given.seed}")
    for what, times in sorted(count.items()):
        print(f"{times:>9,}  {what}")
    print("\nhow often each kind of fault happened")
    for what, times in happened(count).items():
        print(f"{times:>9,}  {what}")
    print(f"\n{len(problems):>9,}  violations")
    for problem in problems[:MAX_TOLD]:
        print(f"           {problem[:500]}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
