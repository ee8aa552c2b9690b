"""Cache keys: everything that the machine code of a kernel depends on, in one place."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

from cubie_kernels.version import __version__

__all__ = ["KernelKey", "versions"]


@dataclass(frozen=True)
class KernelKey:
    """What decides the machine code of a kernel.

    Parameters
    ----------
    text : str
        Whole text of the kernel module.
    target : str
        "cpu" or "cuda".
    bits, width : int
        Size of a real, and lanes of a register.
    options : tuple of str
        Compiler flags.
    triple, cpu, features : str
        The processor: LLVM's triple, name and feature list; for CUDA the compute capability.
    versions : tuple of (str, str)
        Name and version of every package that takes part in compiling.
    """

    text: str
    target: str
    bits: int
    width: int
    options: tuple[str, ...]
    triple: str
    cpu: str
    features: str
    versions: tuple[tuple[str, str], ...]

    @property
    def digest(self) -> str:
        """Hexadecimal digest that names the kernel in the cache; 40 characters."""
        fields = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(fields.encode()).hexdigest()[:40]


def versions(*packages: str) -> tuple[tuple[str, str], ...]:
    """Return name and version of this distribution, its lane language and other packages."""
    own = (("cubie", __version__), ("cubie lane language", _lane_language()))
    return (*own, *((name, version(name)) for name in packages))


@cache
def _lane_language() -> str:
    """Return a digest of the lane language's source, which is compiled into every kernel."""
    digest = hashlib.sha256()
    for path in sorted((Path(__file__).parents[1] / "lane").glob("*.py")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]
