"""Running compiled kernels over batches."""
