"""Owns the life of a world: which steps there are, how often each comes, and when."""

import time
from collections.abc import Callable

from redis.exceptions import ConnectionError as NotConnected
from redis.exceptions import ResponseError

from dev.soak import faults, people, traffic
from dev.soak.lab import ON_DISK, PAIRS
from dev.soak.world import World


def live(world: World, seconds: float) -> None:
    """Let things happen for so many seconds."""
    steps: list[tuple[int, Callable[[World], None]]] = [
        *((30, traffic.produce), (25, traffic.read), (15, traffic.work), (6, traffic.reread), (4, traffic.die)),
        *((25, World.start_run), (5, World.start_child), (6, World.kill_child)),
        *((10, faults.fault), (5, faults.break_link), (10, faults.calm_down)),
        *((3, faults.kill_endpoint), (4, faults.revive_endpoints), (1, traffic.poison)),
        *((1, traffic.trim), (4, traffic.delete), (1, traffic.make_anew)),
        *((1, people.open_circuit), (6, people.close_circuit), (1, people.look)),
        *((4, people.replay), (2, people.discard)),
    ]
    if world.kind in PAIRS:
        steps.append((3, faults.fail_over))
    if world.kind == ON_DISK:
        steps.append((2, faults.restart))
    weights, acts = zip(*steps, strict=True)
    for _ in range(3):
        traffic.produce(world)
        traffic.read(world)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        (act,) = world.rng.choices(acts, weights)
        try:
            act(world)
        except (NotConnected, ResponseError) as exc:  # the server is being moved, or the group is not there
            world.note(f"{act.__name__}: {exc}")
            world.reconnect()
        world.collect()
        time.sleep(world.rng.choice([0, 0, 0.005, 0.02, 0.06]))
