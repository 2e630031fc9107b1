"""Owns the faults of a soak: of the network, of single commands, of servers, of what handlers store in."""

import time

from dev.proxy import Action, ErrorReply, Fault, Proxy
from dev.soak import journal, lab
from dev.soak.lab import raw_client
from dev.soak.world import World

FAULTS: dict[str, Action] = {
    "cut before": Fault.CUT_BEFORE,
    "cut after": Fault.CUT_AFTER,
    "reply lost": Fault.DROP_REPLY,
    "hang": Fault.HANG,
    "OOM": ErrorReply("OOM command not allowed when used memory > 'maxmemory'."),
    "LOADING": ErrorReply("LOADING Redis is loading the dataset in memory"),
    "READONLY": ErrorReply("READONLY You can't write against a read only replica."),
    "MASTERDOWN": ErrorReply("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."),
    "too many clients": ErrorReply("ERR max number of clients reached"),
    "odd error": ErrorReply("ERR odd"),
}
COMMANDS = ["XPENDING", "XCLAIM", "EVAL", "EVALSHA", "HSET", "XACK", "EXEC", "MULTI", "SET", "GET", "XRANGE", "XADD"]
COMMANDS += ["HGETALL", "HSCAN", "HDEL", "XINFO", "XLEN", "TIME", "XDEL", "PING"]


def any_proxy(world: World) -> Proxy:
    return world.rng.choice([world.warm, world.warm, world.deadly])


def fault(world: World) -> None:
    name, command = world.rng.choice(list(FAULTS)), world.rng.choice(COMMANDS)
    times = world.rng.choice([1, 1, 3, 10])
    rule = any_proxy(world).when(command, FAULTS[name], times=times, skip=world.rng.choice([0, 0, 1, 4]))
    world.strike(name)
    world.rules.append((name, rule))
    world.note(f"fault: {name} at the next {command}, {times} times")


def break_link(world: World) -> None:
    proxy, what = any_proxy(world), world.rng.choice(["cut", "mute", "refuse", "slow", "slow", "narrow", "narrow"])
    match what:
        case "cut":
            proxy.cut()
        case "mute":
            proxy.mute()
        case "refuse":
            proxy.refuse()
            proxy.cut()
        case "slow":
            proxy.request_delay_sec = proxy.reply_delay_sec = world.rng.choice([0.003, 0.02, 0.1])
            world.slow.setdefault(proxy, len(proxy.commands))
        case "narrow":
            proxy.bytes_per_sec = world.rng.choice([300_000, 2_000_000])
            world.slow.setdefault(proxy, len(proxy.commands))
    world.strike(f"link {what}")
    world.note(f"fault: link {what}")


def calm_down(world: World) -> None:
    if not world.is_calm:
        world.calm()
        world.note("the network is well again")


def fail_over(world: World) -> None:
    if not lab.fail_over(*world.servers):
        return
    world.strike("failover")
    world.servers.reverse()
    world.warm.server_port = world.deadly.server_port = world.servers[0].port
    world.client.close()
    world.client = raw_client(world.servers[0].port)
    world.note("failover: the old primary lives on as a replica")


def restart(world: World) -> None:
    world.strike("server killed and started")
    world.servers[0].kill()
    time.sleep(world.rng.choice([0, 0.1, 0.5]))
    world.servers[0].start()
    world.reconnect()
    world.note("the server was killed and started again")


def kill_endpoint(world: World) -> None:
    """What a target's handler stores in is not there any more, for all entries or for those of some order keys."""
    books = world.any()
    keys = world.rng.choice([["*"], ["a"], ["b", "c"]])
    journal.kill_endpoint(books.plan.number, world.closed_port, keys)
    world.count["fault: endpoint dead"] += 1
    world.note(f"fault: the endpoint of target {books.plan.number} is dead for {keys}")


def revive_endpoints(world: World) -> None:
    """It is there again, for every target."""
    if journal.revive_endpoints():
        world.note("the endpoints are there again")
