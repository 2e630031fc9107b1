"""Measurements: `make bench`. Nothing here runs on Azure."""
