"""A System is a value: compared, hashed, stored and shown by its content."""

import json
import pickle
import subprocess
import sys

import numpy as np
import pytest

from cubie_kernels.errors import EquationError
from cubie_kernels.model import System

TEXT = "dx = sigma*(y - x)\ndy = x*(rho - z) - y\ndz = x*y - beta*z\nr = x*x + y*y"
GIVEN = {
    "states": {"x": 1.0, "y": 0.5, "z": 0.0},
    "parameters": {"sigma": 10.0, "rho": 28.0},
    "constants": {"beta": 8 / 3},
    "observables": ["r"],
    "name": "lorenz",
}


def lorenz(text=TEXT, **options):
    return System.from_equations(text, **(GIVEN | options))


def test_names_and_defaults_keep_their_order():
    system = lorenz()
    assert system.states == ("x", "y", "z")
    assert system.state_defaults == (1.0, 0.5, 0.0)
    assert system.parameters == ("sigma", "rho")
    assert system.parameter_defaults == (10.0, 28.0)
    assert system.constants == (("beta", 8 / 3),)
    assert system.observables == ("r",)
    assert system.operations == 8
    assert system.autonomous


def test_values_may_be_any_real_numbers():
    system = lorenz(states={"x": 1, "y": np.float32(0.5), "z": np.int64(2)})
    assert system.state_defaults == (1.0, 0.5, 2.0)
    assert all(type(value) is float for value in system.state_defaults)


def test_equal_content_is_equal_and_hashes_alike():
    same = lorenz(TEXT.replace("sigma*(y", "sigma * (y") + "   # a comment\n\n")
    assert same == lorenz()
    assert hash(same) == hash(lorenz())
    assert same.content_hash == lorenz().content_hash
    assert len(same.content_hash) == 64
    assert lorenz() != "lorenz"
    renamed = lorenz(name="other")
    assert renamed != lorenz()
    assert renamed.content_hash == lorenz().content_hash


@pytest.mark.parametrize(
    "change",
    [
        {"text": TEXT.replace("x*x", "x*z")},
        {"states": {"x": 1.0, "y": 0.5, "z": 0.25}},
        {"states": {"y": 0.5, "x": 1.0, "z": 0.0}},
        {"parameters": {"sigma": 10.0, "rho": 27.0}},
        {"parameters": {"rho": 28.0, "sigma": 10.0}},
        {"parameters": {"sigma": 10.0, "rho": 28.0, "extra": 0.0}},
        {"constants": {"beta": 2.5}},
        {"observables": []},
    ],
)
def test_any_change_of_content_shows(change):
    other = lorenz(**change)
    assert other != lorenz()
    assert other.content_hash != lorenz().content_hash


def test_frozen():
    with pytest.raises(AttributeError):
        lorenz().name = "other"  # type: ignore[misc]


def test_pickle_and_json():
    system = lorenz()
    back = pickle.loads(pickle.dumps(system))
    assert back == system
    assert back.lane_source() == system.lane_source()
    stored = json.dumps(system.to_dict(), sort_keys=True)
    again = System.from_dict(json.loads(stored))
    assert again == system
    assert again.states == system.states
    assert again.text == system.text
    rhs = pickle.loads(pickle.dumps(system.numpy_rhs()))
    y, p = [1.0, 2.0, 3.0], [10.0, 28.0]
    np.testing.assert_array_equal(rhs(0.0, y, p), system.numpy_rhs()(0.0, y, p))


def test_the_hash_is_the_same_in_every_process():
    script = (
        "import sys, json; from cubie_kernels.model import System;"
        "print(System.from_dict(json.loads(sys.argv[1])).content_hash)"
    )
    found = subprocess.run(
        [sys.executable, "-c", script, json.dumps(lorenz().to_dict())],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == lorenz().content_hash


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sates": []}, "Unknown key 'sates'. Did you mean 'states'?"),
        ({"states": [["x", 1.0, 2.0]]}, "pairs of a name and a value"),
        ({"states": 3}, "pairs of a name and a value"),
        ({"states": [["x", 1.0], ["x", 2.0]]}, "a name twice"),
        ({"states": [["x", "1"], ["y", 0.0], ["z", 0.0]]}, "needs a number"),
        ({"text": "dx = __import__"}, "No equation for the state"),
        ({"text": None}, "must be a text"),
    ],
)
def test_stored_content_is_checked_as_any_other(change, message):
    with pytest.raises(EquationError) as caught:
        System.from_dict(lorenz().to_dict() | change)
    assert message in str(caught.value)


def test_stored_content_must_be_whole():
    content = lorenz().to_dict()
    del content["text"], content["states"]
    with pytest.raises(EquationError, match="Keys are missing: text, states"):
        System.from_dict(content)
    with pytest.raises(EquationError, match="A mapping is needed, not list"):
        System.from_dict([])  # type: ignore[arg-type]


def test_repr_tells_what_it_is():
    shown = repr(lorenz())
    assert shown.splitlines() == [
        "System 'lorenz': 3 states, 2 parameters, 8 operations, autonomous",
        "  states      x=1, y=0.5, z=0",
        "  parameters  sigma=10, rho=28",
        "  constants   beta=2.66667",
        "  observables r",
    ]
    many = {f"x{i}": 0.0 for i in range(300)}
    large = System.from_equations("\n".join(f"d{n} = t*{n}" for n in many), states=many)
    assert len(repr(large)) < 300
    assert "... 292 more" in repr(large)
    assert "parameters  none" in repr(large)
    assert "depends on t" in repr(large)


def test_a_parameter_may_be_unused():
    assert lorenz(parameters={"sigma": 1.0, "rho": 2.0, "spare": 3.0}).parameters[-1] == "spare"


def ring(cells):
    lines = [
        f"dv{i} = v{i} - v{i}**3/3 - w{i} + I"
        f" + g*(v{(i - 1) % cells} - 2*v{i} + v{(i + 1) % cells})\ndw{i} = eps*(v{i} + a - b*w{i})"
        for i in range(cells)
    ]
    states = {f"{name}{i}": 0.1 * i for i in range(cells) for name in "vw"}
    parameters = {"I": 0.5, "g": 0.1, "eps": 0.08, "a": 0.7, "b": 0.8}
    return System.from_equations("\n".join(lines), states=states, parameters=parameters)


def test_large_models_are_written_as_loops():
    system = ring(100)
    source = system.lane_source()
    assert len(system.states) == 200
    # The two ends, and a loop over the cells between.
    assert source.count("\n    dy[") == 4
    assert "\n    for _i in range(98):\n" in source


def test_long_chains_of_auxiliaries():
    chain = [f"a{i} = 0.999*a{i + 1} + exp(-a{i + 1})" for i in range(2000)]
    system = System.from_equations("\n".join(["dx = a0", *chain, "a2000 = x"]), states={"x": 1.0})
    x = 0.5
    for _ in range(2000):
        x = 0.999 * x + np.exp(-x)
    assert system.numpy_rhs()(0.0, [0.5], ())[0] == x
    assert pickle.loads(pickle.dumps(system)) == system
