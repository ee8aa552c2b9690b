"""Speed and accuracy of each way to compute each mathematical function of the CPU target.

    python benchmarks/vector_maths.py                     # the tables of docs/vector-maths.md
    python benchmarks/vector_maths.py exp tanh            # some functions
    python benchmarks/vector_maths.py --reference FILE    # writes the exact values the tests use

The speed is that of a loop over arrays that lie in the first cache, in results per second of one
core; then of four calls amid arithmetic that keeps twenty registers busy, where a call has to save
them (and that arithmetic's time counts). The error is the worst of random arguments over the range
given and over all magnitudes within it, against 80-bit arithmetic.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from cubie_kernels.errors import TargetError
from cubie_kernels.lane import cpu_math
from cubie_kernels.lane.cpu_math_apply import apply, sweep

# Arguments as they occur in models; functions of two arguments have both from the same range.
RANGES = {
    "exp": (-10, 10),
    "exp2": (-10, 10),
    "expm1": (-10, 10),
    "sinh": (-5, 5),
    "cosh": (-5, 5),
    "tanh": (-3, 3),
    "erf": (-3, 3),
    "log": (0.01, 100),
    "log1p": (-0.9, 10),
    "log2": (0.01, 100),
    "log10": (0.01, 100),
    "asinh": (-10, 10),
    "acosh": (1, 10),
    "atanh": (-1, 1),
    "pow": (0.1, 10),
    "asin": (-1, 1),
    "acos": (-1, 1),
    "atan": (-5, 5),
}
OTHERS = (-30, 30)
EXACT = {
    "asinh": "arcsinh",
    "acosh": "arccosh",
    "atanh": "arctanh",
    "pow": "power",
    "asin": "arcsin",
    "acos": "arccos",
    "atan": "arctan",
    "atan2": "arctan2",
}
VARIANTS = ("inline", "libmvec", "portable")
CALLS, REGISTERS = 4, 20


def arguments(name: str, bits: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return random arguments, half of them of all magnitudes."""
    low, high = RANGES.get(name, OTHERS)
    random = np.random.default_rng(1)
    sets = []
    for _ in range(2):
        even = random.uniform(low, high, count // 2)
        size = np.exp(random.uniform(np.log(1e-6), np.log(high), count - count // 2))
        sign = np.where(low < 0, random.choice([-1.0, 1.0], len(size)), 1.0)
        sets.append(np.concatenate([even, np.clip(sign * size, low, high)]))
    kind = np.float64 if bits == 64 else np.float32
    return sets[0].astype(kind), sets[1].astype(kind)


def speed(name: str, variant: str, bits: int, count: int = 2048, times: int = 200) -> float:
    """Return results per second and core, in thousand millions."""
    x, y = (a[None, :].copy() for a in arguments(name, bits, count))
    run = sweep((name,), variant, bits, 512 // bits)
    return _rate(lambda: run(x, y, np.empty_like(x), times), count * times)


def speed_between(name: str, variant: str, bits: int, times: int = 20_000) -> float:
    """Return the same for `CALLS` calls amid arithmetic on `REGISTERS` live registers."""
    from numba import njit

    from cubie_kernels.lane.cpu import lanes
    from cubie_kernels.lane.cpu_types import FLAGS

    width = 512 // bits
    second = ", 1.25" if cpu_math.FUNCTIONS[name] == 2 else ""
    base = 2.0 if name == "acosh" else 0.5
    start = [f"    a{i} = {0.3 + i / 100} * x" for i in range(REGISTERS)]
    calls = [f"        v{i} = f(a{i} * 1e-9 + {base}{second})" for i in range(CALLS)]
    work = [f"        a{i} = a{i} * 0.5 + v{i % CALLS} * {0.01 + i / 99}" for i in range(REGISTERS)]
    total = " + ".join(f"a{i}" for i in range(REGISTERS))
    lines = [
        "def run(x, times):",
        "    x = real(x)",
        *start,
        "    for _ in range(times):",
        *calls,
        *work,
        f"    return any_lane({total} > 0.0)",
    ]
    scope = {**lanes(bits, width, 0), "f": cpu_math.namespace(variant)[name]}
    exec("\n".join(lines), scope)
    run = njit(scope["run"], fastmath=set(FLAGS), error_model="numpy")
    return _rate(lambda: run(0.9, times), CALLS * times * width)


def _rate(work, count: int) -> float:
    work()
    best = np.inf
    for _ in range(5):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return count / best / 1e9


def error(name: str, variant: str, bits: int, count: int = 1 << 17) -> float:
    """Return the worst error in units in the last place."""
    x, y = arguments(name, bits, count)
    found = apply([name], x[None], y[None], variant=variant)[0]
    exact = _exact(name, x, y)
    with np.errstate(all="ignore"):
        rounded = exact.astype(x.dtype)
        units = np.abs(found.astype(np.longdouble) - exact) / np.spacing(np.abs(rounded))
    return float(np.max(units[np.isfinite(rounded)]))


def _exact(name: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    if name == "erf":
        return _exact_erf(x)
    wide = [a.astype(np.longdouble) for a in (x, y)][: cpu_math.FUNCTIONS[name]]
    with np.errstate(all="ignore"):
        return getattr(np, EXACT.get(name, name))(*wide)


def _exact_erf(x: np.ndarray) -> np.ndarray:
    """Return the error function in 80 bits: NumPy has none, so a sample through mpmath."""
    import mpmath

    result = np.full(x.shape, np.nan, np.longdouble)
    with mpmath.workdps(40):
        for i in range(0, len(x), max(1, len(x) // 4000)):
            result[i] = np.sum(np.array(_parts(mpmath.erf(float(x[i]))), np.longdouble))
    return result


def _parts(value) -> tuple[float, float]:
    """Return an exact number as the sum of two machine numbers."""
    import mpmath

    high = float(value)
    return high, float(value - mpmath.mpf(high))


# -------------------------------------------------------------------------------- exact values
def write_reference(path: Path, count: int = 120) -> None:
    """Write arguments and 106-bit values of every function that is not exact."""
    import mpmath

    mpmath.mp.dps = 60
    functions = {"log2": lambda a: mpmath.log(a, 2), "exp2": lambda a: mpmath.mpf(2) ** a}
    functions |= {"pow": lambda a, b: a**b, "log1p": mpmath.log1p, "expm1": mpmath.expm1}
    tables = {}
    for name, arity in cpu_math.FUNCTIONS.items():
        if name in ("sign", "ceil", "trunc", "rint", "fmod"):
            continue
        columns = [a for a in arguments(name, 64, count)][:arity]
        function = functions.get(name) or getattr(mpmath, name)
        values = [
            _parts(_signed_root(*a) if name == "cbrt" else function(*a))
            for a in zip(*[[mpmath.mpf(float(v)) for v in c] for c in columns], strict=True)
        ]
        tables[name] = np.array([*columns, *zip(*values, strict=True)])
    np.savez_compressed(path, **tables)


def _signed_root(value):
    import mpmath

    return mpmath.sign(value) * mpmath.cbrt(abs(value))


# ------------------------------------------------------------------------------------- tables
def available() -> list[str]:
    try:
        cpu_math.paths("libmvec")
    except TargetError:
        return ["inline", "portable"]
    return list(VARIANTS)


def table(names: list[str], bits: int) -> str:
    """Return a Markdown table: speed alone, speed amid other work, worst error of each way."""
    variants = available()
    head = [f"{v} {what}" for what in ("G/s", "G/s amid work", "ulp") for v in variants]
    lines = ["| function | " + " | ".join(head) + " |", "|" + "---|" * (len(head) + 1)]
    for name in names:
        cells = [
            f"{measure(name, variant, bits):.2f}"
            for measure in (speed, speed_between, error)
            for variant in variants
        ]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
        print(lines[-1], file=sys.stderr, flush=True)
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("functions", nargs="*", default=list(cpu_math.FUNCTIONS))
    parser.add_argument("--reference", type=Path, help="write the exact values that the tests use")
    options = parser.parse_args()
    if options.reference:
        write_reference(options.reference)
        return
    for bits in (64, 32):
        print(f"\nfloat{bits}\n\n{table(options.functions, bits)}")


if __name__ == "__main__":
    main()
