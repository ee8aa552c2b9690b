"""Which runs a sweep has: their numbers, and the values of each block of them."""
