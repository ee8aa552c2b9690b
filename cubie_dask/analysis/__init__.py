"""Sweeps and stores as lazy arrays, statistics of their runs, and files of other formats."""
