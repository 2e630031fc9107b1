"""Dead letters and lost entries, as the app records them."""

from collections.abc import Sequence
from typing import Any

from tests.e2e.http.apps import TARGET
from tests.support import Client


def dead(client: Client, *bodies: list[bytes], target: Any = TARGET) -> list[str]:
    """Make dead letters with these bodies; return their IDs."""
    about = [b"reason", b"bad_entry", b"error", b"it is bad", b"consumer", b"worker", b"deliveries", b"1"]
    ids = []
    for number, body in enumerate(bodies, 1):
        fields = [part if at % 2 else b"field:" + part for at, part in enumerate(body)]
        moment = [b"id", b"%d-0" % number, b"at", b"2026-01-02T03:04:05.678+00:00"]
        ids.append(client.execute_command("XADD", target.keys.dead, "*", *moment, *about, *fields).decode())
    return ids


def many_dead(client: Client, count: int, kinds: Sequence[str], target: Any = TARGET) -> None:
    """Make so many dead letters, of these errors by turns."""
    about = ["reason", "failed", "consumer", "worker", "deliveries", "5", "at", "2026-01-02T03:04:05.678+00:00"]
    with client.pipeline(transaction=False) as pipeline:
        for number in range(1, count + 1):
            said = ["id", f"{number}-0", "error", kinds[number % len(kinds)].format(number)]
            body = ["field:id", str(number), "field:text", f"the text of {number}"]
            pipeline.execute_command("XADD", target.keys.dead, f"{number}-0", *said, *about, *body)
            if number % 5000 == 0:
                pipeline.execute()
        pipeline.execute()


def lose(client: Client, *numbers: int, consumer: str = "gone", target: Any = TARGET) -> None:
    """Record the entries of these numbers as lost."""
    about = ["consumer", consumer, "idle_ms", 60_000, "deliveries", 2, "at", 1_767_323_045_678]
    for number in numbers:
        client.execute_command("XADD", target.keys.lost, "*", "id", f"{number}-0", *about)
