"""Models: names, default values, equations, and the code made from them."""

from cubie_kernels.model.system import System

__all__ = ["System"]
