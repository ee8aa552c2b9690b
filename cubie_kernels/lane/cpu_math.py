"""Mathematical functions of the lane language for the CPU.

Every function can be computed in three ways: *inline*, as arithmetic between the operations around
it; *libmvec*, by a call of glibc's vector library; *portable*, by a call of the C library for each
lane. `namespace` gives the functions of one variant; ``auto`` is the table of the fastest ways that
are accurate to a few units in the last place (`docs/vector-maths.md` has the figures).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from cubie_kernels.errors import InputError, TargetError, nearest
from cubie_kernels.lane import (
    cpu_math_exp,
    cpu_math_log,
    cpu_math_misc,
    cpu_math_trig,
)
from cubie_kernels.lane.cpu_math_emit import Machine, Vec
from cubie_kernels.lane.cpu_types import Real, is_real, lift, the_real
from cubie_kernels.lane.symbols import has_symbol, host_features, load_symbols

__all__ = ["FUNCTIONS", "VARIANTS", "namespace", "paths"]

VARIANTS = ("auto", "inline", "libmvec", "portable")

_MODULES = {
    cpu_math_exp: "exp exp2 expm1 sinh cosh tanh erf",
    cpu_math_log: "log log1p log2 log10 asinh acosh atanh pow",
    cpu_math_trig: "sin cos tan asin acos atan atan2",
    cpu_math_misc: "cbrt hypot sign ceil trunc rint fmod",
}
_BODIES = {
    name: getattr(module, name) for module, names in _MODULES.items() for name in names.split()
}
FUNCTIONS: Mapping[str, int] = {
    name: 2 if name in ("pow", "atan2", "hypot", "fmod") else 1 for name in _BODIES
}
# One or two instructions: the same in every variant.
_ALWAYS_INLINE = frozenset({"sign", "ceil", "trunc", "rint"})
_NOT_IN_LIBMVEC = _ALWAYS_INLINE | {"fmod"}


def paths(variant: str = "auto") -> dict[str, str]:
    """Return the way in which each function is computed on this machine.

    Parameters
    ----------
    variant : str
        One of `VARIANTS`. ``auto`` takes the inlined functions where the processor has fused
        multiply-add, else the C library's.

    Returns
    -------
    dict of str to str
        ``inline``, ``libmvec.<symbol prefix>`` or ``portable`` by function. Kernels of equal source
        and equal paths are equal, so this belongs to the key of a cached kernel.

    Raises
    ------
    InputError
        The variant is unknown.
    TargetError
        ``libmvec`` was asked for on a machine without it.
    """
    if variant not in VARIANTS:
        raise InputError(
            f"maths={variant!r} is not a variant; use one of {', '.join(VARIANTS)}."
            f"{nearest(variant, VARIANTS)}"
        )
    has_fma = "fma" in host_features() or "neon" in host_features()
    usual = variant if variant != "auto" else ("inline" if has_fma else "portable")
    if variant == "libmvec":
        usual = f"libmvec.{_libmvec_prefix()}"
    others = "inline" if has_fma else "portable"
    chosen = {}
    for name in FUNCTIONS:
        if name in _ALWAYS_INLINE:
            chosen[name] = "inline"
        elif variant == "libmvec" and name in _NOT_IN_LIBMVEC:
            chosen[name] = others
        else:
            chosen[name] = usual
    return chosen


@functools.cache
def namespace(variant: str = "auto") -> Mapping[str, Callable]:
    """Return the functions of a variant by name, to be used in kernels of the CPU target.

    Parameters
    ----------
    variant : str
        One of `VARIANTS`; see `paths`.

    Returns
    -------
    mapping of str to callable
        Numba intrinsics over reals of any precision and width. Scalars are lifted to the lanes of
        the other argument; of scalars alone the result is a float64.

    Raises
    ------
    InputError, TargetError
        As `paths`.
    """
    load_symbols()
    return {name: _function(name, path) for name, path in paths(variant).items()}


def _libmvec_prefix() -> str:
    """Return the start of the names of glibc's widest vector functions on this machine."""
    features = host_features()
    for feature, prefix in (("avx512f", "_ZGVe"), ("avx2", "_ZGVd")):
        if feature in features and has_symbol(_libmvec_symbol(prefix, "tanh", 64)):
            return prefix
    raise TargetError(
        "maths='libmvec' needs glibc 2.35 or later on an x86-64 processor with AVX2 or AVX-512; "
        "this machine lacks it. Use maths='auto' (or 'inline', 'portable')."
    )


def _libmvec_width(prefix: str, bits: int) -> int:
    return (512 if prefix == "_ZGVe" else 256) // bits


def _libmvec_symbol(prefix: str, name: str, bits: int) -> str:
    suffix = "" if bits == 64 else "f"
    arguments = "v" * FUNCTIONS[name]
    return f"{prefix}N{_libmvec_width(prefix, bits)}{arguments}_{name}{suffix}"


def _emit_libmvec(machine: Machine, name: str, prefix: str, args: list[Vec]) -> Vec:
    """Call glibc's function for one register after the other."""
    width = _libmvec_width(prefix, machine.bits)
    register = Machine(machine.builder, machine.bits, width)
    symbol = _libmvec_symbol(prefix, name, machine.bits)

    def apply(*values: ir.Value) -> ir.Value:
        return register.call(symbol, *[Vec(register, value) for value in values]).value

    return machine.by_registers(width, apply, *args)


def _emit_body(machine: Machine, name: str, path: str, args: list[Vec]) -> Vec:
    if path == "inline":
        return _BODIES[name](machine, *args)
    if path == "portable":
        return machine.each_lane(name, *args)
    return _emit_libmvec(machine, name, path.removeprefix("libmvec."), args)


def _emit_function(module: ir.Module, name: str, path: str, real: Real) -> ir.Function:
    """Return the module's own copy of a function, to be inlined into its callers."""
    symbol = f"lane.{name}.{path}.{real.tag}"
    if symbol in module.globals:
        return module.globals[symbol]
    signature = ir.FunctionType(real.vector, [real.vector] * FUNCTIONS[name])
    function = ir.Function(module, signature, symbol)
    function.linkage = "linkonce_odr"
    function.attributes.add("alwaysinline")
    machine = Machine(ir.IRBuilder(function.append_basic_block()), real.bits, real.w)
    result = _emit_body(machine, name, path, [Vec(machine, value) for value in function.args])
    machine.builder.ret(result.value)
    return function


def _emit_call(context, builder, sig, args, name: str, path: str):
    real = the_real(sig.args) or Real(64, 1)
    function = _emit_function(builder.module, name, path, real)
    values = [
        lift(context, builder, kind, value, real)
        for kind, value in zip(sig.args, args, strict=True)
    ]
    result = builder.call(function, values)
    if isinstance(sig.return_type, Real):
        return result
    return builder.extract_element(result, ir.Constant(ir.IntType(32), 0))


def _result_type(kinds: tuple[types.Type, ...]) -> types.Type | None:
    """Return the type of a function of such arguments, or None if they do not fit together."""
    real = the_real(kinds)
    if not all(is_real(kind, real) for kind in kinds):
        return None
    return types.float64 if real is None else real


@functools.cache
def _function(name: str, path: str) -> Callable:
    def emit(context, builder, sig, args):
        return _emit_call(context, builder, sig, args, name, path)

    def unary(typing, a):
        result = _result_type((a,))
        return None if result is None else (result(a), emit)

    def binary(typing, a, b):
        result = _result_type((a, b))
        return None if result is None else (result(a, b), emit)

    function = unary if FUNCTIONS[name] == 1 else binary
    function.__name__ = function.__qualname__ = name
    function.__doc__ = _BODIES[name].__doc__
    return intrinsic(function)
