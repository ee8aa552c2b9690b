"""Configuration → module text → compiled kernel."""

from cubie_kernels.build.builder import Kernel, build_kernel
from cubie_kernels.build.config import KernelConfig

__all__ = ["Kernel", "KernelConfig", "build_kernel"]
