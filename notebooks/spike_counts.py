"""Counts the spikes of a Hodgkin-Huxley sweep from its saved traces, and draws the map.

    cubie-dask run notebooks/sweeps/hodgkin_huxley.toml
    python notebooks/spike_counts.py notebooks/sweeps/hodgkin_huxley.zarr spike_counts.png

A spike is an upward crossing of 0 mV. The store's chunks hold whole traces of some runs each, so
that each is counted on its own and the traces are never all in memory. A spike that is above 0 mV
for less than the time between two saves may be missed: with 0.25 ms that blurs the rim where
spikes hardly reach 0 mV.
"""

import sys

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from cubie_dask import open_sweep


def spike_counts(potential: xr.DataArray, threshold: float = 0.0) -> xr.DataArray:
    """Return how often each trace crosses a potential upwards, chunk by chunk.

    Parameters
    ----------
    potential : DataArray with the dimension "time"
        Traces in mV; its other dimensions are those of the result.
    threshold : float
        In mV.
    """

    def crossings(traces: np.ndarray) -> np.ndarray:
        above = traces >= threshold
        return np.count_nonzero(above[..., 1:] & ~above[..., :-1], axis=-1)

    counts = xr.apply_ufunc(
        crossings,
        potential,
        input_core_dims=[["time"]],
        dask="parallelized",
        output_dtypes=[np.int64],
    )
    return counts.rename("spikes")


def draw(counts: xr.DataArray, milliseconds: float) -> Figure:
    """Return the map of current x conductance."""
    figure = Figure(figsize=(7, 5), dpi=120, layout="constrained")
    panel = figure.subplots()
    image = panel.pcolormesh(
        counts.current, counts.g_na, counts.transpose("g_na", "current"), rasterized=True
    )
    figure.colorbar(image, ax=panel, label=f"spikes in {milliseconds:g} ms")
    panel.set_xlabel("current (µA/cm²)")
    panel.set_ylabel("sodium conductance (mS/cm²)")
    panel.set_title("Hodgkin–Huxley axon under constant current")
    return figure


def main(store: str, picture: str) -> None:
    """Count, print a table, draw."""
    dataset = open_sweep(store)
    missing = int((dataset.status != 1).sum())
    if missing:
        print(f"{missing:,} runs failed or are not computed yet; they count as silent.")
    counts = spike_counts(dataset.V).compute()
    total = {
        "silent": counts == 0,
        "1 or 2 spikes": (counts > 0) & (counts < 3),
        "3 to 9 spikes": (counts >= 3) & (counts < 10),
        "10 spikes or more": counts >= 10,
    }
    for words, runs in total.items():
        print(f"{int(runs.sum()):>9,}  {words}")
    draw(counts, float(dataset.time[-1] - dataset.time[0])).savefig(picture)
    print(f"Picture: {picture}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("Use: python spike_counts.py STORE PICTURE.png")
    main(*sys.argv[1:])
