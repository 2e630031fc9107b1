"""Owns what people ask for: replays, discards, the circuit, the status."""

from collections.abc import Coroutine
from typing import Any

from dev.soak import journal
from dev.soak.scripted import replaying
from dev.soak.world import World
from reclaim.ops import letter_acts, operations

WHO = "the soak"


def ask(world: World, what: str, coroutine: Coroutine[Any, Any, Any]) -> None:
    world.person.append((what, world.loop.begin(coroutine)))
    world.count[f"person: {what.split(maxsplit=1)[0]}"] += 1
    world.note(f"a person asks: {what}")


def open_circuit(world: World) -> None:
    name = world.targets[world.any().plan.number].name
    ask(world, f"open {name}", operations.open_circuit(world.app, "maintenance", WHO, name))


def close_circuit(world: World) -> None:
    name = world.targets[world.any().plan.number].name
    ask(world, f"close {name}", operations.close_circuit(world.app, "well again", WHO, name))


def replay(world: World) -> None:
    books = world.any()
    name = world.targets[books.plan.number].name
    letters = [letter_id for letter_id, _ in world.letters(books)]
    some = None if world.rng.random() < 0.5 else world.rng.sample(letters, min(len(letters), 2))
    journal.write("replay", books.plan.number)

    async def replay() -> Any:
        replaying.set(True)
        return await letter_acts.replay_dead_letters(world.app, some, name, budget_sec=1.0)

    ask(world, f"replay {name}", replay())


def discard(world: World) -> None:
    books = world.any()
    name = world.targets[books.plan.number].name
    letters = world.letters(books)
    some = world.rng.sample(letters, min(len(letters), world.rng.choice([1, 5])))
    for _, entry_id in some:
        books.made[entry_id].is_dropped = True
    if some:
        ask(world, f"discard {name}", letter_acts.discard_dead_letters(world.app, [one for one, _ in some], name))


def look(world: World) -> None:
    ask(world, "status", operations.read_status(world.app))
