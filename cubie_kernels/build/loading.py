"""Reading a generated module back as Python."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

from cubie_kernels.errors import BuildError

__all__ = ["load_module"]


def load_module(path: Path, name: str) -> Any:
    """Import the module in ``path`` under ``name``, without entering it in `sys.modules`.

    Raises
    ------
    BuildError
        If there is no module in ``path``.
    """
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise BuildError(f"Cannot read the kernel module {path}.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[name]
    return module
