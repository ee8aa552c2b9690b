"""Stores in Icechunk repositories: results are seen once the driver has committed them.

Below the place that is named lie ``icechunk/``, the repository with all arrays, and beside it what
is small: a copy of the group's attributes, the ledger, the drivers. A worker writes a chunk into a
session of its own that it can't commit, and hands that back with the chunk's record. The driver,
and no one else, merges sessions and commits; then it writes the records. So what has a record is
committed, and what was not committed is computed again. What else changes a store is one commit.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

from cubie_dask.errors import StoreError
from cubie_dask.progress.events import ChunkFinished, Event, Listener
from cubie_dask.stores.full_disk import is_full
from cubie_dask.stores.ledger import Record
from cubie_dask.stores.storage import LocalStorage, Storage, open_storage
from cubie_dask.stores.store import SweepStore
from cubie_kernels.errors import InputError

__all__ = ["IcechunkStorage", "Pending", "committing", "forked"]

_COMMIT_SECONDS = 30.0
_BRANCH = "main"
_ATTRIBUTES = "zarr.json"


class IcechunkStorage(Storage):
    """A repository and the small files beside it.

    Parameters
    ----------
    url : str
        ``icechunk://`` and a path or an ``s3://`` URL.

    Raises
    ------
    StoreError
        If Icechunk isn't installed, or can't be used with that kind of URL.
    """

    versioned = True

    def __init__(self, url: str) -> None:
        place = url.partition("://")[2]
        try:
            import icechunk
        except ImportError as fault:
            raise StoreError(f"{url} can't be opened: install cubie[icechunk].") from fault
        # It warns of concurrent commits whenever it opens a folder; here one process commits.
        icechunk.set_logs_filter("error")
        self._beside = open_storage(place)
        if not isinstance(self._beside, LocalStorage) and not place.startswith("s3://"):
            raise StoreError(
                f"{url} can't be opened: after icechunk:// give a path or s3://bucket/name."
            )
        self.url = f"icechunk://{self._beside.url}"

    @cached_property
    def repository(self) -> Any:
        """The repository."""
        import icechunk

        return icechunk.Repository.open(_place(self._beside.url))

    def zarr(self, read_only: bool = False) -> Any:
        """Return the arrays as last committed; they can't be written this way."""
        del read_only
        return self.repository.readonly_session(_BRANCH).store

    def fork(self) -> Any:
        """Return a session to write to, whose changes are nowhere until they are merged."""
        return self.repository.writable_session(_BRANCH).fork()

    def vacant(self) -> bool:
        """Return whether nothing is here."""
        return self._beside.vacant()

    @contextmanager
    def changing(self, what: str) -> Iterator[Storage]:
        """Give the arrays in a session, which is committed; then its attributes are copied."""
        changed = _Changed(self)
        yield changed
        if changed.session.has_uncommitted_changes:
            _commit(self, changed.session, what, "nothing has changed")
            self._beside.write(_ATTRIBUTES, changed.read(_ATTRIBUTES))

    @contextmanager
    def making(self) -> Iterator[Any]:
        """Make a repository whose first commit holds what is written."""
        import icechunk

        with self._beside.making() as made:
            place = str(made.root) if isinstance(self._beside, LocalStorage) else self._beside.url
            repository = icechunk.Repository.create(_place(place))
            session = repository.writable_session(_BRANCH)
            yield session.store
            attributes = _read(session, _ATTRIBUTES)
            session.commit("the sweep is described")
            open_storage(place).write(_ATTRIBUTES, attributes)

    def exists(self) -> bool:
        """Return whether anything is here."""
        return self._beside.exists()

    def free(self) -> int | None:
        """Return the bytes that are free where the repository is."""
        return self._beside.free()

    def read(self, name: str) -> bytes:
        """Return the content of a file beside the repository."""
        return self._beside.read(name)

    def read_all(self, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Return the contents of files beside the repository."""
        return self._beside.read_all(names)

    def write(self, name: str, data: bytes) -> None:
        """Replace a file beside the repository."""
        self._beside.write(name, data)

    def create(self, name: str, data: bytes) -> bool:
        """Make a file beside the repository."""
        return self._beside.create(name, data)

    def names(self, folder: str) -> list[str]:
        """Return the names of files beside the repository."""
        return self._beside.names(folder)

    def sizes(self, folder: str) -> dict[str, int]:
        """Return the bytes of what is in the repository and beside it."""
        return self._beside.sizes(folder) | _sizes(self.zarr(), folder)

    def delete(self, name: str) -> None:
        """Delete a file beside the repository."""
        self._beside.delete(name)

    def age(self, name: str) -> float:
        """Return the age of a file beside the repository."""
        return self._beside.age(name)

    def sweep(self, older_than: float = 0.0) -> int:
        """Delete partly written files beside the repository."""
        return self._beside.sweep(older_than)


class _Changed(IcechunkStorage):
    """A repository as a session has it; the attributes are those of the session too."""

    def __init__(self, storage: IcechunkStorage) -> None:
        super().__init__(storage.url)
        self.session: Any = storage.repository.writable_session(_BRANCH)

    def zarr(self, read_only: bool = False) -> Any:
        """Return the arrays of the session."""
        del read_only
        return self.session.store

    def read(self, name: str) -> bytes:
        """Return the content of a file beside the repository, or the attributes."""
        return _read(self.session, name) if name == _ATTRIBUTES else super().read(name)

    def write(self, name: str, data: bytes) -> None:
        """Replace a file beside the repository, or the attributes."""
        if name == _ATTRIBUTES:
            _write(self.session, name, data)
        else:
            super().write(name, data)


@dataclass(frozen=True)
class Pending(Record):
    """The record of a chunk that is written and not committed.

    Attributes
    ----------
    changes : icechunk.ForkSession
        The session that holds its results.
    """

    changes: Any = field(default=None, repr=False, compare=False)

    @staticmethod
    def of(record: Record, session: Any) -> Pending:
        """Return a record with the session that its chunk was written to."""
        return Pending(**_contents(record), changes=session)

    def settled(self) -> Record:
        """Return the record alone."""
        return Record(**_contents(self))


def forked(store: SweepStore) -> tuple[SweepStore, Any]:
    """Return a store to write one chunk to, and the session behind it; None for other stores."""
    if not isinstance(store.storage, IcechunkStorage):
        return store, None
    import zarr

    session = store.storage.fork()
    group = zarr.open_group(session.store, mode="r+", zarr_format=3, use_consolidated=False)
    arrays = {
        name: group[name].with_config(array.config)  # pyright: ignore[reportAttributeAccessIssue]
        for name, array in store.arrays.items()
    }
    return replace(store, arrays=arrays), session


@contextmanager
def committing(store: SweepStore, listener: Listener, share: tuple[int, int]) -> Iterator[Listener]:
    """Give a listener that commits what is told to be finished, now and then and at the end.

    Parameters
    ----------
    store : SweepStore
        The store; for others than those of Icechunk the listener is given back.
    listener : callable
        Told of all events too.
    share : tuple of int
        The share of this driver, which must be all.

    Raises
    ------
    InputError
        For less than the whole sweep.
    StoreError
        If another process commits to the repository too.
    """
    if not isinstance(store.storage, IcechunkStorage):
        yield listener
        return
    if share != (0, 1):
        raise InputError(
            f"{store.storage} can't be computed in shares: one driver alone may commit to it. Use "
            "a cluster, or a store that is not one of Icechunk."
        )
    commits = _Commits(store)

    def tell(event: Event) -> None:
        if isinstance(event, ChunkFinished) and isinstance(event.record, Pending):
            commits.add(event.record)
            event = ChunkFinished(event.record.settled())
        listener(event)

    try:
        yield tell
    finally:
        commits.commit()


class _Commits:
    """The chunks that are merged and not committed."""

    def __init__(self, store: SweepStore) -> None:
        assert isinstance(store.storage, IcechunkStorage)
        self._storage, self._ledger = store.storage, store.ledger
        self._begin()

    def _begin(self) -> None:
        self._session = self._storage.repository.writable_session(_BRANCH)
        self._merged: list[Record] = []
        self._began = time.monotonic()

    def add(self, pending: Pending) -> None:
        """Merge a chunk, and commit if the last time is some while ago."""
        self._session.merge(pending.changes)
        self._merged.append(pending.settled())
        if time.monotonic() - self._began >= _COMMIT_SECONDS:
            self.commit()

    def commit(self) -> None:
        """Commit what is merged, then add its records to the ledger."""
        if not self._merged:
            return
        chunks = f"{len(self._merged):,} chunks"
        _commit(self._storage, self._session, chunks, f"{chunks} are lost")
        for record in self._merged:
            self._ledger.write(record)
        self._begin()


def _commit(storage: IcechunkStorage, session: Any, what: str, lost: str) -> None:
    """Commit a session, unless another process has committed to the branch.

    Raises
    ------
    StoreError
        If one has; what is lost then is said.
    """
    import icechunk

    try:
        made = session.commit(what)
    except (icechunk.IcechunkError, icechunk.ConflictError) as fault:
        if is_full(fault):
            raise
        raise StoreError(
            f"{storage} can't be committed ({fault}): {lost}. Nothing else may commit to a sweep's "
            "repository while it is at work; give the same command again."
        ) from fault
    if storage.repository.lookup_branch(_BRANCH) != made:
        raise StoreError(
            f"A commit to {storage} was overrun by that of another process: perhaps {lost}. Give "
            "the same command again, then verify."
        )


def _contents(record: Record) -> dict[str, Any]:
    return {one.name: getattr(record, one.name) for one in fields(Record)}


def _read(session: Any, name: str) -> bytes:
    from zarr.core.buffer import default_buffer_prototype
    from zarr.core.sync import sync

    found: Any = sync(session.store.get(name, default_buffer_prototype()))
    return found.to_bytes()


def _write(session: Any, name: str, data: bytes) -> None:
    from zarr.core.buffer import default_buffer_prototype
    from zarr.core.sync import sync

    sync(session.store.set(name, default_buffer_prototype().buffer.from_bytes(data)))


def _place(url: str) -> Any:
    """Return where a repository lies, with the rights that this process's environment gives."""
    import icechunk

    if not url.startswith("s3://"):
        return icechunk.local_filesystem_storage(os.path.join(url, "icechunk"))
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    endpoint = os.environ.get("AWS_ENDPOINT_URL")
    return icechunk.s3_storage(
        bucket=bucket,
        prefix=f"{prefix}/icechunk",
        region=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"),
        endpoint_url=endpoint,
        allow_http=endpoint is not None and endpoint.startswith("http://"),
        force_path_style=endpoint is not None,
        from_env=True,
    )


def _sizes(store: Any, folder: str) -> dict[str, int]:
    import asyncio

    from zarr.core.sync import sync

    async def found() -> dict[str, int]:
        names = [name async for name in store.list_prefix(f"{folder}/" if folder else "")]
        sizes = await asyncio.gather(*(store.getsize(name) for name in names))
        return dict(zip(names, sizes, strict=True))

    return sync(found())
