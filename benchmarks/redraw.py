"""Draw the plots of work and precision anew, from the tables in `results/*.md`."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from ensembles_curves import Curve, Point, draw  # noqa: E402
from ensembles_timing import Timing  # noqa: E402

RESULTS = HERE / "results"
PEERS = ("LSODA", "heyoka")


def pictures(text: str) -> Iterator[tuple[str, str, list[dict[str, str]]]]:
    """The file, the title and the rows of the table of each section that has a plot."""
    for part in text.split("\n### ")[1:]:
        title, _, body = part.partition("\n")
        file = re.search(r"!\[.*\]\((.+)\)", body)
        if file is not None:
            lines = [line.strip("| ").split(" | ") for line in body.splitlines() if line[:1] == "|"]
            header, _, *rows = [[cell.strip() for cell in line] for line in lines]
            yield file[1], title, [dict(zip(header, row, strict=True)) for row in rows]


def curves(rows: list[dict[str, str]]) -> dict[str, Curve]:
    """Curves of all contenders; seconds are of one run."""
    points: dict[str, list[Point]] = {}
    for row in rows:
        seconds = 1.0 / float(row["runs/s"].replace(",", ""))
        timing = Timing(row["contender"], (seconds,), (seconds,))
        points.setdefault(timing.name, []).append(Point(float(row["median error"]), 1, timing))
    return {name: Curve.through(found) for name, found in points.items()}


def main() -> None:
    for page in sorted(RESULTS.glob("*.md")):
        for file, title, rows in pictures(page.read_text(encoding="utf-8")):
            found = curves(rows)
            found.pop("heyoka, calls alone", None)
            draw(found, title, RESULTS / file, peers=PEERS)
            print(f"written: {RESULTS / file}")


if __name__ == "__main__":
    main()
