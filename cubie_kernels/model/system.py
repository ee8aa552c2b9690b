"""A model: equations, names and default values."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from numpy.typing import ArrayLike, NDArray

from cubie_kernels.errors import EquationError, InputError, nearest
from cubie_kernels.model.derivatives import Derived, Jacobian, jacobian, jvp, time_derivative
from cubie_kernels.model.equations import Declared, Equations, canonical, read
from cubie_kernels.model.graph import LEAVES, evaluate, reachable
from cubie_kernels.model.index import check_pattern, check_rows
from cubie_kernels.model.mass import (
    Entries,
    Given,
    MassLike,
    completed,
    described,
    given_mass,
    null_spaces,
    pairs,
    triples,
)
from cubie_kernels.model.names import declared, disjoint, listed
from cubie_kernels.model.source import Function, lane_function

__all__ = ["System"]

_MOST_SHOWN = 8
_DERIVATIVES = ("jacobian", "time_derivative", "jvp")


@dataclass(frozen=True, eq=False, repr=False)
class System:
    """A system of differential equations ``M y' = f(t, y, p)`` with named states and parameters.

    Made by :meth:`from_equations` or :meth:`from_dict`. A value: frozen, hashable, picklable;
    two systems are equal if their names and their content are.

    Attributes
    ----------
    name : str
        A label.
    text : str
        The equations as given.
    states, parameters, observables : tuple of str
        Names, in the order of the arrays.
    state_defaults, parameter_defaults : tuple of float
        Start values and parameter values that a run has unless it is given others.
    constants : tuple of (str, float)
        Values that are built into the code.
    mass_given : tuple of (int, int, float)
        Entries of the mass matrix that were given.
    mass : mapping of (int, int) to float, or None
        Non-zero entries of the mass matrix by row and column; None for the identity.
    equations : Equations
        The graph of the equations, for generating code and derivatives.
    content_hash : str
        SHA-256 (hex) of all that matters: equations (not their blanks and comments), names,
        defaults, constants, observables. The label doesn't.
    """

    name: str
    text: str
    states: tuple[str, ...]
    state_defaults: tuple[float, ...]
    parameters: tuple[str, ...] = ()
    parameter_defaults: tuple[float, ...] = ()
    constants: tuple[tuple[str, float], ...] = ()
    observables: tuple[str, ...] = ()
    mass_given: Given = ()
    mass: Entries | None = field(init=False)
    equations: Equations = field(init=False)
    content_hash: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "equations", read(self.text, self._declared()))
        check_rows(self.text, self._declared(), self.equations.algebraic, self.mass_given)
        entries = completed(self.mass_given, len(self.states), self.equations.algebraic)
        object.__setattr__(self, "mass", entries)
        spaces = null_spaces(len(self.states), entries)
        if spaces.left:
            check_pattern(self.text, self._declared(), spaces, self.jacobian.entries)
        content = self.to_dict() | {"text": canonical(self.text)}
        del content["name"]
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        object.__setattr__(self, "content_hash", digest)

    @classmethod
    def from_equations(
        cls,
        text: str,
        *,
        states: Mapping[str, float],
        parameters: Mapping[str, float] | None = None,
        constants: Mapping[str, float] | None = None,
        observables: Sequence[str] = (),
        mass: MassLike | None = None,
        name: str = "model",
    ) -> System:
        """Read a model from its equations.

        Parameters
        ----------
        text : str
            One equation a line, in any order: ``dx = ...``, ``dx/dt = ...`` or ``d(x)/dt = ...``
            for each state, and ``name = ...`` for auxiliaries. States without a derivative are
            algebraic; there are as many lines ``0 = ...``. See ``docs/models.md``.
        states : mapping of str to float
            Start values.
        parameters : mapping of str to float, optional
            Values that a run may change.
        constants : mapping of str to float, optional
            Values that are fixed in the generated code.
        observables : sequence of str, optional
            Auxiliaries to give out with the states.
        mass : mapping or array_like, shape (states, states), optional
            A constant matrix ``M`` that may be singular: ``dx = ...`` is then the row of ``x`` in
            ``M y' = ...``. As a mapping ``{"z": 0.0}`` is an entry of the diagonal,
            ``{("x", "y"): 2.0}`` one in the row of ``x`` and the column of ``y``; the rest is the
            identity. See ``docs/mass-matrix.md``.
        name : str, default "model"
            A label.

        Raises
        ------
        EquationError
            For any fault in names, values or text; with the line, a caret and the nearest legal
            name where there is one. Also if the algebraic equations can't determine the algebraic
            states, whatever the values: if the index is higher than 1.
        """
        if not isinstance(name, str) or not name.strip() or not name.isprintable():
            raise EquationError(f"The name of a model must be a printable text, not {name!r}.")
        own = declared("state", states)
        if not own:
            raise EquationError("A model needs at least one state: states={'x': 1.0}.")
        free = declared("parameter", {} if parameters is None else parameters)
        fixed = declared("constant", {} if constants is None else constants)
        shown = listed("observable", observables)
        groups = {"state": own, "parameter": free, "constant": fixed}
        disjoint({what: [n for n, _ in rows] for what, rows in groups.items()})
        return cls(
            name,
            text,
            states=tuple(n for n, _ in own),
            state_defaults=tuple(v for _, v in own),
            parameters=tuple(n for n, _ in free),
            parameter_defaults=tuple(v for _, v in free),
            constants=fixed,
            observables=shown,
            mass_given=() if mass is None else given_mass(mass, tuple(n for n, _ in own)),
        )

    @property
    def autonomous(self) -> bool:
        """Whether the derivatives don't use ``t``."""
        nodes = self.equations.nodes
        return all(nodes[at].op != "time" for at in reachable(nodes, self.equations.derivatives))

    @property
    def operations(self) -> int:
        """Number of arithmetic operations and function calls in one evaluation of ``rhs``."""
        nodes = self.equations.nodes
        return sum(
            nodes[at].op not in LEAVES for at in reachable(nodes, self.equations.derivatives)
        )

    def lane_source(self) -> str:
        """Return the model as functions in the lane language.

        ``rhs(t, y, p, dy)`` writes the derivatives; ``observe(t, y, p, o)``, which is there if the
        model has observables, writes those. Names are the model's own, with ``_`` behind them
        where they are names of arguments (``y_``).
        Loads stand just before their first use, after stores to ``dy`` too: ``dy`` (``o``) must
        not overlap ``y`` or ``p``.
        """
        names = self._declared()
        functions = [Function("rhs", "dy", self.equations.derivatives)]
        if self.observables:
            functions.append(Function("observe", "o", self.equations.observables))
        return "\n\n".join(lane_function(self.equations, names, f) for f in functions)

    @functools.cached_property
    def jacobian(self) -> Jacobian:
        """The derivatives of all right sides by all states, as a graph."""
        return jacobian(self.equations)

    @property
    def jacobian_pattern(self) -> tuple[tuple[int, int], ...]:
        """Row and column of each Jacobian entry that isn't 0 everywhere, by row, then column."""
        return tuple(self.jacobian.entries)

    def derivative_source(self, *wanted: str) -> str:
        """Return derivatives of the model as functions in the lane language.

        Parameters
        ----------
        *wanted : str
            Any of ``jacobian``, ``time_derivative`` and ``jvp``; all three if none is named.

        Returns
        -------
        str
            ``jacobian(t, y, p, j)`` writes df/dy: ``j[k]`` is the entry at
            ``jacobian_pattern[k]``. ``time_derivative(t, y, p, d)`` writes df/dt at constant
            ``y``. ``jvp(t, y, p, v, d)`` writes df/dy times ``v``. Outputs must not overlap
            inputs.

        Raises
        ------
        InputError
            For any other name.
        """
        texts = []
        for name in wanted or _DERIVATIVES:
            if name not in _DERIVATIVES:
                raise InputError(
                    f"No derivative is called {name!r}.{nearest(name, _DERIVATIVES)} "
                    f"Legal: {', '.join(_DERIVATIVES)}."
                )
            derived = self._derived(name)
            target = "j" if name == "jacobian" else "d"
            arguments = ("t", "y", "p", "v") if name == "jvp" else ("t", "y", "p")
            graph = replace(self.equations, nodes=derived.nodes)
            function = Function(name, target, derived.outputs, arguments)
            texts.append(lane_function(graph, self._declared(), function))
        return "\n\n".join(texts)

    def _derived(self, name: str) -> Derived:
        if name == "jacobian":
            return Derived(self.jacobian.nodes, tuple(self.jacobian.entries.values()))
        return (time_derivative if name == "time_derivative" else jvp)(self.equations)

    def numpy_jacobian(self) -> Callable[[ArrayLike, ArrayLike, ArrayLike], NDArray[Any]]:
        """Return ``f(t, y, p)`` that computes the Jacobian as :meth:`numpy_rhs` computes ``f``.

        The result has the shape (states, states) or (states, states, lanes), zeros included.
        """
        return self.jacobian.dense

    def numpy_rhs(self) -> Callable[[ArrayLike, ArrayLike, ArrayLike], NDArray[Any]]:
        """Return ``f(t, y, p)`` that computes the derivatives with NumPy, in double precision.

        ``y`` has the shape (states,) or (states, lanes), ``p`` (parameters,) or (parameters,
        lanes); the result (states,) or (states, lanes). Slow; meant for checks against other
        solvers. It walks the graph of the equations: no code is generated.
        """
        return functools.partial(evaluate, self.equations.nodes, self.equations.derivatives)

    def numpy_observe(self) -> Callable[[ArrayLike, ArrayLike, ArrayLike], NDArray[Any]]:
        """Return ``f(t, y, p)`` that computes the observables as :meth:`numpy_rhs` does."""
        return functools.partial(evaluate, self.equations.nodes, self.equations.observables)

    def to_dict(self) -> dict[str, Any]:
        """Return what :meth:`from_dict` needs, of JSON's types only; orders survive sorted keys."""
        return {
            "name": self.name,
            "text": self.text,
            "states": [list(row) for row in zip(self.states, self.state_defaults, strict=True)],
            "parameters": [
                list(row) for row in zip(self.parameters, self.parameter_defaults, strict=True)
            ],
            "constants": [list(row) for row in self.constants],
            "observables": list(self.observables),
        } | ({} if self.mass is None else {"mass": triples(self.mass, self.states)})

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> System:
        """Make a system from :meth:`to_dict`'s result, through the same checks as any text.

        Raises
        ------
        EquationError
            If keys are missing or unknown, or for any fault in the model.
        """
        needed = ("name", "text", "states", "parameters", "constants", "observables")
        keys = (*needed, "mass")
        if not isinstance(content, Mapping):
            raise EquationError(f"A mapping is needed, not {type(content).__name__}.")
        for key in content:
            if key not in keys:
                raise EquationError(
                    f"Unknown key {key!r}.{nearest(str(key), keys)} Legal: {', '.join(keys)}."
                )
        missing = [key for key in needed if key not in content]
        if missing:
            raise EquationError(f"Keys are missing: {', '.join(missing)}.")
        return cls.from_equations(
            content["text"],
            states=_pairs("states", content["states"]),
            parameters=_pairs("parameters", content["parameters"]),
            constants=_pairs("constants", content["constants"]),
            observables=content["observables"],
            mass=pairs(content["mass"]) if "mass" in content else None,
            name=content["name"],
        )

    def __getstate__(self) -> dict[str, Any]:
        # Derivatives are derived again where they are needed: they are large, the text isn't.
        return {name: value for name, value in self.__dict__.items() if name != "jacobian"}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, System):
            return NotImplemented
        return (self.name, self.content_hash) == (other.name, other.content_hash)

    def __hash__(self) -> int:
        return hash((self.name, self.content_hash))

    def __repr__(self) -> str:
        def row(what: str, names: Sequence[str], values: Sequence[float]) -> str:
            shown = [f"{n}={v:g}" for n, v in zip(names, values, strict=True)][:_MOST_SHOWN]
            more = f", ... {len(names) - _MOST_SHOWN} more" if len(names) > _MOST_SHOWN else ""
            return f"  {what:<12}{', '.join(shown) + more if names else 'none'}"

        shown = [*self.observables[:_MOST_SHOWN], *["..."][: len(self.observables) > _MOST_SHOWN]]
        time = "autonomous" if self.autonomous else "depends on t"
        lines = [
            f"System {self.name!r}: {len(self.states)} states, {len(self.parameters)} parameters, "
            f"{self.operations} operations, {time}",
            row("states", self.states, self.state_defaults),
            row("parameters", self.parameters, self.parameter_defaults),
        ]
        if self.mass is not None:
            lines.append(f"  {'mass':<12}{described(self.mass, self.states)}")
        if self.constants:
            names, values = zip(*self.constants, strict=True)
            lines.append(row("constants", names, values))
        if self.observables:
            lines.append(f"  {'observables':<12}{', '.join(shown)}")
        return "\n".join(lines)

    def _declared(self) -> Declared:
        implicit = {i for i, j, value in self.mass_given if value != float(i == j)}
        names = tuple(name for i, name in enumerate(self.states) if i in implicit)
        return Declared(self.states, self.parameters, self.constants, self.observables, names)


def _pairs(what: str, rows: Any) -> dict[str, Any]:
    """Return rows of (name, value) as a mapping."""
    if isinstance(rows, Mapping):
        return dict(rows)
    try:
        pairs = [(name, value) for name, value in rows]
    except (TypeError, ValueError):
        raise EquationError(f"{what} must be pairs of a name and a value, not {rows!r}.") from None
    if len({str(name) for name, _ in pairs}) != len(pairs):
        raise EquationError(f"{what} has a name twice: {[name for name, _ in pairs]}.")
    return dict(pairs)
