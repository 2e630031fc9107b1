"""The function that both releases have as a handler: it fails as the entry's text, or a switch, says."""

from reclaim import Entry

outage = False


async def handle(entry: Entry) -> None:
    """Handle an entry: `bad` is its own fault, anything else fails only while the store is away."""
    if entry.get("text") == b"bad":
        raise ValueError("it is bad")
    if outage:
        raise ConnectionError("the store is away")
    if entry.get("text") == b"odd":
        raise LookupError("nobody knows this error")
