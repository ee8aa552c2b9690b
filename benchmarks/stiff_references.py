"""End states of the stiff ensembles to 1e-10 or better: computes or loads them.

Van der Pol and HIRES, which an explicit method of high order still gets through: heyoka's Taylor
method in extended precision at 1e-19. Robertson: Radau collocation of order 15 over steps that grow
with time. Both are compared with a method of SciPy's on some runs. Some minutes::

    python benchmarks/stiff_references.py     # writes baselines/stiff_references.npz
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from numpy.polynomial.legendre import Legendre
from stiff_problems import HIRES, PROBLEMS, ROBERTSON, StiffProblem

__all__ = ["REFERENCE_RUNS", "reference"]

REFERENCE_RUNS = 100
NEWTON = 6
STORED = Path(__file__).resolve().parent / "baselines" / "stiff_references.npz"


def reference(problem: StiffProblem) -> np.ndarray:
    """End states of the sweep of `REFERENCE_RUNS` runs, (runs, states)."""
    with np.load(STORED) as stored:
        return stored[problem.name]


def taylor(problem: StiffProblem) -> np.ndarray:
    """End states by heyoka in extended precision."""
    import heyoka as hy

    p, y0 = problem.rows(REFERENCE_RUNS)
    real = np.longdouble
    variables = hy.make_vars(*problem.states)
    equations = problem.rhs(hy.time, variables, [hy.par[i] for i in range(p.shape[1])])
    integrator = hy.taylor_adaptive(
        list(zip(variables, equations, strict=True)),
        np.zeros(y0.shape[1], real),
        pars=np.zeros(p.shape[1], real),
        tol=real(1e-19),
        fp_type=real,
    )
    out = np.empty_like(y0)
    for r in range(REFERENCE_RUNS):
        integrator.time = real(0.0)
        integrator.state[:] = y0[r]
        integrator.pars[:] = p[r]
        integrator.propagate_until(real(problem.t_end))
        out[r] = integrator.state
    return out


def _radau(stages: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes c and coefficients A of Radau IIA: A integrates polynomials up to the nodes."""
    difference = Legendre.basis(stages) - Legendre.basis(stages - 1)
    nodes = np.sort(difference.roots().real)
    basis = [Legendre.basis(k) for k in range(stages)]
    values = np.array([b(nodes) for b in basis])
    integrals = np.array([b.integ(lbnd=-1)(nodes) for b in basis])
    return (nodes + 1.0) / 2.0, np.linalg.solve(values, integrals).T / 2.0


def collocation(problem: StiffProblem, growth: float, stages: int = 8) -> np.ndarray:
    """End states by Radau IIA, order 2 * stages - 1, all runs at once; steps grow from 1e-8."""
    p, y = problem.rows(REFERENCE_RUNS)
    runs, n = y.shape
    c, coefficients = _radau(stages)
    by_stage = p.T[:, :, None]
    ends = 1e-8 * growth ** np.arange(np.ceil(np.log(problem.t_end / 1e-8) / np.log(growth)))
    size = n * stages
    t = 0.0
    for end in (*ends, problem.t_end):
        h = end - t
        stage = np.repeat(y[:, :, None], stages, 2)

        def slope(stage):
            return np.stack(problem.rhs(t + c * h, stage.swapaxes(0, 1), by_stage), 1)  # noqa: B023

        for _ in range(NEWTON):
            shifts = [stage + 1e-30j * np.eye(n)[k][:, None] for k in range(n)]
            jacobian = np.stack([slope(shifted).imag / 1e-30 for shifted in shifts], 2)
            matrix = np.eye(size) - h * np.einsum("ij,rabj->raibj", coefficients, jacobian).reshape(
                runs, size, size
            )
            rest = y[:, :, None] + h * slope(stage) @ coefficients.T - stage
            stage = stage + np.linalg.solve(matrix, rest.reshape(runs, size, 1)).reshape(
                stage.shape
            )
        y, t = stage[:, :, -1], end
    return y


def scipy_ends(problem: StiffProblem, runs: range, method: str, rtol: float) -> np.ndarray:
    """End states of some of the runs by ``scipy.integrate.solve_ivp``."""
    from scipy.integrate import solve_ivp

    p, y0 = problem.rows(REFERENCE_RUNS)
    atol = 1e-20 if problem.componentwise else 1e-14
    out = []
    for r in runs:
        found = solve_ivp(
            problem.rhs, (0.0, problem.t_end), y0[r], method, args=(p[r],), rtol=rtol, atol=atol
        )
        if not found.success:
            raise RuntimeError(f"{problem.name}, run {r}: {found.message}")
        out.append(found.y[:, -1])
    return np.array(out)


def _computed(problem: StiffProblem) -> np.ndarray:
    if problem is ROBERTSON:
        return collocation(problem, 1.2)
    return taylor(problem)


def _checks(problem: StiffProblem) -> list[tuple[range, str, float]]:
    if problem is ROBERTSON:
        return [(range(3, REFERENCE_RUNS, 24), "Radau", 1e-12)]
    if problem is HIRES:
        return [(range(3, REFERENCE_RUNS, 24), "DOP853", 1e-13)]
    return [(range(3, 40, 12), "DOP853", 1e-13), (range(51, REFERENCE_RUNS, 24), "Radau", 1e-12)]


def main() -> None:
    found = {}
    for problem in PROBLEMS:
        start = time.perf_counter()
        found[problem.name] = _computed(problem)
        said = [f"{problem.name}: {time.perf_counter() - start:.0f} s"]
        for runs, method, rtol in _checks(problem):
            other = scipy_ends(problem, runs, method, rtol)
            apart = problem.errors(other, found[problem.name][runs]).max()
            said.append(f"{apart:.1e} from {method} at {rtol:g} on {len(runs)} runs")
            if not apart < 1e-8:
                raise RuntimeError(f"two references disagree; {', '.join(said)}")
        print(", ".join(said), flush=True)
    np.savez_compressed(STORED, **found)
    print(f"written: {STORED}")


if __name__ == "__main__":
    main()
