"""Batches of ODEs: `cubie_kernels.solve` against what one would otherwise use, in one process.

Run it from anywhere::

    python benchmarks/ensembles.py                    # all sections, writes results/ensembles.md
    python benchmarks/ensembles.py --only lorenz,hh   # some sections, prints only
    python benchmarks/ensembles.py --quick            # small, to see that it works

Contenders run in turn, so that a drift of the machine's speed meets all of them alike; each
figure is given by best and by median times.
"""

from __future__ import annotations

import argparse
import functools
import os
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from ensembles_lorenz import adaptive, fixed_step, precision  # noqa: E402
from ensembles_machine import describe  # noqa: E402
from ensembles_models import hodgkin_huxley, ring_large, ring_small  # noqa: E402
from ensembles_order import heterogeneous  # noqa: E402
from ensembles_precision import work_precision  # noqa: E402
from ensembles_startup import startup  # noqa: E402
from ensembles_timing import (  # noqa: E402
    Settings,
    Table,
    available_threads,
    figures_markdown,
)


def arguments(sections: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help=f"comma-separated sections of: {', '.join(sections)}")
    parser.add_argument("--quick", action="store_true", help="small sizes, few rounds")
    parser.add_argument("--threads", type=int, default=available_threads())
    parser.add_argument("--rounds", type=int, help="timed rounds (default 7, quick 3)")
    parser.add_argument(
        "--output", type=Path, help="Markdown file (default results/ensembles.md for a full run)"
    )
    given = parser.parse_args()
    chosen = given.only.split(",") if given.only else sections
    unknown = [name for name in chosen if name not in sections]
    if unknown:
        parser.error(f"no section {', '.join(unknown)}; there are {', '.join(sections)}")
    given.chosen = chosen
    if given.output is None and not given.only and not given.quick:
        given.output = HERE / "results" / "ensembles.md"
    return given


def main() -> int:
    """Run the chosen sections with a kernel cache of their own, empty at the start."""
    with tempfile.TemporaryDirectory() as cache:
        os.environ["CUBIE_CACHE_DIR"] = cache
        return run()


def run() -> int:
    sections = {
        "lorenz": adaptive,
        "fixed": fixed_step,
        "f32": precision,
        "hh": hodgkin_huxley,
        "order": heterogeneous,
        "ring32": ring_small,
        "ring200": ring_large,
        "startup": startup,
        "heyoka": functools.partial(work_precision, folder=HERE / "results"),
    }
    given = arguments(list(sections))
    import numba

    numba.set_num_threads(given.threads)
    settings = Settings(given.quick, given.threads, given.rounds or (3 if given.quick else 7))
    machine = describe(given.threads)
    if os.getloadavg()[0] > 0.5:
        machine.append(
            "- **other programs were running**: times by the clock are unsure, processor times "
            "less so; run it again on an idle machine before quoting"
        )
    print("\n".join(machine), flush=True)
    tables: list[Table] = []
    for name in given.chosen:
        start = time.perf_counter()
        tables.append(sections[name](settings))
        print(f"\n{tables[-1].markdown()}", flush=True)
        print(figures_markdown(tables[-1].figures), flush=True)
        print(f"({name}: {time.perf_counter() - start:.0f} s)", flush=True)
    machine.append(f"- load average after the last section: {os.getloadavg()[0]:.2f}")
    text = report(machine, tables, settings)
    if given.output:
        given.output.parent.mkdir(parents=True, exist_ok=True)
        given.output.write_text(text, encoding="utf-8")
        print(f"written: {given.output}")
    return 0


def report(machine: list[str], tables: list[Table], settings: Settings) -> str:
    """The whole result in Markdown."""
    size = "small sizes, not to quote" if settings.quick else "full sizes"
    figures = [figure for table in tables for figure in table.figures]
    return "\n".join(
        [
            "# Ensembles: figures",
            "",
            f"Written by `python benchmarks/ensembles.py` ({size}, {settings.rounds} rounds).",
            "",
            *machine,
            "",
            "## Figures and aims",
            "",
            "Verdicts go by best times; where processor time says otherwise, it is told.",
            "",
            figures_markdown(figures),
            "## Sections",
            "",
            *[table.markdown() for table in tables],
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
