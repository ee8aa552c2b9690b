"""Where the files of a store lie: in a folder, or below a URL that fsspec knows.

Zarr writes the arrays by itself, through what `Storage.zarr` returns. All else that a sweep keeps
beside them (records, locks, progress) is small files, which the methods of `Storage` read, and
write so that a reader at any time sees a whole file or none.
"""

from __future__ import annotations

import errno
import glob
import os
import re
import shutil
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

from cubie_dask.errors import StoreBusyError, StoreError
from cubie_dask.stores.part_files import PARTIAL, create_file, replace_file

__all__ = ["LocalStorage", "Storage", "StorePath", "is_url", "open_storage"]

StorePath = str | os.PathLike[str]

_READ_BYTES = 1 << 16
_TORN_SECONDS = 3600.0
# No right to, a file system for reading alone, or a full one.
_NO_WRITING = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT)


class Storage(ABC):
    """The files of a store, by names that are relative to it, with ``/`` between folders.

    Attributes
    ----------
    url : str
        Where it lies: an absolute path or a URL. `open_storage` of it in another process opens the
        same one, so this is all that is ever sent to workers.
    versioned : bool
        Whether arrays and attributes change for readers only when `changing` is left.
    """

    url: str
    versioned = False

    def __str__(self) -> str:
        """Return the path or URL."""
        return self.url

    @abstractmethod
    def zarr(self, read_only: bool = False) -> Any:
        """Return what zarr and xarray open."""

    @abstractmethod
    def vacant(self) -> bool:
        """Return whether a store can be made here.

        Raises
        ------
        StoreBusyError
            If another process is making one.
        """

    @abstractmethod
    def making(self) -> AbstractContextManager[Any]:
        """Return a context with a zarr store to write all metadata to, the root's last.

        If it ends well the store is there as a whole; else it isn't there.

        Raises
        ------
        StoreBusyError
            On leaving, if another process made one meanwhile.
        """

    @contextmanager
    def changing(self, what: str) -> Iterator[Storage]:
        """Give a storage whose arrays and attributes may be changed; one process at a time.

        In a versioned one nothing has changed unless the context ends well.

        Parameters
        ----------
        what : str
            What is done, in a few words, for the history of a versioned one.
        """
        del what
        yield self

    @abstractmethod
    def exists(self) -> bool:
        """Return whether anything is here."""

    def free(self) -> int | None:
        """Return the bytes that are free here, or will be once it is made; None if unknown."""
        return None

    @abstractmethod
    def read(self, name: str) -> bytes:
        """Return the content of a file.

        Raises
        ------
        FileNotFoundError
            If there is none of that name.
        """

    @abstractmethod
    def read_all(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Return the contents of many files, in the order given; those that are gone are left out.

        An object store is asked for many at a time.
        """

    @abstractmethod
    def write(self, name: str, data: bytes) -> None:
        """Replace a file so that any reader, at any time, sees the old or the new one whole."""

    @abstractmethod
    def create(self, name: str, data: bytes) -> bool:
        """Make a file, unless one of that name is there.

        Returns
        -------
        bool
            Whether it was this call that made it: so for one caller alone.
        """

    @abstractmethod
    def names(self, folder: str) -> list[str]:
        """Return the names of the files in a folder, without it and its subfolders, unordered."""

    @abstractmethod
    def sizes(self, folder: str) -> dict[str, int]:
        """Return the bytes of all files below a folder, by name; -1 where that isn't known."""

    @abstractmethod
    def delete(self, name: str) -> None:
        """Delete a file, if it is there."""

    @abstractmethod
    def age(self, name: str) -> float:
        """Return the seconds since a file was written, by the clock of the storage.

        Both ends are times that the storage gave, so clocks that differ between machines don't
        matter. Without the right or the room to write, the clock of this machine is taken.

        Raises
        ------
        FileNotFoundError
            If there is none of that name.
        """

    @abstractmethod
    def sweep(self, older_than: float = 0.0) -> int:
        """Delete partly written files of processes that were killed, and return their number.

        Parameters
        ----------
        older_than : float, default 0
            Seconds; younger ones are left, which may be in hand elsewhere.
        """


def open_storage(store: StorePath | Storage) -> Storage:
    """Return the storage at a path or URL; nothing is looked at yet.

    Parameters
    ----------
    store : path, str or Storage
        A path, ``file://…``, any URL of fsspec (``s3://bucket/a.zarr``, ``gs://…``,
        ``memory://…``), or ``icechunk://`` and a path or ``s3://…``. How to reach it, and with
        whose rights, each process takes from its own environment and configuration (``AWS_…``,
        ``FSSPEC_…``, ``~/.config/fsspec``): nothing of that is kept in the store or sent to
        workers.

    Raises
    ------
    StoreError
        For a URL with a password or options in it, of an unknown kind, or one whose package is not
        installed.
    """
    if isinstance(store, Storage):
        return store
    text = os.fspath(store)
    if not is_url(text):
        return LocalStorage(text)
    scheme, _, rest = text.partition("://")
    if scheme in ("file", "local"):
        return LocalStorage(rest)
    if scheme == "icechunk":
        from cubie_dask.stores.versioned import IcechunkStorage

        return IcechunkStorage(text)
    _check_no_secrets(text, rest)
    from cubie_dask.stores.remote import RemoteStorage

    return RemoteStorage(text)


def is_url(text: str) -> bool:
    """Return whether a text is a URL, and no path."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text) is not None


def _check_no_secrets(url: str, rest: str) -> None:
    user, at, _ = rest.partition("/")[0].rpartition("@")
    if (at and ":" in user) or "?" in rest:
        shown = url.replace(user, "…") if at else url.partition("?")[0] + "?…"
        raise StoreError(
            f"The URL {shown} has a password or options in it, which would be sent to workers and "
            "be read by all who see the store's name: say them in the environment or the "
            "configuration of fsspec (FSSPEC_<PROTOCOL>_<OPTION>) on each machine."
        )


class LocalStorage(Storage):
    """A folder, on this machine or a file system that machines share.

    Parameters
    ----------
    path : path
        The folder; made absolute.
    """

    def __init__(self, path: StorePath) -> None:
        self.path = Path(os.path.abspath(path))
        self.url = str(self.path)

    def zarr(self, read_only: bool = False) -> Any:
        """Return a zarr store of the folder."""
        from zarr.storage import LocalStore

        return LocalStore(self.path, read_only=read_only)

    def vacant(self) -> bool:
        """Return whether there is no folder or an empty one."""
        return not self.path.exists() or (self.path.is_dir() and not any(self.path.iterdir()))

    @contextmanager
    def making(self) -> Iterator[Any]:
        """Give a folder beside, and rename it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._clear_torn()
        build = self.path.with_name(f".{self.path.name}.{uuid.uuid4().hex}{PARTIAL}")
        try:
            yield LocalStorage(build).zarr()
            # A rename replaces an empty folder and nothing else.
            os.rename(build, self.path)
        except OSError as fault:
            if self.path.exists() and any(self.path.iterdir()):
                raise StoreBusyError(f"{self} was made by another process meanwhile.") from fault
            raise
        finally:
            shutil.rmtree(build, ignore_errors=True)

    def _clear_torn(self) -> None:
        """Delete what makers that died left beside."""
        for left in self.path.parent.glob(f".{glob.escape(self.path.name)}.*{PARTIAL}"):
            # Another maker may do the same.
            with suppress(FileNotFoundError):
                if self._now(self.path.parent) - left.stat().st_mtime > _TORN_SECONDS:
                    shutil.rmtree(left, ignore_errors=True)

    def exists(self) -> bool:
        """Return whether anything has the path."""
        return self.path.exists()

    def free(self) -> int:
        """Ask the file system that the folder is on, or the next one above it."""
        there = next(path for path in (self.path, *self.path.parents) if path.exists())
        return shutil.disk_usage(there).free

    def read(self, name: str) -> bytes:
        """Return the content of a file."""
        return (self.path / name).read_bytes()

    def read_all(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Return the contents of files one by one."""
        for name in names:
            # Half the time of open(), which counts with 100,000 records.
            try:
                file = os.open(f"{self.url}/{name}", os.O_RDONLY)
            except FileNotFoundError:
                continue
            try:
                parts = [os.read(file, _READ_BYTES)]
                while len(parts[-1]) == _READ_BYTES:
                    parts.append(os.read(file, _READ_BYTES))
            finally:
                os.close(file)
            yield name, b"".join(parts)

    def write(self, name: str, data: bytes) -> None:
        """Write a file beside, then rename it."""
        replace_file(f"{self.url}/{name}", data)

    def create(self, name: str, data: bytes) -> bool:
        """Write a file beside, then give it its name if that is free."""
        return create_file(f"{self.url}/{name}", data)

    def names(self, folder: str) -> list[str]:
        """Return the names of the files in a folder."""
        try:
            with os.scandir(self.path / folder) as entries:
                return [e.name for e in entries if not e.name.endswith(PARTIAL) and e.is_file()]
        except FileNotFoundError:
            return []

    def sizes(self, folder: str) -> dict[str, int]:
        """Walk through a folder."""
        found: dict[str, int] = {}
        for path, _, names in os.walk(self.path / folder):
            inside = os.path.relpath(path, self.path)
            prefix = "" if inside == "." else f"{Path(inside).as_posix()}/"
            for name in names:
                with suppress(FileNotFoundError):
                    found[prefix + name] = os.stat(os.path.join(path, name)).st_size
        return found

    def delete(self, name: str) -> None:
        """Delete a file."""
        (self.path / name).unlink(missing_ok=True)

    def age(self, name: str) -> float:
        """Compare with a file that is made now in the same folder."""
        path = self.path / name
        written = path.stat().st_mtime
        return max(0.0, self._now(path.parent) - written)

    def sweep(self, older_than: float = 0.0) -> int:
        """Walk through the whole folder."""
        count, now = 0, self._now(self.path) if older_than else 0.0
        for folder, _, names in os.walk(self.path):
            for name in names:
                if not name.endswith(PARTIAL):
                    continue
                path = Path(folder, name)
                # Its writer may be done with it meanwhile.
                with suppress(FileNotFoundError):
                    if not older_than or now - path.stat().st_mtime >= older_than:
                        path.unlink()
                        count += 1
        return count

    @staticmethod
    def _now(folder: Path) -> float:
        probe = folder / f".{uuid.uuid4().hex}{PARTIAL}"
        try:
            probe.touch()
            return probe.stat().st_mtime
        except OSError as fault:
            if fault.errno not in _NO_WRITING:
                raise
            return time.time()
        finally:
            probe.unlink(missing_ok=True)
