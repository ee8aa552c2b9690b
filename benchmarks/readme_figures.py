"""Put the figures of `results/*.md` into the README; run it after the benchmarks."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PARTS = {"ensembles": "figures", "stiff": "stiff figures", "sweeps": "sweep figures"}
"""By file of results, what the lines around its part of the README call it."""


def figures(results: str) -> str:
    """Return the README's part on figures: where they were taken, and those that have an aim."""
    facts = dict(re.findall(r"^- (processor|date): (.*)$", results, re.MULTILINE))
    versions = re.search(r"^- versions: cubie (.*?\))", results, re.MULTILINE)
    cubie = f"cubie {versions.group(1)}, " if versions else ""
    lines = [f"Measured on {facts['processor']}; {cubie}{facts['date']}."]
    if "other programs were running" in results:
        lines.append("Other programs were running, so that times are unsure.")
    lines += ["", "| figure | aim | measured | |", "|---|---|---|---|"]
    section = results.partition("## Figures and aims")[2].partition("\n## ")[0]
    for row in re.findall(r"^\| (.*) \|$", section, re.MULTILINE):
        figure, aim, best, *_, verdict = (cell.strip() for cell in row.split("|"))
        if verdict.startswith(("pass", "miss")):
            lines.append(f"| {figure} | {aim} | {best} | {verdict} |")
    return "\n".join(lines) + "\n"


def with_figures(readme: str, results: str, part: str) -> str:
    """Return the text of the README with one part of its figures renewed."""
    first = f"<!-- {part}: python benchmarks/readme_figures.py -->\n"
    last = f"<!-- end of {part} -->\n"
    before, begin, rest = readme.partition(first)
    _, end, after = rest.partition(last)
    if not begin or not end:
        raise SystemExit(f"README.md lacks the lines {first!r} and {last!r}.")
    return before + begin + "\n" + figures(results) + "\n" + end + after


def main() -> None:
    page = ROOT / "README.md"
    text = page.read_text(encoding="utf-8")
    for name, part in PARTS.items():
        results = (RESULTS / f"{name}.md").read_text(encoding="utf-8")
        text = with_figures(text, results, part)
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
