"""A grid that notes in a file each time that values of its runs are asked for."""

import os
from dataclasses import dataclass
from pathlib import Path

from cubie_dask.grids.grid import ProductGrid


@dataclass(frozen=True, eq=False)
class CountingGrid(ProductGrid):
    """A product grid whose chunks are counted: values are made for each integration anew."""

    notes: str = ""

    def columns(self, block):
        # One write call to a file opened for appending: processes don't mix.
        with open(self.notes, "ab", buffering=0) as file:
            file.write(f"{block.start} {os.getpid()}\n".encode())
        return super().columns(block)


def counted(grid, folder):
    """Return the grid, counting into a new file, and the path of that."""
    notes = Path(folder) / "chunks.txt"
    notes.write_bytes(b"")
    return CountingGrid(grid.axes, str(notes)), notes


def integrated(notes):
    """Return where the chunks began that were integrated, one entry for each time."""
    return [line.rsplit(" ", 1)[0] for line in notes.read_text().splitlines()]


def processes(notes):
    """Return the processes that did it."""
    return {int(line.rsplit(" ", 1)[1]) for line in notes.read_text().splitlines()}
