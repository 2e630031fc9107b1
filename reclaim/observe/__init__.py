"""What reclaim tells the world about a run. An error here never fails a run."""
