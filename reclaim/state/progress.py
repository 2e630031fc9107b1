"""Owns the time that a batch may take: it has no end while bytes move, and runs out when none have moved for a while.

A large entry takes seconds over a slow link, to read and to send back; that is no reason to give up and begin anew.
"""

import asyncio
import socket
import struct
from contextlib import suppress
from typing import Any

from redis.asyncio import Connection

LOOKS = 10  # in the time that a silence may last


class WhileBytesMove:
    """A block whose time limit is put off while bytes move over the connection, either way."""

    __slots__ = ("_connection", "_limit", "_loop", "_moved", "_silent_sec", "_timer")

    def __init__(self, connection: Connection, limit: asyncio.Timeout, silent_sec: float) -> None:
        """Make it.

        Args:
            connection: where they move.
            limit: what runs out when none have moved for `silent_sec`, or up to a tenth of that more.
            silent_sec: how long nothing may move.
        """
        self._connection = connection
        self._limit = limit
        self._silent_sec = silent_sec
        self._loop = asyncio.get_running_loop()
        self._moved: tuple[int, ...] | None = None  # most batches are over before the first look

    def __enter__(self) -> None:
        self._timer = self._loop.call_later(self._silent_sec / LOOKS, self._look)

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def _look(self) -> None:
        before, self._moved = self._moved, _moved(self._connection)
        if self._limit.expired():
            return
        if self._moved != before:
            self._limit.reschedule(self._loop.time() + self._silent_sec)
        self._timer = self._loop.call_later(self._silent_sec / LOOKS, self._look)


def _moved(connection: Connection) -> tuple[int, ...]:
    """Numbers that change when bytes move.

    What the other side has acknowledged and sent is counted by Linux alone (https://man7.org/linux/man-pages/man7/tcp.7.html).
    Elsewhere what waits to be sent is all that is known, and what has arrived and was not read yet.
    """
    writer: Any = connection._writer  # noqa: SLF001 # redis-py has no other name for it
    if writer is None:
        return ()
    waiting = writer.transport.get_write_buffer_size()
    spoken = writer.get_extra_info("socket")
    with suppress(OSError, AttributeError, struct.error):
        info = spoken.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO.size)
        return (waiting, *_INFO.unpack(info))
    return (waiting,)


_INFO = struct.Struct("@120xQQ")  # struct tcp_info up to tcpi_bytes_acked and tcpi_bytes_received
