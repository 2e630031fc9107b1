"""Owns what producers, consumers and other programs do to a stream and its group."""

import time

from dev.soak import journal
from dev.soak.plans import GROUP, Books, Made, make_entry, make_healthy, make_poison
from dev.soak.world import World

CONSUMERS = ("alice", "bob")


def produce(world: World) -> None:
    books, bulk = world.any(), world.rng.choice([1, 3, 3, 8, 8, 30])
    for _ in range(bulk):
        made = add(world, books, make_entry(world.rng, books.plan, books.next(), books.epoch))
    world.note(f"{bulk} entries in {books.plan.stream}, the last one {made.id}")


def poison(world: World) -> None:
    """A producer of broken entries: many that can never be stored, one right after another."""
    books, bulk = world.any(), world.rng.choice([40, 80, 160])
    for _ in range(bulk):
        made = add(world, books, make_poison(books.plan, books.next(), books.epoch))
    read(world, books, count=bulk)
    world.note(f"{bulk} poison entries in {books.plan.stream}, the last one {made.id}")


def healthy(world: World, books: Books) -> None:
    """A producer goes on: one entry that can be stored, and a consumer that drops it."""
    add(world, books, make_healthy(books.plan, books.next(), books.epoch))
    read(world, books, "mallory", 500)


def add(world: World, books: Books, made: Made) -> Made:
    world.client.execute_command("XADD", books.plan.stream, made.id, *made.fields)
    books.made[made.id] = made
    world.count["entries"] += 1
    world.count[f"entry: {made.kind}"] += 1
    return made


def read(world: World, books: Books | None = None, consumer: str = "", count: int = 0) -> None:
    books, consumer = books or world.any(), consumer or world.rng.choice(CONSUMERS)
    count = count or world.rng.choice([1, 5, 20])
    group = ("GROUP", GROUP, consumer, "COUNT", count, "STREAMS", books.plan.stream)
    found = world.client.execute_command("XREADGROUP", *group, ">")
    ids = [entry_id.decode() for _, entries in found or () for entry_id, _ in entries]
    for one in ids:
        books.made[one].is_read, books.made[one].read_at = True, world.now
        journal.write("read", books.plan.number, one)
    books.held.setdefault(consumer, []).extend(ids)
    if ids:
        world.note(f"{consumer} reads {ids[0]} to {ids[-1]} of {books.plan.stream}")


def work(world: World) -> None:
    """A live consumer stores and acknowledges some of what it read; it may delete them too."""
    books, consumer = world.any(), world.rng.choice(CONSUMERS)
    held = books.held.get(consumer, [])
    some = [held.pop(world.rng.randrange(len(held))) for _ in range(min(len(held), world.rng.choice([1, 2, 5])))]
    for one in some:
        books.acked.add(one)
        journal.write("acked", books.plan.number, one)
        world.client.execute_command("XACK", books.plan.stream, GROUP, one)
        if world.rng.random() < 0.2:
            remove(world, books, [one])
    if some:
        world.note(f"{consumer} has done {some} of {books.plan.stream}")


def reread(world: World) -> None:
    """A consumer reads its own pending list again: each entry in it is delivered once more."""
    books, consumer = world.any(), world.rng.choice(CONSUMERS)
    group = ("GROUP", GROUP, consumer, "COUNT", 100, "STREAMS", books.plan.stream)
    found = world.client.execute_command("XREADGROUP", *group, "0")
    world.count["happened: entry read again by its consumer"] += sum(len(entries) for _, entries in found or ())
    world.note(f"{consumer} reads its own list of {books.plan.stream} again")


def die(world: World) -> None:
    books, consumer = world.any(), world.rng.choice(CONSUMERS)
    books.held[consumer] = []
    world.note(f"{consumer} of {books.plan.stream} dies")


def remove(world: World, books: Books, ids: list[str]) -> None:
    for one in ids:
        books.made[one].is_removed = True
        journal.write("removed", books.plan.number, one)
    world.client.execute_command("XDEL", books.plan.stream, *ids)


def delete(world: World) -> None:
    books = world.any()
    there = [one.id for one in books.made.values() if one.epoch == books.epoch and not one.is_removed]
    some = world.rng.sample(there, min(len(there), world.rng.choice([1, 2])))
    if some:
        remove(world, books, some)
        world.note(f"somebody deletes {some} of {books.plan.stream}")


def trim(world: World) -> None:
    books = world.any()
    there = sorted((one for one in books.made.values() if one.epoch == books.epoch), key=_order)
    gone = [one.id for one in there[: len(there) // 2] if not one.is_removed]
    if gone:
        remove(world, books, gone)
        world.note(f"{books.plan.stream} is trimmed up to {gone[-1]}")


def make_anew(world: World) -> None:
    """The group is destroyed and made anew; or the stream with it, by its deletion or by another name."""
    books, how = world.any(), world.rng.choice(["group", "stream deleted", "stream renamed"])
    stream = books.plan.stream
    pending = {row[0].decode() for row in world.client.execute_command("XPENDING", stream, GROUP, "-", "+", 100_000)}
    for one in books.made.values():
        if one.epoch == books.epoch and not one.is_gone and (one.id in pending or not one.is_read or how != "group"):
            one.is_gone = True
    journal.write("anew", books.plan.number)
    between = world.rng.choice([0, 0, 0.05, 0.3])
    if how == "group":
        world.client.execute_command("XGROUP", "DESTROY", stream, GROUP)
    elif how == "stream deleted":
        world.client.execute_command("DEL", stream)
    else:
        world.client.execute_command("RENAME", stream, f"old {books.epoch} {stream}")
    time.sleep(between)
    world.client.execute_command("XGROUP", "CREATE", stream, GROUP, "$", "MKSTREAM")
    journal.write("anew", books.plan.number)
    books.epoch += how != "group"
    if how == "group":
        for one in books.made.values():  # what the new group begins behind is nobody's any more
            one.is_gone = one.is_gone or not one.is_read
    if how != "group":  # a new group of the same stream is told by its consumers only, and not always
        seen = [one for one in pending if books.made[one].read_at < world.clean_from[books.plan.number]]
        world.owed_gone[books.plan.number] += len(seen)
    books.held.clear()
    world.count["groups made anew"] += 1
    world.count[f"fault: made anew: {how}"] += 1
    world.note(f"{how}: {stream}/{GROUP} is made anew, {len(pending)} were pending, there was none for {between} s")


def _order(made: Made) -> int:
    return int(made.id.partition("-")[0])
