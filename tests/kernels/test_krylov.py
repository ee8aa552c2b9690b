"""Matrix-free linear solvers against ``numpy.linalg.solve``: accuracy, counts, codes, breakdown."""

import numpy as np
import pytest
from lane_harness import Program, run

from cubie_kernels.buffers import BufferRegistry
from cubie_kernels.kernels.factories import linear_solver_factory
from cubie_kernels.kernels.linear_solver import CORRECTION_TYPES

RUNS = 13
FREE = ("bicgstab", "gmres")  # of the definiteness of the matrix


def product(n: int) -> str:
    """Return an operator whose matrix, a run's own, is its context."""
    return f"""
def apply(matrix, v, out):
    for i in range({n}):
        value = matrix[{n} * i] * v[0]
        for k in range(1, {n}):
            value = value + matrix[{n} * i + k] * v[k]
        out[i] = value
"""


def solver_program(n: int, types=CORRECTION_TYPES, bits: int = 64, **options) -> Program:
    """Return a program that solves with one or more methods; ``out`` is theirs in order.

    The last method's code and number of iterations are given out; ``code`` has 16 for each other
    that did not converge.
    """
    registry = BufferRegistry()
    texts, body = [], ["total_code = integers(0)"]
    for k, name in enumerate(types):
        made = linear_solver_factory(
            product(n), n, f"solver {k}", correction_type=name, precision=f"float{bits}",
            registry=registry, name=f"solve_{name}", **options,
        )  # fmt: skip
        texts.append(made.text)
        named = [f"{use.name}_{k}" for use in made.buffers]
        body += [f"{name} = {text}" for name, text in zip(named, made.storage(), strict=True)]
        weight = f"offset(given, {n * n + n}), " if options.get("weighted") else ""
        body += [
            f"rhs_{k} = private({n})",
            f"for i in range({n}):",
            f"    rhs_{k}[i] = given[{n * n} + i]",
            f"x_{k} = offset(out, {k * n})",
            f"code, second = {made.name}(given, {weight}rhs_{k}, x_{k}, {', '.join(named)})",
        ]
        if k + 1 < len(types):
            body.append("total_code = select(code == 0, total_code, total_code + 16)")
    body.append("code = code + total_code")
    given = n * n + n + (n if options.get("weighted") else 0)
    return Program("\n\n".join(texts), tuple(body), given, len(types) * n, bits)


def solve(matrices, sides, types, target="numpy", folder=None, bits=64, weights=None, **options):
    """Solve a system in each lane; matrices (runs, n, n), sides (n, runs)."""
    n = sides.shape[0]
    made = solver_program(n, types, bits, weighted=weights is not None, **options)
    parts = [matrices.reshape(len(matrices), -1).T, sides]
    given = np.vstack(parts if weights is None else [*parts, weights])
    return run(made, target, given, folder)


def symmetric(n, seed=0, least=0.5):
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(RUNS):
        q, _ = np.linalg.qr(rng.normal(size=(n, n)))
        found.append(q @ np.diag(rng.uniform(least, 10.0, n)) @ q.T)
    return np.array(found)


def skewed(n, seed=0):
    """Return matrices that are far from symmetric, with a positive definite symmetric part."""
    rng = np.random.default_rng(seed)
    found = rng.normal(size=(RUNS, n, n))
    return symmetric(n, seed, 4.0) + 3.0 * (found - found.transpose(0, 2, 1)) / np.sqrt(n)


def laplacians(n):
    """Return shifted Laplacians: those with large shifts are nearly the identity."""
    plain = 2 * np.eye(n) - np.eye(n, k=1) - np.eye(n, k=-1)
    return np.array([plain + shift * np.eye(n) for shift in np.logspace(-3, 1.5, RUNS)])


def sides_of(n, seed=1):
    return np.random.default_rng(seed).uniform(-1, 1, (n, RUNS))


def rests(matrices, sides, x, weights=1.0):
    """Return norms of residuals over those of the right-hand sides."""
    rest = sides - np.einsum("rij,jr->ir", matrices, x)
    return np.linalg.norm(weights * rest, axis=0) / np.linalg.norm(weights * sides, axis=0)


@pytest.mark.parametrize("make", [symmetric, skewed, laplacians])
@pytest.mark.parametrize("n", [1, 2, 7, 12])
def test_solutions_agree_with_numpy_to_the_tolerance(make, n):
    types = CORRECTION_TYPES if make is not skewed else ("minimal_residual", *FREE)
    matrices, sides = make(n), sides_of(n)
    wanted = np.linalg.solve(matrices, sides.T[..., None])[..., 0].T
    conditions = np.linalg.cond(matrices)
    for tolerance in (1e-3, 1e-9):
        result = solve(matrices, sides, types, tolerance=tolerance, max_iters=5000)
        assert (result.code == 0).all()
        for k, _ in enumerate(types):
            x = result.out[k * n : (k + 1) * n]
            assert (rests(matrices, sides, x) <= 1.001 * tolerance).all()
            error = np.linalg.norm(x - wanted, axis=0) / np.linalg.norm(wanted, axis=0)
            assert (error <= 1.001 * tolerance * conditions).all()


def test_indefinite_matrices_are_solved_by_those_that_can():
    n = 8
    matrices = np.random.default_rng(3).normal(size=(RUNS, n, n))
    sides = sides_of(n)
    for name in FREE:
        result = solve(matrices, sides, (name,), tolerance=1e-10, max_iters=400)
        assert (result.code == 0).sum() >= RUNS - 1
        good = result.code == 0
        assert (rests(matrices, sides, result.out)[good] < 1e-6).all()
    # Where it can't, a solver says so: the residual of its solution is still not larger.
    result = solve(matrices, sides, ("minimal_residual",), tolerance=1e-10, max_iters=400)
    assert (result.code == 4).any()
    assert (rests(matrices, sides, result.out) <= 1.0).all()


@pytest.mark.parametrize("make", [symmetric, skewed, laplacians])
def test_gmres_ends_after_as_many_steps_as_unknowns(make):
    for n in (1, 3, 10, 16):
        matrices, sides = make(n), sides_of(n)
        result = solve(matrices, sides, ("gmres",), tolerance=1e-11, max_iters=100)
        assert (result.code == 0).all()
        assert result.second.max() <= n
        assert (rests(matrices, sides, result.out) < 1e-11).all()


def test_gmres_needs_as_many_steps_as_there_are_eigenvalues():
    n = 9
    q = np.linalg.qr(np.random.default_rng(5).normal(size=(n, n)))[0]
    values = np.array([1.0, 4.0, 9.0, 2.0])
    kinds = np.arange(RUNS) % 4 + 1
    matrices = np.array([q @ np.diag(values[np.arange(n) % kind]) @ q.T for kind in kinds])
    result = solve(matrices, sides_of(n), ("gmres",), tolerance=1e-9)
    np.testing.assert_array_equal(result.second, kinds)


def test_restarts():
    n = 10
    matrices, sides = skewed(n), sides_of(n)
    counts = []
    for restart in (2, 5, 10):
        result = solve(matrices, sides, ("gmres",), tolerance=1e-9, max_iters=500, restart=restart)
        assert (result.code == 0).all()
        assert (rests(matrices, sides, result.out) < 1.001e-9).all()
        counts.append(result.second.sum())
    assert counts == sorted(counts, reverse=True)


@pytest.mark.parametrize("name", CORRECTION_TYPES)
def test_each_lane_has_its_own_count_and_code(name):
    n = 12
    matrices, sides = laplacians(n), sides_of(n)
    free = solve(matrices, sides, (name,), tolerance=1e-6, max_iters=5000)
    assert len(set(free.second)) > 3
    limit = int(np.median(free.second))
    cut = solve(matrices, sides, (name,), tolerance=1e-6, max_iters=limit)
    np.testing.assert_array_equal(cut.code, np.where(free.second <= limit, 0, 4))
    np.testing.assert_array_equal(cut.second, np.minimum(free.second, limit))
    done = free.second <= limit
    if name != "gmres":  # whose cycles end at the limit
        np.testing.assert_array_equal(cut.out[:, done], free.out[:, done])
    assert (rests(matrices, sides, cut.out) <= 1.0).all()


@pytest.mark.parametrize(
    ("types", "bits"),
    [
        (("gmres",), 64),
        pytest.param(CORRECTION_TYPES[:3], 64, marks=pytest.mark.slow),
        pytest.param(CORRECTION_TYPES, 32, marks=pytest.mark.slow),
    ],
)
def test_a_lane_alone_and_in_company_has_the_same_bits(tmp_path, types, bits):
    n = 7
    matrices, sides = laplacians(n), sides_of(n)
    options = {"tolerance": 1e-5, "max_iters": 20, "bits": bits, "restart": 4}
    together = solve(matrices, sides, types, "cpu", tmp_path, **options)
    turned = solve(matrices[::-1], sides[:, ::-1], types, "cpu", tmp_path, **options)
    assert len(set(together.second)) > 1
    assert 0 < (together.code > 0).sum() < RUNS
    np.testing.assert_array_equal(turned.out[:, ::-1], together.out)
    for lane in range(RUNS):
        part = slice(lane, lane + 1)
        alone = solve(matrices[part], sides[:, part], types, "cpu", tmp_path, **options)
        np.testing.assert_array_equal(alone.out[:, 0], together.out[:, lane])
        assert (alone.code[0], alone.second[0]) == (together.code[lane], together.second[lane])


@pytest.mark.slow
@pytest.mark.parametrize("bits", [64, 32])
def test_the_code_for_gpus_computes_the_same(tmp_path, bits):
    pytest.importorskip("numba_cuda", reason="the extra cubie[cuda]")
    n = 6
    matrices, sides = skewed(n), sides_of(n)
    options = {"tolerance": 1e-4, "max_iters": 200, "bits": bits, "temp_location": "local"}
    wanted = solve(matrices, sides, CORRECTION_TYPES, **options)
    found = solve(matrices, sides, CORRECTION_TYPES, "cuda", tmp_path, **options)
    for name in ("out", "code", "second"):
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))


@pytest.mark.parametrize("name", CORRECTION_TYPES)
def test_right_hand_sides_of_nothing_and_without_numbers(name):
    n = 5
    matrices, sides = symmetric(n), sides_of(n)
    sides[:, 2] = 0.0
    sides[3, 4] = np.nan
    sides[1, 6] = np.inf
    sides[:, 8] = 1e-320
    result = solve(matrices, sides, (name,), tolerance=1e-8, max_iters=500)
    np.testing.assert_array_equal(np.flatnonzero(result.code), [4, 6])
    np.testing.assert_array_equal(np.flatnonzero(result.second == 0), [2, 4, 6, 8])
    assert (result.out[:, [2, 4, 6, 8]] == 0.0).all()
    others = np.setdiff1d(np.arange(RUNS), [2, 4, 6, 8])
    assert (rests(matrices[others], sides[:, others], result.out[:, others]) < 1.001e-8).all()


@pytest.mark.parametrize("name", CORRECTION_TYPES)
@pytest.mark.parametrize("bits", [64, 32])
def test_sizes_of_right_hand_sides_do_not_matter(name, bits):
    n = 6
    matrices, sides = symmetric(n, least=3.0), sides_of(n)
    smallest, largest = (-290, 290) if bits == 64 else (-35, 35)
    scales = 10.0 ** np.linspace(smallest, largest, RUNS)
    tolerance = 1e-5
    result = solve(matrices, sides * scales, (name,), bits=bits, tolerance=tolerance)
    assert (result.code == 0).all()
    out = result.out.astype(np.float64) / scales
    assert (rests(matrices, sides, out) < 1.1 * tolerance).all()


@pytest.mark.parametrize("name", CORRECTION_TYPES)
def test_breakdown_ends_a_lane_and_spreads_nothing(name):
    n = 2
    matrices = np.tile(np.array([[3.0, 1.0], [0.5, 2.0]]), (RUNS, 1, 1))
    matrices[1] = [[0.0, 1.0], [-1.0, 0.0]]  # v and W v are orthogonal: all but GMRES break down
    matrices[3] = [[1.0, 0.0], [0.0, 0.0]]  # singular
    matrices[5] = 0.0
    matrices[7] = np.nan
    matrices[9] = [[1.0, np.inf], [0.0, 1.0]]
    sides = np.ones((n, RUNS))
    result = solve(matrices, sides, (name,), tolerance=1e-10, max_iters=200)
    broken = [3, 5, 7, 9] if name == "gmres" else [1, 3, 5, 7, 9]
    np.testing.assert_array_equal(np.flatnonzero(result.code), broken)
    assert (result.code[broken] == 4).all()
    assert np.isfinite(result.out).all()
    good = np.setdiff1d(np.arange(RUNS), broken)
    assert (rests(matrices[good], sides[:, good], result.out[:, good]) < 1.001e-10).all()


@pytest.mark.parametrize("name", CORRECTION_TYPES)
def test_weights_decide_what_counts(name):
    # The same systems in other units: weights make up for them.
    n = 6
    matrices, sides = symmetric(n), sides_of(n)
    units = 10.0 ** np.random.default_rng(8).uniform(-8, 8, (n, RUNS))
    scaled = np.einsum("ir,rij,jr->rij", units, matrices, 1.0 / units)
    options = {"tolerance": 1e-6, "max_iters": 800}
    plain = solve(matrices, sides, (name,), **options)
    result = solve(scaled, sides * units, (name,), weights=1.0 / units, **options)
    assert (result.code == 0).all()
    assert (abs(result.second - plain.second) <= 1).all()
    assert (rests(matrices, sides, result.out / units) < 1.01e-6).all()
