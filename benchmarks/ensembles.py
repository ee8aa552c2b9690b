"""Batches of ODEs: `cubie_kernels.solve` against what one would otherwise use, in one process.

Run it from anywhere::

    python benchmarks/ensembles.py                    # all, writes results/{ensembles,stiff}.md
    python benchmarks/ensembles.py --only stiff       # one group, writes results/stiff.md
    python benchmarks/ensembles.py --only lorenz,hh   # some sections, prints only
    python benchmarks/ensembles.py --quick            # small, to see that it works

Contenders run in turn, so that a drift of the machine's speed meets all of them alike; each
figure is given by best and by median times.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
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
from stiff_build import stiff_build  # noqa: E402
from stiff_precision import stiff_precision  # noqa: E402
from stiff_problems import PROBLEMS  # noqa: E402
from stiff_solvers import stiff_solvers  # noqa: E402

RESULTS = HERE / "results"
TITLES = {"ensembles": "Ensembles", "stiff": "Stiff ensembles"}
GROUPS: dict[str, dict[str, Callable[[Settings], Table]]] = {
    "ensembles": {
        "lorenz": adaptive,
        "fixed": fixed_step,
        "f32": precision,
        "hh": hodgkin_huxley,
        "order": heterogeneous,
        "ring32": ring_small,
        "ring200": ring_large,
        "startup": startup,
        "heyoka": partial(work_precision, folder=RESULTS),
    },
    "stiff": {
        **{p.name: partial(stiff_precision, p, folder=RESULTS) for p in PROBLEMS},
        "stiff_solvers": stiff_solvers,
        "stiff_build": stiff_build,
    },
}
"""Sections by group; a group's results are one file."""


def arguments() -> argparse.Namespace:
    sections = {name for group in GROUPS.values() for name in group}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only",
        default=",".join(GROUPS),
        help="comma-separated groups or sections: "
        + "; ".join(f"{group}: {', '.join(names)}" for group, names in GROUPS.items()),
    )
    parser.add_argument("--quick", action="store_true", help="small sizes, few rounds, no files")
    parser.add_argument("--threads", type=int, default=available_threads())
    parser.add_argument("--rounds", type=int, help="timed rounds (default 7, quick 3)")
    given = parser.parse_args()
    given.chosen = given.only.split(",")
    unknown = [name for name in given.chosen if name not in sections | set(GROUPS)]
    if unknown:
        parser.error(f"no section {', '.join(unknown)}; there are {', '.join(sorted(sections))}")
    return given


def main() -> int:
    """Run the chosen sections with a kernel cache of their own, empty at the start."""
    given = arguments()
    settings = Settings(given.quick, given.threads, given.rounds or (3 if given.quick else 7))
    with tempfile.TemporaryDirectory() as cache:
        os.environ["CUBIE_CACHE_DIR"] = cache
        for group, sections in GROUPS.items():
            whole = group in given.chosen
            chosen = [name for name in sections if whole or name in given.chosen]
            if chosen:
                text = run(group, chosen, settings)
                if whole and not given.quick:
                    (RESULTS / f"{group}.md").write_text(text, encoding="utf-8")
                    print(f"written: {RESULTS / group}.md")
    return 0


def run(group: str, chosen: Sequence[str], settings: Settings) -> str:
    """Run sections of a group, print them, and return the result in Markdown."""
    import numba

    numba.set_num_threads(settings.threads)
    machine = describe(settings.threads)
    if os.getloadavg()[0] > 0.5:
        machine.append(
            "- **other programs were running**: times by the clock are unsure, processor times "
            "less so; run it again on an idle machine before quoting"
        )
    print("\n".join(machine), flush=True)
    tables: list[Table] = []
    for name in chosen:
        start = time.perf_counter()
        tables.append(GROUPS[group][name](settings))
        print(f"\n{tables[-1].markdown()}", flush=True)
        print(figures_markdown(tables[-1].figures), flush=True)
        print(f"({name}: {time.perf_counter() - start:.0f} s)", flush=True)
    machine.append(f"- load average after the last section: {os.getloadavg()[0]:.2f}")
    return report(group, machine, tables, settings)


def report(group: str, machine: list[str], tables: list[Table], settings: Settings) -> str:
    """The whole result in Markdown."""
    size = "small sizes, not to quote" if settings.quick else "full sizes"
    figures = [figure for table in tables for figure in table.figures]
    return "\n".join(
        [
            f"# {TITLES[group]}: figures",
            "",
            f"Written by `python benchmarks/ensembles.py --only {group}` ({size}, "
            f"{settings.rounds} rounds).",
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
