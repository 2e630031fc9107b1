"""What Azure never sees: servers to test on, tweets, flaky processors, a faulty network and the demo."""
