"""Owns the lines that tell how far an experiment is: each begins with the seconds since the program started."""

import time

_BEGAN = time.monotonic()


def say(text: str) -> None:
    """Print a line at once, even into a pipe."""
    print(f"{time.monotonic() - _BEGAN:5.0f} s  {text}", flush=True)
