"""On what a benchmark ran: processor, vector units, versions."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["describe", "vector_units"]

_PACKAGES = ("numpy", "numba", "llvmlite", "scipy", "heyoka")


def vector_units() -> str:
    """``"AVX-512"``, ``"AVX2"`` or the name of the architecture."""
    import llvmlite.binding as llvm

    features = llvm.get_host_cpu_features()
    if features.get("avx512f"):
        return "AVX-512"
    return "AVX2" if features.get("avx2") else platform.machine()


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def _commit() -> str:
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return found.stdout.strip()


def describe(threads: int) -> list[str]:
    """Lines of a list in Markdown."""
    import llvmlite.binding as llvm

    import cubie_kernels

    packages = ", ".join(f"{name} {_version(name)}" for name in _PACKAGES)
    lines = [
        f"- processor: {_processor()} (LLVM: {llvm.get_host_cpu_name()}), {vector_units()}, "
        f"{os.cpu_count()} cores, {threads} threads used",
        f"- system: {platform.system()} {platform.machine()}, {' '.join(platform.libc_ver())}, "
        f"Python {platform.python_version()}",
        f"- versions: cubie {cubie_kernels.__version__} (commit {_commit()}), {packages}",
        f"- date: {datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC",
    ]
    if hasattr(os, "getloadavg"):
        lines.append(f"- load average before the first section: {os.getloadavg()[0]:.2f}")
    return lines
