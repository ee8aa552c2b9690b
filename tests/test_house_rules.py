"""Rules of the house: sizes, imports, words; broken ones are named with file and line."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("cubie_kernels", "cubie_dask")
TOP_LEVEL = {"benchmarks", "cubie_dask", "cubie_kernels", "docs", "notebooks", "tests"}
TOP_LEVEL |= {"LICENSE", "README.md", "pyproject.toml"}
FILE_LINES = 400
FUNCTION_LINES = 60
KERNEL_LINES = 120
ARGUMENTS = 6
DASK_USERS = {
    "cubie_dask/analysis/lazy.py",
    "cubie_dask/analysis/statistics.py",
    "cubie_dask/clusters/cluster.py",
    "cubie_dask/execution/dask_executor.py",
    "cubie_dask/execution/launching.py",
}
LANE_SOURCE = ("cubie_kernels/kernels/", "cubie_kernels/lane/")
# A declaration of the buffer registry: all that there is to say of a buffer.
MORE_ARGUMENTS = {"cubie_kernels/buffers/registry.py register"}

# What a folder may import of its package, beside itself.
DIRECTIONS = {
    "cubie_kernels/buffers": "errors",
    "cubie_kernels/methods": "errors",
    "cubie_kernels/model": "errors lane",
    "cubie_kernels/lane": "errors",
    "cubie_kernels/kernels": "errors lane methods buffers status",
    "cubie_kernels/build": "errors lane methods buffers status kernels model version",
    "cubie_dask/clusters": "errors",
    "cubie_dask/grids": "errors stores",
    "cubie_dask/plans": "errors grids",
    "cubie_dask/stores": "errors grids plans recipe progress",
    "cubie_dask/progress": "errors plans stores execution",
    "cubie_dask/execution": "errors clusters grids plans recipe stores progress repairs",
    "cubie_dask/repairs": "errors grids plans recipe stores progress execution",
    "cubie_dask/analysis": "errors clusters grids plans recipe stores sweep",
}


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def called(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def lines_of_code(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count the lines of a function's body, without its docstring."""
    body = function.body[ast.get_docstring(function) is not None :]
    return (body[-1].end_lineno or body[-1].lineno) - body[0].lineno + 1 if body else 0


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """Name the modules that a file imports, also within functions."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.lineno, node.module
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


EVERYWHERE = sources(*PACKAGES, "tests", "benchmarks")


def test_there_is_something_to_check():
    assert len(sources(*PACKAGES)) > 50
    assert sum(1 for path in sources("cubie_kernels") for _ in functions(path)) > 300


def test_files_are_short():
    long = {}
    for path in EVERYWHERE:
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > FILE_LINES:
            long[called(path)] = lines
    assert not long


def test_functions_are_short():
    long = {}
    for path in EVERYWHERE:
        most = KERNEL_LINES if called(path).startswith("cubie_kernels/kernels/") else FUNCTION_LINES
        for function in functions(path):
            if lines_of_code(function) > most:
                long[f"{called(path)}:{function.lineno} {function.name}"] = lines_of_code(function)
    assert not long


def test_functions_take_few_plain_arguments():
    # Kernels and their interface to machine code take each buffer as an argument.
    many = {}
    for path in sources(*PACKAGES):
        if called(path).startswith(LANE_SOURCE):
            continue
        for function in functions(path):
            names = [a.arg for a in (*function.args.posonlyargs, *function.args.args)]
            count = len([name for name in names if name not in ("self", "cls")])
            if count > ARGUMENTS and f"{called(path)} {function.name}" not in MORE_ARGUMENTS:
                many[f"{called(path)}:{function.lineno} {function.name}"] = count
    assert not many


def test_no_property_hands_on_an_attribute_of_an_attribute():
    towers = []
    for path in sources(*PACKAGES):
        for function in functions(path):
            decorators = {ast.unparse(d).rpartition(".")[2] for d in function.decorator_list}
            last = function.body[-1]
            short = len(function.body) <= 1 + (ast.get_docstring(function) is not None)
            if not decorators & {"property", "cached_property"} or not short:
                continue
            if isinstance(last, ast.Return) and last.value is not None:
                text = ast.unparse(last.value)
                if re.fullmatch(r"self(\.\w+){2,}", text):
                    towers.append(f"{called(path)}:{function.lineno} {function.name}: {text}")
    assert not towers


def test_no_state_is_shared_through_globals():
    found = [
        f"{called(path)}:{node.lineno}"
        for path in sources(*PACKAGES)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Global)
    ]
    assert not found


@pytest.mark.parametrize("folder", DIRECTIONS)
def test_imports_go_one_way(folder):
    package, own = folder.split("/")
    legal = {own, *DIRECTIONS[folder].split()}
    wrong = []
    for path in sources(folder):
        for line, name in imported(path):
            parts = name.split(".")
            if parts[0] == package and len(parts) > 1 and parts[1] not in legal:
                wrong.append(f"{called(path)}:{line} imports {name}")
    assert not wrong


def test_dask_is_known_in_few_places():
    wrong = [
        f"{called(path)}:{line} imports {name}"
        for path in sources("cubie_kernels", "cubie_dask")
        for line, name in imported(path)
        if name.split(".")[0] in ("dask", "distributed")
        and called(path).startswith("cubie_kernels/")
    ]
    assert not wrong
    users = {
        called(path)
        for path in sources("cubie_dask")
        for _, name in imported(path)
        if name.split(".")[0] == "dask"
    }
    assert users <= DASK_USERS


@pytest.mark.parametrize(
    ("package", "heavy"),
    [
        ("cubie_kernels", "numba llvmlite scipy pandas xarray zarr dask distributed matplotlib"),
        ("cubie_dask", "numba llvmlite pandas xarray dask distributed matplotlib rich"),
        ("cubie_dask.cli", "numba llvmlite dask distributed matplotlib"),
    ],
)
def test_imports_are_light(package, heavy):
    code = f"import sys, {package}; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    loaded = set(done.stdout.split())
    assert package.split(".")[0] in loaded
    assert not loaded & set(heavy.split())


def test_nothing_prints_but_the_command_line():
    found = [
        f"{called(path)}:{node.lineno}"
        for path in sources(*PACKAGES)
        if not called(path).startswith("cubie_dask/cli/")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "print"
    ]
    assert not found


def test_text_of_models_is_never_executed():
    forbidden = {"eval", "sympify", "parse_expr", "__import__"}
    found = []
    for path in sources(*PACKAGES):
        names = (name for _, name in imported(path))
        if any(name.split(".")[0] in ("pickle", "cloudpickle", "marshal") for name in names):
            found.append(f"{called(path)} imports a pickle")
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in forbidden:
                found.append(f"{called(path)}:{node.lineno} {ast.unparse(node.func)}(…)")
            model = called(path).startswith("cubie_kernels/model/")
            if (
                isinstance(node, ast.Call)
                and ast.unparse(node.func) in ("exec", "compile")
                and model
            ):
                found.append(f"{called(path)}:{node.lineno} {ast.unparse(node.func)}(…)")
    assert not found


def test_public_names_exist_and_say_what_they_are():
    silent = []
    for path in sources(*PACKAGES):
        module = tree(path)
        assert ast.get_docstring(module) or not module.body, called(path)
        bodies = {
            node.name: node
            for node in module.body
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        }
        for name in declared(module):
            if name in bodies and not ast.get_docstring(bodies[name]):
                silent.append(f"{called(path)}:{bodies[name].lineno} {name}")
    assert not silent


def declared(module: ast.Module) -> list[str]:
    """Return the ``__all__`` of a module that spells it out."""
    for node in module.body:
        named_all = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        if named_all and isinstance(node.value, ast.List | ast.Tuple):
            return [ast.literal_eval(item) for item in node.value.elts]
    return []


def tracked() -> list[str]:
    """Return what git tracks or would; without git, what lies in the folders."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no git checkout")
    return [name for name in done.stdout.splitlines() if (ROOT / name).exists()]


def test_the_top_level_stays_short():
    top = {name.split("/")[0] for name in tracked()}
    assert {name for name in top if not name.startswith(".")} <= TOP_LEVEL


def test_no_registry_is_named():
    # Packages come from wherever pip is told to look.
    hosts = [".".join(parts) for parts in (("pypi", "org"), ("npmjs", "org"), ("anaconda", "org"))]
    hosts += ["python" + "hosted", "npmjs" + ".com", "--index" + "-url", "--extra-index" + "-url"]
    found = []
    for name in tracked():
        try:
            text = (ROOT / name).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{name}: {host}" for host in hosts if host in text]
    assert not found
