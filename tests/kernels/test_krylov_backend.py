"""The matrix-free linear solver of kernels: a*M - J and its complex pair, with preconditioners."""

import numpy as np
import pytest
from lane_harness import Program, run

from cubie_kernels.buffers import BufferRegistry
from cubie_kernels.build.krylov_source import PRECONDITIONERS, KrylovConfig, krylov_source
from cubie_kernels.errors import InputError
from cubie_kernels.kernels.linear_solver import LinearMethod
from cubie_kernels.model import System

RUNS = 11


def brusselator(cells: int) -> System:
    """Return a reaction with diffusion on a line: stiff, not symmetric, a band of five."""
    lines, states = [], {}
    for i in range(cells):
        for name, one in (("u", "a + u*u*v - (b + 1)*u"), ("v", "b*u - u*u*v")):
            right = one.replace("u", f"u{i}").replace("v", f"v{i}")
            left = f"{name}{max(i - 1, 0)} - 2*{name}{i} + {name}{min(i + 1, cells - 1)}"
            lines.append(f"d{name}{i} = {right} + k*({left})")
            states[f"{name}{i}"] = 1.0
    return System.from_equations(
        "\n".join(lines), states=states, parameters={"a": 1.0, "b": 3.0, "k": 20.0}
    )


# A chain with a constraint at its end, and a mass matrix that is not diagonal.
CONSTRAINED = System.from_equations(
    """
    dx = -3*x + y*y
    dy = x - 40*y + z
    dz = y - 5*z + c
    0 = x + y + 2*c - k
    """,
    states={"x": 1.0, "y": 0.5, "z": 0.2, "c": 0.1},
    parameters={"k": 1.0},
    mass={("x", "y"): 0.5, ("y", "y"): 2.0},
)


def program(system, config, pair=False, bits=64, owner="linear solver"):
    """Return a program that solves both systems; the run's reals are y, p, a, b and two sides."""
    registry = BufferRegistry({} if pair else "declared")
    made = krylov_source(system, config, registry, owner, f"float{bits}", int(pair))
    groups = (made.linear, made.pairs[0] if pair else ())
    n, parameters = len(system.states), len(system.parameters)
    uses = dict.fromkeys([use for group in groups for use in group])
    storage = [registry.get_allocator(use.name, use.owner).expression() for use in uses]
    linear, paired = (", ".join(use.name for use in group) for group in groups)
    body = [
        *(f"{use.name} = {text}" for use, text in zip(uses, storage, strict=True)),
        f"y, p = given, offset(given, {n})",
        f"a, b = given[{n + parameters}], given[{n + parameters + 1}]",
        "t = real(0.0)",
        f"for i in range({(1 + 2 * pair) * n}):",
        f"    out[i] = given[{n + parameters + 2} + i]",
        f"linear_prepare(t, y, p, rtol, atol, {linear})",
        f"bad = linear_factor(t, y, p, a, {linear})",
        f"code, second = linear_solve(t, y, p, a, out, {linear})",
        "code = select(bad, 9, code)",
    ]
    if pair:
        body += [
            f"re, im = offset(out, {n}), offset(out, {2 * n})",
            f"bad = pair_factor(t, y, p, a, b, {paired})",
            f"pair_code, first = pair_solve(t, y, p, a, b, re, im, {paired})",
            "code = select(bad, 9, code + 16 * pair_code)",
        ]
    text = system.derivative_source(*made.needs) + "\n\n" + made.text
    sides = (1 + 2 * pair) * n
    return Program(text, tuple(body), n + parameters + 2 + sides, sides, bits)


class Case:
    """Random states, shifts and sides, and what they should give."""

    def __init__(self, system, pair=False, shift=(0.5, 30.0), seed=0):
        self.system, self.pair = system, pair
        n = self.n = len(system.states)
        rng = np.random.default_rng(seed)
        self.y = rng.uniform(0.2, 2.0, (n, RUNS))
        self.p = np.tile(np.array(system.parameter_defaults)[:, None], RUNS)
        self.a, self.b = rng.uniform(*shift, (2, RUNS))
        self.sides = rng.uniform(-1, 1, ((1 + 2 * pair) * n, RUNS))
        self.tolerances = (np.full(n, 1e-3), rng.uniform(1e-4, 1e-2, n))
        self.weight = 1.0 / (self.tolerances[1][:, None] + self.tolerances[0][:, None] * self.y)

    def given(self):
        return np.vstack([self.y, self.p, self.a, self.b, self.sides])

    def run(self, config, target="numpy", folder=None, bits=64):
        made = program(self.system, config, self.pair, bits)
        return run(made, target, self.given(), folder, self.tolerances)

    def rests(self, out):
        """Return norms of residuals over those of the right-hand sides, real system and pair."""
        m = np.eye(self.n)
        if self.system.mass is not None:
            m = np.zeros((self.n, self.n))
            for place, weight in self.system.mass.items():
                m[place] = weight
        jac = self.system.numpy_jacobian()(0.0, self.y, self.p)
        found = []
        for part in range(1 + self.pair):
            sides, values = self.sides[: self.n], out[: self.n]
            shift = self.a
            if part:
                re, im = slice(self.n, 2 * self.n), slice(2 * self.n, None)
                sides = self.sides[re] + 1j * self.sides[im]
                values = out[re] + 1j * out[im]
                shift = self.a + 1j * self.b
            w = shift * m[:, :, None] - jac
            rest = self.weight * (sides - np.einsum("ijl,jl->il", w, values))
            found.append(np.linalg.norm(rest, axis=0) / np.linalg.norm(self.weight * sides, axis=0))
        return np.array(found)


def config(preconditioner, correction_type="gmres", tolerance=1e-8, **more):
    order = more.pop("order", 2)
    return KrylovConfig(
        LinearMethod(correction_type, tolerance, max_iters=300, **more), preconditioner, order
    )


@pytest.mark.parametrize("preconditioner", PRECONDITIONERS)
@pytest.mark.parametrize("correction_type", ["minimal_residual", "bicgstab", "gmres"])
def test_systems_and_pairs_are_solved_to_the_tolerance(preconditioner, correction_type):
    shift = (0.5, 30.0)
    if preconditioner == "neumann" or correction_type == "minimal_residual":
        # The Neumann series converges for short steps only; steps along the residual gain at each
        # residual something if the symmetric part of the matrix is definite.
        shift = (150.0, 300.0)
    case = Case(brusselator(4), pair=True, shift=shift)
    result = case.run(config(preconditioner, correction_type, restart=20))
    assert (result.code == 0).all()
    assert (case.rests(result.out) < 1.01e-8).all()


@pytest.mark.parametrize("preconditioner", PRECONDITIONERS)
def test_single_precision(preconditioner):
    case = Case(brusselator(3), pair=True, shift=(150.0, 300.0))
    result = case.run(config(preconditioner, tolerance=1e-4), bits=32)
    assert result.out.dtype == np.float32
    assert (result.code == 0).all()
    assert (case.rests(result.out.astype(float)) < 1.1e-4).all()


@pytest.mark.parametrize("preconditioner", ["none", "jacobi", "ilu"])
def test_constraints_and_mass_matrices(preconditioner):
    case = Case(CONSTRAINED, pair=True)
    result = case.run(config(preconditioner, tolerance=1e-11, restart=8))
    assert (result.code == 0).all()
    assert (case.rests(result.out) < 1e-10).all()
    assert (result.second <= 4).all()
    assert (result.first <= 8).all()


def test_preconditioners_save_iterations():
    case = Case(brusselator(6), pair=True, shift=(100.0, 200.0))
    counts = {}
    for preconditioner in PRECONDITIONERS:
        result = case.run(config(preconditioner))
        assert (result.code == 0).all()
        counts[preconditioner] = (result.second.sum(), result.first.sum())
    long = case.run(config("neumann", order=6))
    for part in range(2):
        assert counts["jacobi"][part] < counts["none"][part]
        assert counts["neumann"][part] < counts["none"][part]
        assert counts["ilu"][part] < counts["jacobi"][part]
    assert long.second.sum() < counts["neumann"][0]
    assert long.first.sum() < counts["neumann"][1]


def test_neumann_of_a_diagonal_mass_matrix():
    system = System.from_equations(
        "dx = -x + y\ndy = x - 3*y",
        states={"x": 1.0, "y": 0.5},
        mass={"x": 2.0, "y": 0.25},
    )
    case = Case(system, pair=True, shift=(40.0, 80.0))
    plain = case.run(config("none", "minimal_residual", 1e-10))
    result = case.run(config("neumann", "minimal_residual", 1e-10, order=4))
    assert (case.rests(result.out) < 1e-10).all()
    assert (result.second < plain.second).all()


def test_incomplete_factors_of_a_band_of_three_are_complete():
    lines = [f"dx{i} = {' + '.join(f'x{k}' for k in (i - 1, i + 1) if 0 <= k < 8)} - 3*x{i}**2"
             for i in range(8)]  # fmt: skip
    system = System.from_equations("\n".join(lines), states={f"x{i}": 1.0 for i in range(8)})
    case = Case(system, pair=True)
    result = case.run(config("ilu", tolerance=1e-12))
    assert (result.second == 1).all()
    assert (result.first == 1).all()
    assert (case.rests(result.out) < 1e-12).all()


@pytest.mark.parametrize("target", ["cpu", pytest.param("cuda", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "preconditioner",
    [
        "ilu",
        pytest.param("jacobi", marks=pytest.mark.slow),
        pytest.param("neumann", marks=[pytest.mark.slow, pytest.mark.exhaustive]),
    ],
)
def test_targets_agree(target, preconditioner, tmp_path):
    if target == "cuda":
        pytest.importorskip("numba_cuda", reason="the extra cubie[cuda]")
    case = Case(CONSTRAINED if preconditioner != "neumann" else brusselator(2), pair=True)
    chosen = config(preconditioner, tolerance=1e-9, restart=8)
    wanted = case.run(chosen)
    result = case.run(chosen, target, tmp_path)
    np.testing.assert_array_equal(result.code, wanted.code)
    np.testing.assert_array_equal(result.second, wanted.second)
    np.testing.assert_allclose(result.out, wanted.out, rtol=1e-7, atol=1e-9)
    if target == "cuda":
        np.testing.assert_array_equal(result.out, wanted.out)


def test_lanes_without_a_matrix_are_bad():
    case = Case(brusselator(2))
    case.a[3] = np.nan
    for preconditioner in PRECONDITIONERS:
        result = case.run(config(preconditioner))
        assert np.flatnonzero(result.code == 9).tolist() == [3]
        assert (np.delete(case.rests(result.out)[0], 3) < 1e-7).all()


def test_singular_matrices_are_bad_or_end_at_the_limit():
    system = System.from_equations("dx = 2*x\ndy = 3*y", states={"x": 1.0, "y": 1.0})
    case = Case(system)
    case.a[:] = 5.0
    case.a[2] = 2.0
    result = case.run(config("ilu"))
    assert np.flatnonzero(result.code).tolist() == [2]
    assert result.code[2] == 9
    result = case.run(config("none"))
    assert np.flatnonzero(result.code).tolist() == [2]
    assert result.code[2] == 4
    assert np.isfinite(result.out).all()


def test_mass_matrices_that_have_no_neumann_series():
    with pytest.raises(InputError, match=r"diagonal, without zeros.*'ilu'"):
        program(CONSTRAINED, config("neumann"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"preconditioner": "jakobi"}, "'jakobi'.*Did you mean 'jacobi'"),
        ({"order": 0}, "order is 0"),
    ],
)
def test_wrong_configurations(arguments, said):
    with pytest.raises(InputError, match=said):
        KrylovConfig(**arguments)
