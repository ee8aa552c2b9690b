"""Kernel source in the lane language: Python over free names, never called as it stands.

Lower-case free names are primitives of the lane language or sibling functions; upper-case ones are
bound by `cubie_kernels.lane.specialise`. A real is one number per lane: it is never branched on.
"""
