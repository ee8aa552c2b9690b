"""Points of the unit cube by index range, so that any block can be made without the others.

Every function gives points ``start .. stop-1`` of a sequence that depends on the seed only: the
same values come out however the sequence is cut into blocks.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

import numpy as np

__all__ = ["SAMPLERS", "latin_hypercube", "sobol", "uniform"]

_ROUNDS = 8
_LOW_BITS = 12


def sobol(start: int, stop: int, dimensions: int, total: int, seed: int) -> np.ndarray:
    """Return a block of the scrambled Sobol sequence of ``scipy.stats.qmc``.

    The time does not depend on where the block starts. In the bits of a point's index the sequence
    is linear over exclusive-or, so that a point is that of its high bits and that of its low ones.

    Parameters
    ----------
    start, stop : int
        Range of points.
    dimensions : int
        Number of coordinates of a point.
    total : int
        Number of points of the whole sequence: above 2**30 they have 52 bits and not 30.
    seed : int
        Seed of the scrambling.

    Returns
    -------
    numpy.ndarray
        Shape (dimensions, stop - start), in [0, 1).

    References
    ----------
    Joe and Kuo, SIAM J. Sci. Comput. 30 (2008); Owen scrambling as in ``scipy.stats.qmc.Sobol``.
    """
    bits = 30 if total <= 1 << 30 else 52
    first, basis = _sobol_basis(dimensions, bits, seed)
    low = min(_LOW_BITS, max(0, (stop - start).bit_length() - 1))
    table = first[:, None]
    for power in range(low):
        table = np.concatenate([table, table ^ basis[:, power, None]], axis=1)
    heads = np.arange(start >> low, ((stop - 1) >> low) + 1, dtype=np.uint64)
    high = np.zeros((dimensions, len(heads)), np.uint64)
    for power in range(low, bits):
        is_set = (heads >> np.uint64(power - low)) & np.uint64(1)
        high ^= basis[:, power, None] * is_set
    # As the 52 bits behind the point of a float64, with the exponent of 1.
    high = (high << np.uint64(52 - bits)) | np.uint64(0x3FF << 52)
    whole = high[:, :, None] ^ (table << np.uint64(52 - bits))[:, None, :]
    skipped = start - (int(heads[0]) << low)
    floats = whole.view(np.float64).reshape(dimensions, -1)
    return floats[:, skipped : skipped + stop - start] - 1.0


@lru_cache(maxsize=4)
def _sobol_basis(dimensions: int, bits: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return point 0 and, for each power of two, what that bit of the index changes.

    SciPy's engine goes from point to point by one of its direction numbers, which is chosen by how
    many points it has made: told of another number of them, it shows another of these.

    Returns
    -------
    first, basis : numpy.ndarray
        Shapes (dimensions,) and (dimensions, bits), as integers in units of ``2**-bits``.
    """
    from scipy.stats import qmc

    engine = qmc.Sobol(dimensions, scramble=True, bits=bits, rng=np.random.default_rng(seed))
    points = []
    for made in (0, *(1 << power for power in range(bits))):
        engine.num_generated = made
        # Exact: 52 bits are fewer than those of a float64.
        points.append((engine.random(1)[0] * 2.0**bits).astype(np.uint64))
    directions = [before ^ after for before, after in pairwise(points)]
    changes = [directions[0], *(a ^ b for a, b in pairwise(directions))]
    return points[0], np.stack(changes, axis=1)


def uniform(start: int, stop: int, dimensions: int, total: int, seed: int) -> np.ndarray:
    """Return a block of independent uniform points from a counter-based generator.

    Parameters
    ----------
    start, stop, dimensions, total, seed : int
        As for `sobol`; `total` has no effect.

    Returns
    -------
    numpy.ndarray
        Shape (dimensions, stop - start), in [0, 1).

    References
    ----------
    Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC11 (Philox).
    """
    del total
    # One step of the counter gives four doubles.
    steps, skip = divmod(start * dimensions, 4)
    bits = np.random.Philox(seed)
    bits.advance(steps)
    count = (stop - start) * dimensions
    values = np.random.Generator(bits).random(skip + count)[skip:]
    return np.ascontiguousarray(values.reshape(stop - start, dimensions).T)


def latin_hypercube(start: int, stop: int, dimensions: int, total: int, seed: int) -> np.ndarray:
    """Return a block of a Latin hypercube: each of `total` slices of each axis has one point.

    The permutation of each axis is a keyed bijection of the index, so no table of `total` entries
    is ever made.

    Parameters
    ----------
    start, stop, dimensions, total, seed : int
        As for `sobol`; `total` fixes the slices.

    Returns
    -------
    numpy.ndarray
        Shape (dimensions, stop - start), in [0, 1).

    References
    ----------
    McKay, Beckman and Conover, Technometrics 21 (1979); Black and Rogaway, "Ciphers with arbitrary
    finite domains", CT-RSA 2002 (Feistel network with cycle walking).
    """
    jitter = uniform(start, stop, dimensions, total, seed)
    sequence = np.random.SeedSequence(seed, spawn_key=(1,))
    keys = sequence.generate_state(dimensions * _ROUNDS, np.uint64).reshape(dimensions, _ROUNDS)
    index = np.arange(start, stop, dtype=np.uint64)
    slices = np.stack([_permute(index, total, row) for row in keys])
    # The quotient can round up to 1.
    return np.minimum((slices + jitter) / total, np.nextafter(1.0, 0.0))


def _permute(index: np.ndarray, total: int, keys: np.ndarray) -> np.ndarray:
    """Map each index below `total` to another one, no two to the same."""
    half = np.uint64(max(1, ((total - 1).bit_length() + 1) // 2))
    mask = np.uint64((1 << int(half)) - 1)
    out = _feistel(index, half, mask, keys)
    outside = np.flatnonzero(out >= total)
    while outside.size:
        out[outside] = _feistel(out[outside], half, mask, keys)
        outside = outside[out[outside] >= total]
    return out


def _feistel(x: np.ndarray, half: np.uint64, mask: np.uint64, keys: np.ndarray) -> np.ndarray:
    left, right = x >> half, x & mask
    for key in keys:
        left, right = right, left ^ (_mix(right ^ key) & mask)
    return (left << half) | right


def _mix(x: np.ndarray) -> np.ndarray:
    """Scatter the bits of 64-bit integers (finaliser of SplitMix64, Steele et al. 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


SAMPLERS = {"sobol": sobol, "latin-hypercube": latin_hypercube, "uniform": uniform}
