"""Owns what the server's clock says (https://redis.io/docs/latest/commands/time/)."""

from reclaim.state.ask import Command, Reply, checked

TIME: Command = ("TIME",)


def unix_ms(reply: Reply) -> int:
    """What TIME has answered, as Unix milliseconds. It raises the answer if that is an error."""
    seconds, microseconds = map(int, checked(reply))
    return 1000 * seconds + microseconds // 1000
