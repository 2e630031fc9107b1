"""What a person can see and ask for, once for every door."""
