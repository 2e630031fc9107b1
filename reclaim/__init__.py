"""reclaim takes over Redis Streams entries that a consumer read and never acknowledged.

Handlers import what they need from here: `Entry`, `RejectEntry`, `RetryEntry`, `batch`, and for types `Failures`.
"""

from reclaim.batches import Failures, batch
from reclaim.entry import Entry
from reclaim.errors import RejectEntry, RetryEntry

__version__ = "0.1.0"
__all__ = ["Entry", "Failures", "RejectEntry", "RetryEntry", "__version__", "batch"]
