"""Building a kernel: a pure function of its configuration, remembered by value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from cubie_kernels.build.config import PRECISION_BITS, KernelConfig
from cubie_kernels.build.keys import KernelKey, versions
from cubie_kernels.build.module import kernel_module, module_text
from cubie_kernels.build.store import Entry, KernelStore
from cubie_kernels.errors import TargetError
from cubie_kernels.lane.abi import ENTRY
from cubie_kernels.methods import get_method

__all__ = ["Kernel", "build_kernel"]


@dataclass(frozen=True)
class Kernel:
    """A kernel that is ready to run.

    Attributes
    ----------
    config : KernelConfig
        What it was made from.
    text : str
        Its module.
    width : int
        Lanes of a register.
    arena : int
        Reals of scratch memory for each lane, beside what it keeps itself.
    call : callable
        The compiled entry. One that records takes, by name, the functions that it calls for that.
    """

    config: KernelConfig
    text: str
    width: int
    arena: int
    call: Callable[..., None]


@lru_cache(maxsize=64)
def build_kernel(config: KernelConfig) -> Kernel:
    """Return the kernel of a configuration: from memory, from the disk cache, or compiled now.

    Raises
    ------
    BuildError
        If the kernel does not compile.
    TargetError
        If the target has no compiler here.
    """
    if config.target == "cpu":
        return _build_cpu(config)
    if config.target == "numpy":
        return _build_numpy(config)
    raise TargetError(
        f"Kernels cannot be launched on the target {config.target!r} yet. "
        "Use target='cpu' or target='numpy'."
    )


def _build_cpu(config: KernelConfig) -> Kernel:
    from cubie_kernels.build import cpu
    from cubie_kernels.lane.symbols import load_symbols

    bits = PRECISION_BITS[config.precision]
    states, implicit = len(config.system.states), get_method(config.method).implicit
    width = config.width or cpu.default_width(bits, states, implicit)
    module = kernel_module(config)
    head = (
        "from math import nan\n\n"
        "from cubie_kernels.lane.cpu import lanes\n"
        "from cubie_kernels.lane.cpu_math import namespace\n\n"
        f"globals().update(lanes(bits={bits}, width={width}, shared={module.shared}))\n"
        f"globals().update(namespace({config.maths!r}))"
    )
    text = module_text(config, head, module.body)
    host = cpu.host()
    key = KernelKey(
        text=text,
        target="cpu",
        bits=bits,
        width=width,
        options=(*cpu.OPTIONS, *load_symbols()),
        triple=host.triple,
        cpu=host.cpu,
        features=host.features,
        versions=versions("llvmlite", "numba"),
    )
    store = KernelStore()
    entry = store.load(key.digest)
    if entry is None:
        path = store.save_module(key.digest, text)
        code, symbol = cpu.compile_object(path, f"kernel_{key.digest}", bits, width)
        entry = Entry(code, {"symbol": symbol})
        store.save(key.digest, entry)
    loaded = cpu.load_object(entry.code, entry.facts["symbol"], len(ENTRY))
    return Kernel(config, text, width, module.arena, loaded.call)


def _build_numpy(config: KernelConfig) -> Kernel:
    import numpy as np

    module = kernel_module(config)
    head = (
        "from math import nan\n\n"
        "from cubie_kernels.lane.reference import lanes\n"
        "from cubie_kernels.lane.reference_math import namespace\n\n"
        f"globals().update(lanes({PRECISION_BITS[config.precision]}, {module.shared}, WIDTH))\n"
        "globals().update(namespace())"
    )
    text = module_text(config, head, module.body)
    code = compile(text, f"<{config.system.name}>", "exec")

    def call(control: Any, *arrays: Any, **calls: Callable[..., None]) -> None:
        names: dict[str, Any] = {"WIDTH": arrays[-1].shape[1], **calls}
        exec(code, names)
        with np.errstate(all="ignore"):
            names["integrate"](control, *arrays)

    return Kernel(config, text, 0, module.arena, call)
