"""Stores at URLs: object stores and all else that fsspec reaches.

fsspec rather than obstore: it is there already with Dask, knows more kinds of URL, and each process
configures it for itself by its environment or a file, without anything that would have to be sent.
"""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from zarr.storage import FsspecStore

from cubie_dask.errors import StoreBusyError, StoreError
from cubie_dask.stores.storage import Storage

__all__ = ["RemoteStorage"]

_CREATING = "creating.json"
_STALE_SECONDS = 60.0
_RENEWED_SECONDS = 10.0
_READ_AT_ONCE = 1000
# A listing that was kept would hide what other processes wrote.
_UNCACHED = {"use_listings_cache": False}


class RemoteStorage(Storage):
    """What lies below a URL. A file there is replaced in one step or not at all.

    Parameters
    ----------
    url : str
        The URL.

    Raises
    ------
    StoreError
        For a URL that fsspec doesn't know, or whose package is not installed.
    """

    def __init__(self, url: str) -> None:
        import fsspec

        self.url = url.rstrip("/")
        try:
            # Any: what a file system has depends on its kind.
            files: Any
            files, root = fsspec.url_to_fs(self.url, **_UNCACHED)
        except ImportError as fault:
            raise StoreError(
                f"{url} can't be opened: {fault}. For s3://… install cubie[s3]."
            ) from fault
        except ValueError as fault:
            raise StoreError(
                f"{url} can't be opened: {fault}. Give a path or a URL such as s3://bucket/a.zarr."
            ) from fault
        self._files, self._root = files, root.rstrip("/")

    def zarr(self, read_only: bool = False) -> Any:
        """Return a zarr store that is pickled as its URL."""
        return _UrlStore.of(self.url, read_only)

    def vacant(self) -> bool:
        """Return whether nothing is here, or what a process left that died making a store."""
        if self._is_torn():
            age = self.age(_CREATING)
            if age < _STALE_SECONDS:
                maker = self.read(_CREATING).decode("utf-8", "replace")
                raise StoreBusyError(
                    f"{self} is being made by {maker}, which gave its last sign {age:.0f} s ago: "
                    f"run this again once it is made. If that process died, it is taken over "
                    f"after {_STALE_SECONDS:.0f} s."
                )
            return True
        return not self.exists()

    @contextmanager
    def making(self) -> Iterator[Any]:
        """Give the place itself, with a lock whose owner tells each 10 s that it lives."""
        if self._is_torn():
            self._files.rm(self._root, recursive=True)
        mine = f"{socket.gethostname()}:{os.getpid()}, {uuid.uuid4().hex[:8]}".encode()
        if not self.create(_CREATING, mine):
            raise StoreBusyError(f"{self} is being made by another process.")
        ended = threading.Event()

        def renew() -> None:
            while not ended.wait(_RENEWED_SECONDS):
                self.write(_CREATING, mine)

        living = threading.Thread(target=renew, name="cubie-creating", daemon=True)
        living.start()
        try:
            yield self.zarr()
        finally:
            ended.set()
            living.join()
        if self.read(_CREATING) != mine:
            raise StoreBusyError(f"{self} was made by another process meanwhile.")
        self.delete(_CREATING)

    def exists(self) -> bool:
        """Return whether any file is below the URL."""
        try:
            return bool(self._files.ls(self._root, detail=False))
        except FileNotFoundError:
            return False

    def read(self, name: str) -> bytes:
        """Return the content of a file."""
        return self._files.cat_file(self._path(name))

    def read_all(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Return the contents of files, asking for up to a thousand together."""
        wanted = list(names)
        for start in range(0, len(wanted), _READ_AT_ONCE):
            part = wanted[start : start + _READ_AT_ONCE]
            found = self._files.cat([self._path(name) for name in part], on_error="return")
            for name in part:
                data = found[self._files._strip_protocol(self._path(name))]
                if isinstance(data, FileNotFoundError):
                    continue
                if isinstance(data, Exception):
                    raise data
                yield name, data

    def write(self, name: str, data: bytes) -> None:
        """Put an object."""
        self._files.pipe_file(self._path(name), data)

    def create(self, name: str, data: bytes) -> bool:
        """Put an object if there is none; where a service can't, by looking first."""
        try:
            self._files.pipe_file(self._path(name), data, mode="create")
        except FileExistsError:
            return False
        return True

    def names(self, folder: str) -> list[str]:
        """List a prefix."""
        try:
            entries = self._files.ls(self._path(folder), detail=True)
        except FileNotFoundError:
            return []
        return [e["name"].rpartition("/")[2] for e in entries if e["type"] == "file"]

    def sizes(self, folder: str) -> dict[str, int]:
        """List all below a prefix."""
        found = self._files.find(self._path(folder), detail=True)
        return {
            name[len(self._root) + 1 :]: -1 if entry["size"] is None else int(entry["size"])
            for name, entry in found.items()
        }

    def delete(self, name: str) -> None:
        """Delete an object."""
        try:
            self._files.rm_file(self._path(name))
        except FileNotFoundError:
            return

    def age(self, name: str) -> float:
        """Compare with an object that is put now; services tell whole seconds."""
        written = self._files.modified(self._path(name)).timestamp()
        probe = f".{uuid.uuid4().hex}.clock"
        try:
            self.write(probe, b"")
            now = self._files.modified(self._path(probe)).timestamp()
            self.delete(probe)
        except PermissionError:
            now = time.time()
        return max(0.0, now - written)

    def sweep(self, older_than: float = 0.0) -> int:
        """Do nothing: here a file is whole or not there."""
        del older_than
        return 0

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    def _is_torn(self) -> bool:
        """Return whether a store is being made, or was when its maker died."""
        return _CREATING in self.names("") and b'"cubie_format"' not in self._metadata()

    def _metadata(self) -> bytes:
        try:
            return self.read("zarr.json")
        except FileNotFoundError:
            return b""


class _UrlStore(FsspecStore):
    """A zarr store of which another process is told the URL alone, and none of its options."""

    url: str

    @classmethod
    def of(cls, url: str, read_only: bool) -> _UrlStore:
        """Open a URL with what this process knows of its rights."""
        store: Any = cls.from_url(url, storage_options=_UNCACHED, read_only=read_only)
        store.url = url
        return store

    def with_read_only(self, read_only: bool = False) -> _UrlStore:
        """Return the same store for reading, or for writing too."""
        return self.of(self.url, read_only)

    def __reduce__(self) -> Any:
        """Pickle the URL."""
        return _UrlStore.of, (self.url, self.read_only)
