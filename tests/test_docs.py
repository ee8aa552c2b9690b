"""README and pages: their links lead somewhere, their tables and examples are those of the code."""

from __future__ import annotations

import contextlib
import doctest
import importlib
import importlib.util
import io
import re
from pathlib import Path

import pytest

import cubie_dask.errors
import cubie_kernels.errors
from cubie_kernels import Status

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")), ROOT / "benchmarks" / "README.md"]
DOCTESTED = ("cubie_kernels", "cubie_kernels.solve", "cubie_dask")


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def anchors(page: Path) -> set[str]:
    """Return what a page's headings are called in links."""
    found = set()
    fenced = False
    for line in page.read_text(encoding="utf-8").splitlines():
        fenced ^= line.startswith("```")
        if line.startswith("#") and not fenced:
            words = re.sub(r"[^\w\- ]", "", line.lstrip("# ").lower())
            found.add(words.replace(" ", "-"))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    dead = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith(("https:", "mailto:")):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(link)
    assert not dead


def test_the_index_lists_every_page():
    index = read("docs/index.md")
    pages = {page.name for page in ROOT.glob("docs/*.md")} - {"index.md"}
    assert not {name for name in pages if f"]({name})" not in index}


def test_statuses_are_those_of_the_code():
    wanted = [
        "| status | value | meaning | what to do |",
        "|---|---|---|---|",
        *(f"| `{s.name}` | {s.value} | {s.sentence} | {s.remedy} |" for s in Status),
    ]
    assert "\n\n" + "\n".join(wanted) + "\n\n" in read("docs/status.md")


@pytest.mark.parametrize("module", [cubie_kernels.errors, cubie_dask.errors])
def test_errors_are_those_of_the_code(module):
    tree = (module.__doc__ or "").partition("::\n\n")[2].partition("\n\n")[0]
    shown = "\n".join(line.removeprefix("    ") for line in tree.splitlines())
    assert f"```text\n{shown}\n```" in read("docs/errors.md")
    listed = set(re.findall(r"\b([A-Z]\w+(?:Error|Interrupted))\b", tree))
    assert {name for name in module.__all__ if name[0].isupper()} <= listed


@pytest.mark.parametrize("name", ["README.md", "docs/status.md"])
def test_examples_print_what_the_page_shows(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    printed = None
    for kind, body in re.findall(r"```(python|text)\n(.*?)```", read(name), re.DOTALL):
        if kind == "python":
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                exec(compile(body, name, "exec"), names)
            printed = out.getvalue()
        else:
            assert printed is not None
            assert printed.startswith(body)
            printed = None


def test_the_first_example_of_the_readme_is_short():
    first = re.search(r"```python\n(.*?)```", read("README.md"), re.DOTALL)
    assert first is not None
    assert len([line for line in first.group(1).splitlines() if line]) <= 22


def test_the_readme_has_two_commands_of_one_line():
    commands = re.findall(r"<!-- command (\d) -->\n```sh\n(.*?)```", read("README.md"), re.DOTALL)
    assert [number for number, _ in commands] == ["1", "2"]
    assert all(text.count("\n") == 1 for _, text in commands)
    sweep = re.search(r"notebooks/\S+\.toml", commands[0][1])
    assert sweep is not None
    assert (ROOT / sweep.group()).is_file()


@pytest.mark.parametrize("name", DOCTESTED)
def test_docstring_examples(name):
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted
    assert not found.failed


def test_figures_are_those_of_the_benchmarks():
    place = ROOT / "benchmarks" / "readme_figures.py"
    spec = importlib.util.spec_from_file_location("readme_figures", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    readme = read("README.md")
    for name, part in module.PARTS.items():
        results = read(f"benchmarks/results/{name}.md")
        # If not: python benchmarks/readme_figures.py
        assert module.with_figures(readme, results, part) == readme
        assert module.figures(results).count("\n| ") >= 6
