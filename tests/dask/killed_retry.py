"""What killed_writes.py does for a retry; the sweep is that of test_retrying.py."""

from sweep_models import lorenz_sweep

from cubie_dask import Grid, retry_failed, verify_sweep
from cubie_dask.stores.patching import pending_patches
from cubie_dask.stores.store import open_store

FEW_STEPS = 62


def failing_sweep(max_steps=FEW_STEPS, chunk_runs=8, **options):
    """Return a sweep of 14 runs, of which some need more steps than they have."""
    grid = Grid.product(rho=[5.0, 10.0, 15.0, 20.0, 25.0, 30.0, 35.0], sigma=[9.0, 11.0])
    return lorenz_sweep(chunk_runs, grid, max_steps=max_steps, saved=["x"], **options)


def prepare():
    """Compile before anything is killed."""
    failing_sweep().solver.build()


def act(store):
    """Retry with steps enough."""
    retry_failed(store, max_steps=10_000, progress="none")


def check(store):
    """Nothing may be called damaged, and chunks in the middle of a retry are known."""
    found = verify_sweep(store)
    assert found.whole, str(found)
    assert not found.leftovers
    assert found.retrying == pending_patches(open_store(store))
