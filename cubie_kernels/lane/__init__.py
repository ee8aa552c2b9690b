"""The lane language: one kernel source for NumPy arrays, SIMD registers and CUDA threads."""
