"""Scratch memory of kernels: components declare buffers, one pure function lays them out."""

from cubie_kernels.buffers.allocator import Allocator, address
from cubie_kernels.buffers.explain import Explanation, Row
from cubie_kernels.buffers.layout import Layout
from cubie_kernels.buffers.placement import Limits
from cubie_kernels.buffers.registry import BufferRegistry

__all__ = ["Allocator", "BufferRegistry", "Explanation", "Layout", "Limits", "Row", "address"]
