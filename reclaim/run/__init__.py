"""One run: what becomes of the entries it claims."""
