"""Sweeps into stores: what chunks, Dask, records and deaths cost beside the kernels.

Run it from anywhere::

    python benchmarks/sweeps.py                     # all, writes results/sweeps.md
    python benchmarks/sweeps.py --only plan,resume  # some sections, prints only
    python benchmarks/sweeps.py --quick             # small, to see that it works
    python benchmarks/sweeps.py --long              # 20,000 chunks of 50 ms: nine minutes more

Stores go to a temporary folder, or into ``--folder``: times of writing are those of its disk.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
# Workers import what is measured.
os.environ["PYTHONPATH"] = os.pathsep.join([*sys.path[:2], os.environ.get("PYTHONPATH", "")])

from ensembles_machine import describe  # noqa: E402
from ensembles_timing import (  # noqa: E402
    Settings,
    Table,
    available_threads,
    figures_markdown,
)
from sweeps_tasks import killed_workers, large_plan, resume, short_tasks  # noqa: E402
from sweeps_throughput import large_sweep, store_writes  # noqa: E402

RESULT = HERE / "results" / "sweeps.md"


def sections(settings: Settings, is_long: bool) -> dict[str, Callable[[Path], Table]]:
    """Sections by name, each a function of a folder for stores."""
    quick = settings.quick
    many, timed = (200, 60) if quick else (20_000, 20_000 if is_long else 800)
    return {
        "lorenz": lambda folder: large_sweep(settings, folder),
        "write": lambda folder: store_writes(settings, folder),
        "tasks": lambda folder: short_tasks(settings, folder, many, timed),
        "plan": lambda folder: large_plan(settings, 20_000 if quick else 1_000_000),
        "resume": lambda folder: resume(settings, folder, 1000 if quick else 100_000),
        "kills": lambda folder: killed_workers(
            settings, folder, 40 if quick else 400, 2.0 if quick else 3.0
        ),
    }


def arguments() -> argparse.Namespace:
    names = list(sections(Settings(True, 1, 1), False))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default=",".join(names), help=f"of {', '.join(names)}")
    parser.add_argument("--quick", action="store_true", help="small sizes, few rounds, no files")
    parser.add_argument("--long", action="store_true", help="20,000 chunks of 50 ms")
    parser.add_argument("--rounds", type=int, help="timed rounds (default 5, quick 1)")
    parser.add_argument("--folder", type=Path, help="where stores go (default: temporary)")
    given = parser.parse_args()
    given.chosen = given.only.split(",")
    unknown = [name for name in given.chosen if name not in names]
    if unknown:
        parser.error(f"no section {', '.join(unknown)}; there are {', '.join(names)}")
    given.whole = given.chosen == names and not given.quick
    return given


def main() -> int:
    """Run the chosen sections with a kernel cache of their own, empty at the start."""
    given = arguments()
    settings = Settings(given.quick, available_threads(), given.rounds or (1 if given.quick else 5))
    machine = describe(settings.threads)
    if os.getloadavg()[0] > 0.5:
        machine.append(
            "- **other programs were running**: run it again on an idle machine before quoting"
        )
    print("\n".join(machine), flush=True)
    tables: list[Table] = []
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as cache:
        os.environ["CUBIE_CACHE_DIR"] = cache
        for name in given.chosen:
            start = time.perf_counter()
            with tempfile.TemporaryDirectory(dir=given.folder) as folder:
                tables.append(sections(settings, given.long)[name](Path(folder)))
            print(f"\n{tables[-1].markdown()}\n{figures_markdown(tables[-1].figures)}", flush=True)
            print(f"({name}: {time.perf_counter() - start:.0f} s)", flush=True)
    machine.append(f"- load average after the last section: {os.getloadavg()[0]:.2f}")
    print(f"{time.perf_counter() - begun:.0f} s in all")
    if given.whole:
        RESULT.write_text(report(machine, tables, settings, given.long), encoding="utf-8")
        print(f"written: {RESULT}")
    return 0


def report(machine: list[str], tables: list[Table], settings: Settings, is_long: bool) -> str:
    """The whole result in Markdown."""
    return "\n".join(
        [
            "# Sweeps: figures",
            "",
            f"Written by `python benchmarks/sweeps.py{' --long' * is_long}` "
            f"({settings.rounds} rounds{', one of the chunks of 50 ms' * is_long}).",
            "",
            *machine,
            "",
            "## Figures and aims",
            "",
            "Verdicts go by best times.",
            "",
            figures_markdown([figure for table in tables for figure in table.figures]),
            "## Sections",
            "",
            *[table.markdown() for table in tables],
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
