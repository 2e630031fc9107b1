"""reclaim takes over Redis Streams entries that a consumer read and never acknowledged."""

__version__ = "0.1.0"
