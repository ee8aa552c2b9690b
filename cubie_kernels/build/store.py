"""The disk cache of compiled kernels, shared by concurrent processes.

An entry is one file, written to a temporary name and renamed, so that a reader sees all of it or
nothing; two processes that compile the same kernel at once write the same thing twice. A damaged
entry is noticed by its checksum and compiled again. The module's text lies beside it for reading.

The folder is ``$CUBIE_CACHE_DIR``, else ``cubie`` in the user's cache directory
(``$XDG_CACHE_HOME`` or ``~/.cache``; ``~/Library/Caches`` on macOS; ``%LOCALAPPDATA%`` on
Windows). Where it cannot be written, kernels are compiled anew in each process.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Entry", "KernelStore", "cache_folder"]

_MAGIC = b"cubie kernel 1\n"


def cache_folder() -> Path:
    """Return the folder of the cache; it need not exist."""
    chosen = os.environ.get("CUBIE_CACHE_DIR")
    if chosen:
        return Path(chosen)
    if sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "cubie" / "kernels"


@dataclass(frozen=True)
class Entry:
    """A compiled kernel: its object file, and facts needed to load it."""

    code: bytes
    facts: dict[str, Any]


class KernelStore:
    """Compiled kernels in a folder, by digest of their key.

    Parameters
    ----------
    folder : Path, optional
        Where they lie; by default `cache_folder`.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = cache_folder() if folder is None else folder

    def path(self, digest: str) -> Path:
        """Return where the entry ``digest`` is."""
        return self.folder / digest[:2] / f"{digest}.kernel"

    def module_path(self, digest: str) -> Path:
        """Return where the text of the kernel ``digest`` is."""
        return self.path(digest).with_name(f"kernel_{digest}.py")

    def load(self, digest: str) -> Entry | None:
        """Return an entry, or None if it is missing or damaged."""
        try:
            data = self.path(digest).read_bytes()
        except OSError:
            return None
        head, _, rest = data.removeprefix(_MAGIC).partition(b"\n")
        checksum, _, payload = rest.partition(b"\n")
        if not data.startswith(_MAGIC) or _checksum(head + payload) != checksum:
            return None
        return Entry(payload, json.loads(head))

    def save(self, digest: str, entry: Entry) -> bool:
        """Write an entry; return whether the folder could be written."""
        head = json.dumps(entry.facts, sort_keys=True).encode()
        data = b"".join((_MAGIC, head, b"\n", _checksum(head + entry.code), b"\n", entry.code))
        return _write(self.path(digest), data)

    def save_module(self, digest: str, text: str) -> Path:
        """Write the text of a kernel and return its path.

        Where the cache cannot be written, the path is that of a temporary file.
        """
        path = self.module_path(digest)
        if _write(path, text.encode()):
            return path
        folder = Path(tempfile.mkdtemp(prefix="cubie-"))
        fallback = folder / path.name
        fallback.write_text(text)
        return fallback

    def clear(self) -> int:
        """Remove all entries and return how many there were."""
        entries = sorted(self.folder.glob("*/*.kernel"))
        for entry in entries:
            entry.unlink(missing_ok=True)
        for module in self.folder.glob("*/kernel_*.py"):
            module.unlink(missing_ok=True)
        return len(entries)


def _checksum(data: bytes) -> bytes:
    return hashlib.sha256(data).hexdigest().encode()


def _write(path: Path, data: bytes) -> bool:
    """Write a file atomically; return False where the folder does not allow it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".partial")
    except OSError:
        return False
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(name, path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        return False
    return True
