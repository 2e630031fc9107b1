"""What docs/experiments.md shows: both articles' experiments on reclaim, at full size, for anyone to repeat."""
