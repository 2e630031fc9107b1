"""reclaim takes over Redis Streams entries that a consumer read and never acknowledged.

Handlers import what they need from here: `Entry`, `RejectEntry`, `RetryEntry`.
"""

from reclaim.entry import Entry
from reclaim.errors import RejectEntry, RetryEntry

__version__ = "0.1.0"
__all__ = ["Entry", "RejectEntry", "RetryEntry", "__version__"]
