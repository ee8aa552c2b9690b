"""Points of the unit cube by index range, so that any block can be made without the others.

Every function gives points ``start .. stop-1`` of a sequence that depends on the seed only: the
same values come out however the sequence is cut into blocks.
"""

from __future__ import annotations

import numpy as np

__all__ = ["SAMPLERS", "latin_hypercube", "sobol", "uniform"]

_ROUNDS = 8


def sobol(start: int, stop: int, dimensions: int, total: int, seed: int) -> np.ndarray:
    """Return a block of the scrambled Sobol sequence of ``scipy.stats.qmc``.

    Parameters
    ----------
    start, stop : int
        Range of points.
    dimensions : int
        Number of coordinates of a point.
    total : int
        Number of points of the whole sequence; more than 2**30 raises the number of bits.
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
    from scipy.stats import qmc

    bits = 30 if total <= 1 << 30 else 62
    engine = qmc.Sobol(dimensions, scramble=True, bits=bits, rng=np.random.default_rng(seed))
    points = []
    if start == 0:
        # One point on its own: a first draw of another size than a power of two warns.
        points.append(engine.random(1))
        start = 1
    else:
        engine.fast_forward(start)
    if stop > start:
        points.append(engine.random(stop - start))
    return np.ascontiguousarray(np.concatenate(points).T)


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
