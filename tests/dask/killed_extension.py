"""What killed_writes.py does for an extension; the sweep is that of test_extending.py."""

import numpy as np
from sweep_models import lorenz_sweep

from cubie_dask import Grid, extend_sweep, sweep_report, verify_sweep
from cubie_dask.stores.storage import open_storage
from cubie_dask.stores.store import EXTENDING, read_attributes

RHO = np.linspace(1.0, 20.0, 7)
SIGMA = np.linspace(8.0, 12.0, 5)
OLD, NEW = (5, 3), (7, 5)


def small_sweep(rho=NEW[0], sigma=NEW[1], **options):
    """Return a sweep in chunks of 2 x 3, which cut both axes of the old store."""
    grid = Grid.product(rho=RHO[:rho], sigma=SIGMA[:sigma])
    return lorenz_sweep(6, grid, saved=["x"], **options)


def prepare():
    """Nothing is computed here."""


def act(store):
    """Make both axes longer, unless that was all done."""
    plan = _plan(store)
    if plan is None or plan.shape == OLD:
        extend_sweep(store, rho=RHO[OLD[0] :], sigma=SIGMA[OLD[1] :])


def check(store):
    """It is the old store, the new one, or one that says what to do."""
    plan = _plan(store)
    if plan is None:
        return
    assert plan.shape in (OLD, NEW)
    assert verify_sweep(store).whole


def _plan(store):
    """Return the plan, or None in the middle of an extension."""
    if EXTENDING in read_attributes(open_storage(store), extending=True):
        return None
    return sweep_report(store).plan
