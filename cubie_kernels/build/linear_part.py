"""The linear solvers of an implicit step as parts of a kernel."""

from __future__ import annotations

from cubie_kernels.buffers import BufferRegistry
from cubie_kernels.build.config import KernelConfig
from cubie_kernels.build.direct_source import LINEAR as DIRECT
from cubie_kernels.build.direct_source import PAIR as DIRECT_PAIR
from cubie_kernels.build.direct_source import direct_source
from cubie_kernels.build.krylov_source import KrylovConfig, krylov_source
from cubie_kernels.build.part import ALWAYS, NEVER, Part, Text
from cubie_kernels.kernels.scratch import LINEAR, STEP

__all__ = ["linear_parts"]

# Operations of straight-line factors up to which these are copied to where they are used.
_MOST_COPIED = 400
# Rows of a matrix up to which a lane has memory to choose its pivots by value.
_MOST_DENSE = {"cpu": 100, "numpy": 100, "cuda": 24}


def linear_parts(
    config: KernelConfig, registry: BufferRegistry, pairs: int = 0
) -> tuple[Part, ...]:
    """Declare the scratch memory of a step's linear solvers and return these.

    The first is for real systems, scratch memory ``LINEAR``; behind it are those of as many complex
    ones, ``PAIR_0`` and so on.
    """
    solver = config.linear_solver
    if isinstance(solver, KrylovConfig):
        return _krylov(config, solver, registry, pairs)
    return _direct(config, solver, registry, pairs)


def _direct(
    config: KernelConfig, kind: str, registry: BufferRegistry, pairs: int
) -> tuple[Part, ...]:
    system = config.system
    made = direct_source(
        kind,
        len(system.states),
        system.jacobian_pattern,
        system.mass,
        precision=config.precision,
        pair=pairs > 0,
        most_dense=_MOST_DENSE[config.target],
    )

    def declare(name: str, buffer: str) -> str:
        registry.register(buffer, LINEAR, made.sizes[name], "local", precision=config.precision)
        return buffer

    registry.register_child(STEP, LINEAR)
    texts = (
        Text(system.derivative_source("jacobian"), len(system.jacobian_pattern)),
        *(_factor_text(factor, made.operations) for factor in made.factors),
        Text("\n\n\n".join(made.inlined), ALWAYS),
        Text("\n\n\n".join(made.called), NEVER),
    )
    real = Part(
        scratch={name: declare(name, name) for name in DIRECT},
        group="LINEAR",
        texts=texts,
        tables=made.tables,
    )
    # All complex systems have one Jacobian, but each its own factors.
    kept = {"lin_jacobian": "lin_jacobian"}
    own = [name for name in DIRECT_PAIR if name not in kept]
    return (
        real,
        *(
            Part(
                scratch=kept | {f"{name}_{i}": declare(name, f"{name}_{i}") for name in own},
                group=f"PAIR_{i}",
            )
            for i in range(pairs)
        ),
    )


def _krylov(
    config: KernelConfig, solver: KrylovConfig, registry: BufferRegistry, pairs: int
) -> tuple[Part, ...]:
    system = config.system
    made = krylov_source(
        system, solver, registry, LINEAR, config.precision, pairs, records=config.records
    )
    registry.register_child(STEP, LINEAR)
    texts = (
        Text(system.derivative_source(*made.needs), 2 * system.operations),
        Text(made.text, NEVER),
    )
    groups = [("LINEAR", made.linear), *((f"PAIR_{i}", uses) for i, uses in enumerate(made.pairs))]
    return tuple(
        Part(
            scratch={use.name: use.name for use in uses},
            group=group,
            texts=() if i else texts,
        )
        for i, (group, uses) in enumerate(groups)
    )


def _factor_text(functions: str, operations: int) -> Text:
    """Return a function of straight-line factors; one call of the factorisation is copied."""
    straight = operations > 0 and operations <= _MOST_COPIED
    return Text(functions, ALWAYS if straight else NEVER)
