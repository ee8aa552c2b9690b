"""The list of methods, the look-up by name, and what tableaus say of themselves."""

import dataclasses
import pickle
from pathlib import Path

import pytest
from method_list import ERK, FAMILIES, METHODS, NAMES, TABLEAUS

from cubie_kernels.errors import InputError, TableauError
from cubie_kernels.methods import DenseOutput, MethodInfo, Tableau, get_method, methods

DOCS = Path(__file__).parents[2] / "docs" / "methods.md"


def test_every_method_is_expected():
    listed = {
        family: [info.name for info in methods() if info.family == family] for family in FAMILIES
    }
    assert sum(map(len, listed.values())) == len(methods())
    for family, names in listed.items():
        assert names == list(FAMILIES[family])
    assert set(TABLEAUS) == set(METHODS)


@pytest.mark.parametrize("name", METHODS)
def test_facts(name):
    tableau = TABLEAUS[name]
    order, embedded, power, dense, stages, fsal = METHODS[name]
    assert (tableau.order, tableau.embedded_order, tableau.error_power) == (order, embedded, power)
    assert dense == (min(3, order) if tableau.dense is None else tableau.dense.order)
    assert (tableau.stages, tableau.fsal) == (stages, fsal)
    assert name in FAMILIES[tableau.family]
    assert tableau.implicit == (name not in ERK)
    assert len(tableau.reference) > 10


@pytest.mark.parametrize("info", methods(), ids=lambda info: info.name)
def test_what_is_listed_are_facts(info):
    tableau = get_method(info.name)
    assert tableau == TABLEAUS[info.name]
    for fact in ("family", "order", "embedded_order", "stages", "fsal", "aliases", "reference"):
        assert getattr(info, fact) == getattr(tableau, fact)
    assert info.dense_order == METHODS[info.name].dense
    assert (tableau.dense is not None) == (info.dense == "own")


@pytest.mark.parametrize("name", METHODS)
def test_values(name):
    """A tableau is a value: hashable, equal to its copies, and travels between processes."""
    tableau = TABLEAUS[name]
    again = pickle.loads(pickle.dumps(tableau))
    assert again == tableau
    assert hash(again) == hash(tableau)
    with pytest.raises(dataclasses.FrozenInstanceError):
        tableau.order = 17  # type: ignore[misc]


@pytest.mark.parametrize("info", methods(), ids=lambda info: info.name)
def test_every_name_is_found(info):
    for name in (info.name, *info.aliases):
        assert get_method(name).name == info.name
        assert get_method(name.upper().replace("-", "_")).name == info.name


def test_no_name_is_taken_twice():
    names = [name for known in TABLEAUS.values() for name in (known.name, *known.aliases)]
    keys = ["".join(filter(str.isalnum, name.lower())) for name in names]
    assert len(set(keys)) == len(keys)


def test_names_as_written_in_papers():
    assert get_method("Verner 7(6)").name == "vern7"
    assert get_method("RKF45").name == "fehlberg45"
    assert get_method("Bogacki-Shampine 3(2)").name == "bs3"


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [("dopry5", "'dopri5'"), ("Tsit-6", "'tsit5'"), ("CASH_CARP", "'cash-karp'")],
)
def test_unknown_name(wrong, hint):
    with pytest.raises(InputError) as caught:
        get_method(wrong)
    assert repr(wrong) in str(caught.value)
    assert f"Did you mean {hint}" in str(caught.value)
    for name in NAMES:
        assert name in str(caught.value)


def test_name_that_is_no_text():
    with pytest.raises(InputError, match=r"no method 45\."):
        get_method(45)  # type: ignore[arg-type]


def test_list_prints_as_a_table():
    lines = repr(methods()).splitlines()
    assert len(lines) == 1 + len(NAMES)
    assert lines[0].split()[:3] == ["name", "family", "order"]
    assert all(isinstance(info, MethodInfo) for info in methods())
    assert methods() is not methods()


def test_docs_show_this_table():
    """The table in docs/methods.md is ``methods().to_markdown()``; replace it when this fails."""
    assert f"\n{methods().to_markdown()}\n" in DOCS.read_text(encoding="utf-8")


RK4 = get_method("rk4")
BS3 = get_method("bs3")
VERN7 = get_method("vern7")


def changed(row, index, value):
    return (*row[:index], value, *row[index + 1 :])


@pytest.mark.parametrize(
    ("tableau", "fault", "parts"),
    [
        (
            RK4,
            {"a": changed(RK4.a, 2, (0.0, 0.6, 0.0, 0.0))},
            ["'rk4'", "row a[2] sums to 0.6", "c[2] is 0.5", "residual 0.1"],
        ),
        (RK4, {"b": (1 / 6, 1 / 3, 1 / 3, 1 / 7)}, ["row b times c**0", "residual -0.0238"]),
        (RK4, {"order": 5}, ["'rk4'", "row b times c**4", "the integral 1/5", "residual 0.00833"]),
        (BS3, {"error": (-5 / 72, 1 / 12, 1 / 9, -1 / 9)}, ["'bs3'", "row b - error"]),
        (BS3, {"embedded_order": 3}, ["row b - error times c**2"]),
        (BS3, {"c": (0.0, 0.5, 0.75)}, ["c has 3 entries, but 4 are wanted"]),
        (BS3, {"a": changed(BS3.a, 1, (0.5,))}, ["row a[1] has 1 entries, but 4 are wanted"]),
        (BS3, {"b": (float("nan"), 0, 0, 1)}, ["entry 0 of b is nan", "finite"]),
        (BS3, {"error": None}, ["error is None and embedded_order is 2", "both or neither"]),
        (
            BS3,
            {"dense": DenseOutput(3, BS3.dense.nested[:3])},
            ["list of rows dense.nested has 3 entries, but 4 are wanted"],
        ),
        (
            BS3,
            {"dense": DenseOutput(3, changed(BS3.dense.nested, 3, (0.1, 0.0, -1.0)))},
            ["row dense.nested[3] at theta = 1 comes to 0.1", "b[3] is 0.0"],
        ),
        (
            BS3,
            {"dense": DenseOutput(3, changed(BS3.dense.nested, 3, (0.0, 0.0, -2.0)))},
            ["column 2 of dense.nested sums to", "residual -1"],
        ),
        (
            VERN7,
            {"dense": dataclasses.replace(VERN7.dense, extra_c=(1.0, 0.7, 0.1, 0.2, 0.5, 0.8))},
            ["'vern7'", "row dense.extra_a[1] sums to 0.67166", "dense.extra_c[1] is 0.7"],
        ),
    ],
)
def test_wrong_coefficients_are_named(tableau, fault, parts):
    with pytest.raises(TableauError) as caught:
        dataclasses.replace(tableau, **fault)
    for part in parts:
        assert part in str(caught.value)


def test_derived_facts_follow_the_coefficients():
    implicit_midpoint = Tableau(
        name="implicit-midpoint",
        family="firk",
        order=2,
        a=((0.5,),),
        b=(1.0,),
        c=(0.5,),
        reference="a method of one implicit stage",
    )
    assert implicit_midpoint.implicit
    assert not implicit_midpoint.fsal
    late = dataclasses.replace(BS3, b=(*BS3.a[3][:3], 0.0), dense=None)
    assert late.fsal
    shifted = dataclasses.replace(
        BS3, b=(7 / 24, 1 / 4, 1 / 3, 1 / 8), order=2, error=None, embedded_order=None, dense=None
    )
    assert not shifted.fsal
