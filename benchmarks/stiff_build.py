"""Section on the build of a stiff kernel: from nothing, and from the disk cache."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from ensembles_startup import Process, run_python, summary
from ensembles_timing import Figure, Settings, Table

__all__ = ["stiff_build"]

CELLS = 30
METHODS = ("rodas4", "rodas5p", "kvaerno5", "radau-iia-5")
_BUILD = """
import json, sys, time
sys.path.insert(0, {folder!r})
from stiff_networks import brusselator
import cubie_kernels as ck
start = time.perf_counter()
problem = brusselator({cells})
system = problem.system()
model = time.perf_counter()
ck.Solver(system, swept=("a",), method={method!r}, **problem.options()).build()
print(json.dumps(dict(model=model - start, kernel=time.perf_counter() - model)))
"""


def stiff_build(settings: Settings) -> Table:
    """Whole processes that build the kernel of 60 states."""
    from cubie_kernels import methods

    offered = {info.name for info in methods()}
    rows, figures = [], []
    for method in METHODS:
        if method not in offered:
            rows.append([f"{method}: **this version doesn't have it**", *[""] * 5])
            continue
        for what, aim, processes in zip(
            ("an empty cache", "the disk cache"),
            (40.0, 2.0),
            _builds(method, settings),
            strict=True,
        ):
            parts = [json.loads(process.printed) for process in processes]
            seconds = summary(processes)
            rows.append(
                [
                    f"{method}, from {what}",
                    *(f"{s:.2f}" for s in seconds),
                    *(f"{min(part[name] for part in parts):.2f}" for name in ("model", "kernel")),
                ]
            )
            figure = f"build of {2 * CELLS} stiff states, {method}, from {what}, whole process"
            figures.append(Figure(figure, *seconds, aim, False, "s"))
    return Table(
        f"Build of the Brusselator of {CELLS} cells, {2 * CELLS} states",
        ("what", "best s", "median s", "processor s", "model s", "kernel s"),
        rows,
        figures,
        ["Processes include the start of Python and imports; model and kernel are their parts."],
    )


def _builds(method: str, settings: Settings) -> tuple[list[Process], list[Process]]:
    """Processes with an empty cache, and those that find what the former left in it."""
    source = _BUILD.format(folder=str(Path(__file__).parent), cells=CELLS, method=method)
    empty, cached = [], []
    for _ in range(1 if settings.quick else 3):
        with tempfile.TemporaryDirectory() as cache:
            empty.append(run_python(source, cache))
            cached.append(run_python(source, cache))
    return empty, cached
