"""Factories of solvers: what they declare, what they hand on, and what they refuse."""

import dataclasses
import inspect

import numpy as np
import pytest
from lane_harness import Program, run

from cubie_kernels.buffers import BufferRegistry
from cubie_kernels.errors import InputError, RegistryError
from cubie_kernels.kernels.factories import (
    linear_solver_cached_factory,
    linear_solver_factory,
    newton_krylov_solver_factory,
)
from cubie_kernels.kernels.lane_function import BufferUse, LaneFunction
from cubie_kernels.model.incomplete_lu import incomplete_lu_source

APPLY = "def apply(t, h, y, p, v, out):\n    out[0] = h * v[0]"
RESIDUAL = "def residual(t, h, y, p, d, base, r):\n    r[0] = base[0] - d[0]"
AT_UNKNOWNS = "def apply(t, h, y, p, d, v, out):\n    out[0] = v[0]"
CACHED = "def apply(t, h, cached, v, out):\n    out[0] = cached[0] * v[0]"


def newton(**changed):
    linear = changed.pop("linear_solver", None)
    if linear is None:
        linear = linear_solver_factory(AT_UNKNOWNS, 1, "linear")
    arguments = {
        "residual_function": RESIDUAL,
        "linear_solver": linear,
        "n": 1,
        "factory": "newton",
        "tolerance": 1e-6,
        "max_iters": 10,
    }
    return newton_krylov_solver_factory(**(arguments | changed))


def linear(**changed):
    arguments = {"operator_apply": APPLY, "n": 1, "factory": "linear"}
    return linear_solver_factory(**(arguments | changed))


def cached(**changed):
    arguments = {"operator_apply": CACHED, "n": 1, "factory": "linear"}
    return linear_solver_cached_factory(**(arguments | changed))


def kinds(made):
    """Return where each buffer of a function lives, and its size."""
    slots = [made.registry.layout(use.owner).slot(use.name, use.owner) for use in made.buffers]
    return {slot.name: (slot.kind, slot.size) for slot in slots}


def test_linear_solvers_declare_their_buffers():
    made = linear(n=3)
    assert made.owner == "linear"
    assert made.arguments == ("t", "h", "y", "p", "rhs", "x")
    assert kinds(made) == {"lin_preconditioned_vec": ("local", 0), "lin_temp": ("local", 3)}
    made = linear(
        n=3, preconditioner=APPLY.replace("apply", "near"), preconditioned_vec_location="shared"
    )
    assert kinds(made) == {"lin_preconditioned_vec": ("shared", 3), "lin_temp": ("local", 3)}
    made = linear(n=3, correction_type="bicgstab", temp_location="shared", weighted=True)
    assert made.arguments == ("t", "h", "y", "p", "weight", "rhs", "x")
    names = ("lin_temp", "lin_shadow", "lin_direction", "lin_product")
    assert kinds(made) == {
        "lin_preconditioned_vec": ("local", 0), **dict.fromkeys(names, ("shared", 3))
    }  # fmt: skip
    assert made.registry.shared_buffer_size("linear") == 12


def test_gmres_keeps_as_many_vectors_as_it_needs():
    for options, vectors in (
        ({"n": 6}, 6),
        ({"n": 60}, 20),
        ({"n": 60, "restart": 30}, 30),
        ({"n": 60, "max_iters": 4}, 4),
    ):
        made = linear(correction_type="gmres", **options)
        found = kinds(made)
        assert found["lin_basis"][1] == (vectors + 1) * options["n"]
        assert found["lin_triangle"][1] == vectors * (vectors + 1) // 2


def test_newton_hosts_its_linear_solver():
    made = newton()
    assert made.arguments == ("t", "h", "y", "p", "base", "d")
    assert kinds(made) == {
        "newton_delta": ("shared", 1),
        "newton_residual": ("shared", 1),
        "newton_residual_temp": ("local", 1),
        "newton_stage_base_bt": ("local", 1),
        "lin_preconditioned_vec": ("local", 0),
        "lin_temp": ("local", 1),
    }
    assert [use.owner for use in made.buffers] == ["newton"] * 4 + ["linear"] * 2
    assert [row.owner for row in made.registry.explain("newton").rows].count("linear") == 2
    made = newton(
        delta_location="local", residual_location="local",
        residual_temp_location="shared", stage_base_bt_location="shared",
    )  # fmt: skip
    assert [kind for kind, _ in kinds(made).values()][:4] == ["local", "local", "shared", "shared"]
    assert made.storage("here")[2] == "offset(here, 0)"


def test_two_solvers_of_one_kernel_are_two_factories():
    registry = BufferRegistry()
    first = linear(registry=registry, temp_location="shared")
    second = linear(registry=registry, factory="other", name="other", temp_location="shared")
    registry.register_child("step", "linear")
    registry.register_child("step", "other")
    assert first.storage() == ("private(0)", "offset(shared, 0)")
    assert second.storage() == ("private(0)", "offset(shared, 1)")
    with pytest.raises(RegistryError, match="has registered 'lin_preconditioned_vec' already"):
        linear(registry=registry)


def test_functions_are_values():
    made = linear()
    assert made == linear()
    assert hash(made) == hash(linear())
    assert made != linear(tolerance=1e-3)
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.name = "other"


def test_the_signatures_are_those_of_the_design():
    wanted = {
        linear_solver_factory: (
            "operator_apply, n, factory, preconditioner, correction_type, tolerance, max_iters, "
            "precision, preconditioned_vec_location, temp_location"
        ),
        newton_krylov_solver_factory: (
            "residual_function, linear_solver, n, factory, tolerance, max_iters, damping, "
            "max_backtracks, precision, delta_location, residual_location, "
            "residual_temp_location, stage_base_bt_location"
        ),
    }
    wanted[linear_solver_cached_factory] = wanted[linear_solver_factory]
    for function, names in wanted.items():
        parameters = inspect.signature(function).parameters.values()
        plain = [one.name for one in parameters if one.kind is one.POSITIONAL_OR_KEYWORD]
        assert ", ".join(plain) == names


def test_names_of_the_caller_do_not_meet_those_of_the_solver():
    # Context with names that the solver's source has: all of them are handed on by place.
    text = "def apply(k, rest, x, step, v, out):\n    out[0] = k * v[0] + rest * v[0] * step[0]"
    made = linear_solver_factory(text, 1, "linear")
    assert made.arguments == ("k", "rest", "x", "step", "rhs", "x")
    body = (
        "z = private(1)",
        "z[0] = real(2.0)",
        "code, second = linear_solver(given[0], real(1.0), z, z, offset(given, 1), out, "
        + f"{', '.join(made.storage())})",
    )
    result = run(Program(made.text, body, 2, 1), "numpy", np.array([[3.0], [10.0]]))
    assert result.out[0, 0] == pytest.approx(2.0)


def banded(n, lanes):
    """Return a pattern of five diagonals, entries, and the matrices 3*I - J."""
    pattern = [(i, k) for i in range(n) for k in range(n) if abs(i - k) in (0, 1, 4)]
    rng = np.random.default_rng(4)
    entries = np.array(
        [rng.uniform(-1.5, -0.5, lanes) if i == k else rng.uniform(0.3, 1.0, lanes)
         for i, k in pattern]
    )  # fmt: skip
    matrices = np.zeros((lanes, n, n))
    for place, values in zip(pattern, entries, strict=True):
        matrices[:, place[0], place[1]] = -values
    return pattern, entries, matrices + 3.0 * np.eye(n)


def test_cached_solvers_read_what_was_computed_before():
    n, lanes = 16, 5
    pattern, entries, matrices = banded(n, lanes)
    count = len(pattern)
    code = incomplete_lu_source(n, pattern)
    # What is cached: the Jacobian's entries, and incomplete factors behind them.
    lines = ["def apply(a, cached, v, out):"]
    lines += [f"    out[{i}] = a * v[{i}]" for i in range(n)]
    lines += [f"    out[{i}] = out[{i}] - cached[{at}] * v[{k}]"
              for at, (i, k) in enumerate(pattern)]  # fmt: skip
    factors = f"""
{code.text}

def precondition(a, cached, v, out):
    for i in range({n}):
        out[i] = v[i]
    ilu_solve(offset(cached, {count}), out)
"""
    sides = np.random.default_rng(1).normal(size=(n, lanes))
    counts = []
    for preconditioner in (None, factors):
        made = linear_solver_cached_factory(
            "\n".join(lines), n, "linear", preconditioner, "bicgstab", 1e-10
        )
        assert made.arguments == ("a", "cached", "rhs", "x")
        body = [
            f"cached = private({count + code.entries})",
            f"for i in range({count}):",
            "    cached[i] = given[i]",
            "a = real(3.0)",
            f"rhs = offset(given, {count})",
        ]
        if preconditioner:
            body.append(f"growth = ilu_factor(cached, a, offset(cached, {count}))")
        body.append(f"code, second = {made.name}(a, cached, rhs, out, {', '.join(made.storage())})")
        result = run(
            Program(made.text, tuple(body), count + n, n), "numpy", np.vstack([entries, sides])
        )
        assert (result.code == 0).all()
        wanted = np.linalg.solve(matrices, sides.T[..., None])[..., 0].T
        np.testing.assert_allclose(result.out, wanted, rtol=1e-8, atol=1e-9)
        counts.append(result.second)
    assert (counts[1] < counts[0]).all()


def test_a_preconditioner_may_use_the_operator_and_its_buffers():
    registry = BufferRegistry()
    registry.register("twice", "operator", 2, "shared")
    registry.register("inner", "smoother", 2, "shared")
    registry.register_child("smoother", "operator")
    operator = LaneFunction(
        "apply",
        "def apply(m, v, out, twice):\n"
        "    twice[0] = m[0] * v[0]\n    twice[1] = m[3] * v[1]\n"
        "    out[0] = twice[0] + m[1] * v[1]\n    out[1] = twice[1] + m[2] * v[0]",
        ("m", "v", "out"), "operator", (BufferUse("operator", "twice"),), registry,
    )  # fmt: skip
    smoother = LaneFunction(
        "smooth",
        # Two steps of Jacobi's iteration, of which the second needs the residual.
        "def smooth(m, v, out, inner, twice):\n"
        "    out[0] = v[0] / m[0]\n    out[1] = v[1] / m[3]\n"
        "    apply(m, out, inner, twice)\n"
        "    out[0] = out[0] + (v[0] - inner[0]) / m[0]\n"
        "    out[1] = out[1] + (v[1] - inner[1]) / m[3]",
        ("m", "v", "out"), "smoother",
        (BufferUse("smoother", "inner"), BufferUse("operator", "twice")), registry,
    )  # fmt: skip
    counts = []
    for factory, preconditioner in (("plain", None), ("smoothed", smoother)):
        if preconditioner is None:
            registry_2 = BufferRegistry()
            registry_2.register("twice", "operator", 2, "shared")
            used = dataclasses.replace(operator, registry=registry_2)
        else:
            used = operator
        made = linear_solver_factory(used, 2, factory, preconditioner, tolerance=1e-9)
        assert made.registry is used.registry
        assert len(set(made.buffers)) == len(made.buffers)
        shared = made.registry.shared_buffer_size(factory)
        body = (
            f"code, second = linear_solver(given, offset(given, 4), out, "
            f"{', '.join(made.storage())})",
        )
        given = np.array([[3.0, 1.0, -0.5, 2.0, 1.0, -4.0]]).T
        result = run(Program(made.text, body, 6, 2, shared=shared), "numpy", given)
        wanted = np.linalg.solve([[3.0, 1.0], [-0.5, 2.0]], [1.0, -4.0])
        np.testing.assert_allclose(result.out[:, 0], wanted, rtol=1e-7)
        counts.append(result.second[0])
    assert counts[1] < counts[0]


SHARED_REFUSALS = [
    ({"n": 0}, "n is 0: give a whole number of 1 or more"),
    ({"n": 2.5}, "n is 2.5"),
    ({"n": True}, "n is True"),
    ({"factory": None}, "factory is None"),
    ({"factory": ["linear"]}, "not hashable"),
    ({"tolerance": 0.0}, "tolerance is 0.0: give a finite number above 0"),
    ({"tolerance": float("nan")}, "tolerance is nan"),
    ({"tolerance": float("inf")}, "tolerance is inf"),
    ({"tolerance": "small"}, "tolerance is 'small'"),
    ({"max_iters": 0}, "max_iters is 0"),
    ({"max_iters": 10.0}, "max_iters is 10.0"),
    ({"precision": "float8"}, "precision is 'float8'.*Did you mean 'float64'"),
    ({"registry": "mine"}, "registry is 'mine': give a BufferRegistry"),
    ({"name": "solve it"}, "name is 'solve it'"),
    ({"name": "while"}, "name is 'while'"),
]
LINEAR_REFUSALS = [
    *SHARED_REFUSALS,
    ({"correction_type": "minimal_residuals"}, "Did you mean 'minimal_residual'"),
    ({"correction_type": None}, "correction_type is None: give one of minimal_residual, steepest"),
    ({"restart": 0}, "restart is 0"),
    ({"preconditioned_vec_location": "global"}, "preconditioned_vec_location is 'global'"),
    ({"temp_location": "share"}, "temp_location is 'share'.*Did you mean 'shared'"),
    ({"operator_apply": None}, "operator_apply is None: give a LaneFunction, or the text"),
    ({"operator_apply": "def apply(v, out)"}, "operator_apply is not Python"),
    ({"operator_apply": "a = 1"}, "functions and nothing else"),
    ({"operator_apply": "def apply(v, *out):\n    pass"}, "must take plain arguments"),
    ({"operator_apply": "def apply(v, out=1):\n    pass"}, "must take plain arguments"),
    ({"preconditioner": 3}, "preconditioner is 3"),
    ({"name": "apply"}, r"Solver and apply\(\) have one name"),
]


@pytest.mark.parametrize(("changed", "said"), LINEAR_REFUSALS)
@pytest.mark.parametrize("make", [linear, cached])
def test_what_linear_solvers_refuse(make, changed, said):
    with pytest.raises((InputError, RegistryError), match=said):
        make(**changed)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"operator_apply": "def apply(v):\n    pass"}, "takes too few arguments"),
        ({"operator_apply": "def rest(v, out):\n    pass"}, "rest is a variable of the solver"),
        ({"preconditioner": "def near(t, y, v, out):\n    pass"}, "must begin alike"),
    ],
)
def test_what_plain_linear_solvers_refuse(changed, said):
    with pytest.raises(InputError, match=said):
        linear(**changed)


def test_what_cached_linear_solvers_refuse():
    with pytest.raises(InputError, match="no argument 'cached' before its last two"):
        cached(operator_apply=APPLY)
    with pytest.raises(InputError, match=r"near.*no argument 'cached'"):
        cached(preconditioner="def near(t, h, v, out):\n    pass")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        *SHARED_REFUSALS,
        ({"damping": 0.0}, "damping is 0.0: give a finite number above 0 and below 1"),
        ({"damping": 1.0}, "damping is 1.0"),
        ({"max_backtracks": -1}, "max_backtracks is -1: give a whole number of 0 or more"),
        ({"delta_location": "private"}, "delta_location is 'private'"),
        ({"residual_location": None}, "residual_location is None"),
        ({"residual_temp_location": "shard"}, "residual_temp_location.*Did you mean 'shared'"),
        ({"stage_base_bt_location": ""}, "stage_base_bt_location is ''"),
        ({"residual_function": 1}, "residual_function is 1"),
        ({"residual_function": "def residual(d, r):\n    pass"}, "do not go together"),
        ({"residual_function": "def residual(t, d, base, r):\n    pass"}, "do not go together"),
        ({"linear_solver": AT_UNKNOWNS}, "give what linear_solver_factory returned"),
        ({"registry": BufferRegistry()}, "declared in another registry"),
        ({"name": "linear_solver"}, "have one name"),
    ],
)
def test_what_newton_solvers_refuse(changed, said):
    with pytest.raises((InputError, RegistryError), match=said):
        newton(**changed)


def test_a_refusal_declares_nothing():
    registry = BufferRegistry()
    for make, refusals in ((linear, LINEAR_REFUSALS), (cached, LINEAR_REFUSALS)):
        for changed, _ in refusals:
            with pytest.raises((InputError, RegistryError)):
                make(**({"registry": registry} | changed))
    inner = linear_solver_factory(AT_UNKNOWNS, 1, "linear", registry=registry)
    for changed, _ in SHARED_REFUSALS:
        with pytest.raises((InputError, RegistryError)):
            newton(**({"linear_solver": inner} | changed))
    assert registry.layout("newton").slots == ()
    assert len(registry.layout("linear").slots) == 2


def test_a_linear_solver_has_one_host():
    inner = linear_solver_factory(AT_UNKNOWNS, 1, "linear")
    newton(linear_solver=inner)
    with pytest.raises(RegistryError, match="hosted by 'newton' already"):
        newton(linear_solver=inner, factory="other")


def test_buffers_without_a_registry_are_refused():
    lost = LaneFunction("apply", APPLY, ("v", "out"), "lost", (BufferUse("lost", "one"),))
    with pytest.raises(InputError, match="no registry that declares them"):
        linear(operator_apply=lost)
