"""What is said of a run; none of it can fail one."""
