"""What is kept in Redis, one file for each thing; knows no run."""
