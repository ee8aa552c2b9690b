"""The partial evaluator of kernel source."""

# ruff: noqa: F821  (free names are what a specialiser is for)
import pytest

from cubie_kernels.errors import BuildError
from cubie_kernels.lane.specialise import Code, specialise


def text(function, **names):
    """The specialised lines of a function, less its first line and docstring."""
    lines = specialise(function, names).splitlines()[1:]
    return [line.strip() for line in lines if '"""' not in line]


def run(function, *arguments, scope=None, **names):
    """Call the specialised function."""
    space = dict(scope or {})
    exec(specialise(function, names), space)
    return space[function.__name__](*arguments)


def stages(y, k, h):
    for s in unroll(range(1, STAGES)):
        for i in range(N):
            y[i] = y[i] + h * total(A[s][j] * k[j * N + i] for j in range(s))
    return y


def test_unrolls_stages_and_leaves_states_a_loop():
    a = ((), (0.5,), (0.0, 0.75))
    lines = text(stages, STAGES=3, N=2, A=a)
    assert lines == [
        "for i in range(2):",
        "y[i] = y[i] + h * (0.5 * k[i])",
        "for i in range(2):",
        "y[i] = y[i] + h * (0.75 * k[2 + i])",
        "return y",
    ]
    assert run(stages, [1.0, 2.0], [1.0, 10.0, 2.0, 20.0], 1.0, STAGES=3, N=2, A=a) == [3.0, 22.0]


def sums(k, start):
    a = total(W[j] * k[j] for j in range(4))
    b = total((W[j] * k[j] for j in range(4)), start=start)
    return (a, b, total(Z[j] * k[j] for j in range(2)))


def test_total():
    lines = text(sums, W=(0.0, 1.0, 0.0, 2.5), Z=(0.0, 0.0))
    assert lines == [
        "a = k[1] + 2.5 * k[3]",
        "b = start + k[1] + 2.5 * k[3]",
        "return (a, b, 0.0)",
    ]
    assert run(sums, [9, 2, 9, 4], 1, W=(0.0, 1.0, 0.0, 2.5), Z=(0.0, 0.0)) == (12, 13, 0)


def branches(x):
    if SAVES and not ADAPTIVE:
        x = x + 1.0
    elif STAGES > 2:
        x = x * 2.0
    else:
        x = missing(x)
    if x > LIMIT:
        x = LIMIT
    y = x if SAVES else missing(x)
    return y


def test_dead_branches_vanish():
    names = {"SAVES": True, "ADAPTIVE": True, "STAGES": 4, "LIMIT": 5.0}
    assert text(branches, **names) == [
        "x = x * 2.0",
        "if x > 5.0:",
        "x = 5.0",
        "y = x",
        "return y",
    ]
    assert run(branches, 1.5, **names) == 3.0
    assert run(branches, 7.0, **names) == 5.0
    assert run(branches, 1.5, **{**names, "ADAPTIVE": False}) == 2.5


def algebra(x):
    a = ONE * x + ZERO
    b = x / ONE - ZERO + ZERO * x
    c = (N + 1) * 2 - 7 // 2 + 7 % 4
    d = -HALF * x
    return (a, b, c, d)


def test_constants_are_folded():
    assert text(algebra, ONE=1.0, ZERO=0.0, N=3, HALF=0.5) == [
        "a = x",
        "b = x",
        "c = 8",
        "d = -0.5 * x",
        "return (a, b, c, d)",
    ]


def test_coefficients_keep_all_digits():
    value = 0.1 + 0.2
    assert repr(value) in specialise(algebra, {"ONE": value, "ZERO": 0.0, "N": 0, "HALF": 0.5})


def memory(i):
    buffer = BUFFER
    return buffer[i] + NOTHING


def test_code_goes_in_as_an_expression():
    assert text(memory, BUFFER=Code("offset(shared, 12)"), NOTHING=Code("nan")) == [
        "buffer = offset(shared, 12)",
        "return buffer[i] + nan",
    ]


def loops(control):
    s = 0
    for j in unroll(range(2)):
        for j in unroll(range(J, J + 2)):
            s = s + j
        s = s + 10 * j
    while s < control:
        if DONE:
            s = s + 1
    return s


def test_nested_loops_and_empty_bodies():
    assert run(loops, 0, J=5, DONE=False) == 2 * (5 + 6) + 10 * (0 + 1)
    assert "pass" in text(loops, J=5, DONE=False)
    assert run(loops, 40, J=5, DONE=True) == 40


class TestErrors:
    def test_unbound_name(self):
        with pytest.raises(BuildError, match="stages: no value given for A, N"):
            specialise(stages, {"STAGES": 2})

    def test_range_that_is_not_constant(self):
        def open_ended(n):
            for i in unroll(range(n)):
                i = i + 1

        with pytest.raises(BuildError, match=r"range\(n\) is not known at build time"):
            specialise(open_ended, {})

    def test_total_of_something_else(self):
        def wrong(k):
            return total(k)

        with pytest.raises(BuildError, match=r"total\(\) takes a generator expression, not total"):
            specialise(wrong, {})

    def test_two_loop_variables(self):
        def wrong(k):
            return total(a * b for a, b in range(3))

        with pytest.raises(BuildError, match="one variable, not"):
            specialise(wrong, {})


def shifted(y, k):
    for i in blocks(range(N)):
        y[i] = y[i] + k[2 * N + i]
    return y


@pytest.mark.parametrize("n", [1, 3, 4, 7, 8])
def test_a_loop_in_blocks_visits_each_index_once(n):
    k = [0.0] * (2 * n) + [float(i + 1) for i in range(n)]
    assert run(shifted, [10.0] * n, k, N=n) == [11.0 + i for i in range(n)]


def test_a_loop_in_blocks_is_written_out_by_four():
    assert text(shifted, N=9)[:6] == [
        "for i in range(0, 8, 4):",
        "y[i] = y[i] + k[18 + i]",
        "y[i + 1] = y[i + 1] + k[18 + (i + 1)]",
        "y[i + 2] = y[i + 2] + k[18 + (i + 2)]",
        "y[i + 3] = y[i + 3] + k[18 + (i + 3)]",
        "for i in range(8, 9):",
    ]
