"""What a careful user would otherwise write or install: the contenders of the benchmarks."""
