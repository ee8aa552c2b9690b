"""The command ``status``: how a sweep stands, once or again and again."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from cubie_dask.cli.exits import Exit, exit_of
from cubie_dask.cli.output import say
from cubie_dask.progress.events import span
from cubie_dask.progress.watching import Driver, Standing, Watcher
from cubie_kernels.status import Status

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["status", "watch"]

_TERMINAL_SECONDS = 2
_LINE_SECONDS = 30
_SHOWN_WORKERS = 8


def status(store: str, as_json: bool) -> Exit:
    """Print how the sweep in a store stands, as text or as one JSON object."""
    standing = Watcher(store).look()
    if as_json:
        say(json.dumps(_as_dict(standing)))
    else:
        say(standing.report)
        if standing.state != "complete":
            say(_sentence(standing))
    return exit_of(standing.report)


def watch(store: str, as_json: bool, every: int | None) -> Exit:
    """Show how the sweep in a store stands until it is complete or the user has seen enough.

    A picture on a terminal, a line at a time elsewhere; with `as_json` an object a line.
    """
    watcher = Watcher(store)
    drawn = sys.stdout.isatty() and not as_json
    looks = _looks(watcher, every or (_TERMINAL_SECONDS if drawn else _LINE_SECONDS))
    try:
        if drawn:
            _draw(looks)
        else:
            for standing in looks:
                say(json.dumps(_as_dict(standing)) if as_json else _line(standing))
    except KeyboardInterrupt:
        # Enough seen.
        pass
    return exit_of(watcher.look().report)


def _looks(watcher: Watcher, every: float) -> Iterator[Standing]:
    while True:
        standing = watcher.look()
        yield standing
        if standing.state == "complete":
            return
        time.sleep(every)


def _draw(looks: Iterator[Standing]) -> None:
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(), auto_refresh=False) as live:
        for standing in looks:
            live.update(_drawn(standing), refresh=True)


def _drawn(standing: Standing) -> RenderableType:
    from rich.markup import escape
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    report = standing.report
    plan, done = report.plan, report.runs_finished
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column(ratio=1, overflow="fold")
    table.add_row("sweep", escape(f"{report.name} in {report.store}"))
    table.add_row("state", escape(_sentence(standing)))
    share = f"{done / max(1, plan.runs):.1%}"
    table.add_row("runs", f"{done:,} of {plan.runs:,} ({share}), {plan.runs - done:,} to do")
    table.add_row("chunks", f"{report.chunks:,} of {plan.chunks:,}")
    if standing.state == "running":
        table.add_row("speed", _speed(standing) or "not known yet")
    table.add_row("ended", escape(_endings(standing)))
    for number, worker in enumerate(standing.workers[:_SHOWN_WORKERS]):
        did = f"{worker.name}  {worker.chunks:,} chunks, {worker.runs:,} runs, last {worker.seen}"
        table.add_row("" if number else "workers", escape(did))
    more = len(standing.workers) - _SHOWN_WORKERS
    if more > 0:
        table.add_row("", f"and {more:,} more")
    table.add_row("", ProgressBar(total=max(1, plan.runs), completed=done))
    return table


def _line(standing: Standing) -> str:
    report = standing.report
    done, runs = report.runs_finished, report.plan.runs
    parts = [f"{done:,} of {runs:,} runs ({done / max(1, runs):.1%})", _speed(standing)]
    if report.runs_failed:
        parts.append(f"{report.runs_failed:,} runs failed")
    now = time.strftime("%Y-%m-%d %H:%M:%S")
    return f"{now} sweep: {', '.join(part for part in parts if part)}; {_sentence(standing)}"


def _speed(standing: Standing) -> str:
    if standing.rate is None:
        return ""
    left = standing.seconds_left
    return f"{standing.rate:,.0f} runs/s" + (f", {span(left)} left" if left else "")


def _endings(standing: Standing) -> str:
    counted = sorted(standing.report.statuses.items())
    ended = [f"{n:,} {status.name.lower()}" for status, n in counted if status != Status.NOT_RUN]
    return ", ".join(ended) or "none yet"


def _sentence(standing: Standing) -> str:
    state, last = standing.state, standing.last_driver
    if state == "running":
        return f"running, driven by {', '.join(_named(driver) for driver in standing.drivers)}"
    if state == "stopped" and last is not None:
        return f"stopped {span(last.age)} ago by {_named(last)}: run it again to do the rest"
    if state == "silent" and last is not None:
        return (
            f"silent: {_named(last)} ended without a word, or hangs, since {span(last.age)}; run "
            "it again to do the rest"
        )
    if state == "idle":
        return "idle: run it to do the rest"
    return state


def _named(driver: Driver) -> str:
    k, n = driver.share
    return f"process {driver.pid} on {driver.host}" + ("" if n == 1 else f" (share {k}/{n})")


def _as_dict(standing: Standing) -> dict[str, object]:
    report = standing.report
    plan, left = report.plan, standing.seconds_left
    statuses = sorted(report.statuses.items())
    return {
        "store": report.store,
        "model": report.name,
        "state": standing.state,
        "complete": report.complete,
        "runs": plan.runs,
        "runs_finished": report.runs_finished,
        "runs_failed": report.runs_failed,
        "runs_remaining": plan.runs - report.runs_finished,
        "chunks": plan.chunks,
        "chunks_finished": report.chunks,
        "chunks_remaining": plan.chunks - report.chunks,
        "statuses": {status.name.lower(): count for status, count in statuses},
        "steps": report.steps,
        "compute_seconds": report.compute_seconds,
        "write_seconds": report.write_seconds,
        "runs_per_second": standing.rate,
        "seconds_left": None if left is None else round(left, 1),
        "drivers": [
            {
                "host": driver.host,
                "pid": driver.pid,
                "share": list(driver.share),
                "began": driver.began,
                "seen_seconds_ago": round(driver.age, 1),
            }
            for driver in standing.drivers
        ],
        "workers": [
            {"worker": one.name, "chunks": one.chunks, "runs": one.runs, "seen": one.seen}
            for one in standing.workers
        ],
        "last_chunk_finished": report.last,
    }
