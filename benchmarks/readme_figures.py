"""Put the figures of `results/ensembles.md` into the README; run it after `ensembles.py`."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "ensembles.md"
BEGIN, END = "<!-- figures: python benchmarks/readme_figures.py -->\n", "<!-- end of figures -->\n"


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


def with_figures(readme: str, results: str) -> str:
    """Return the text of the README with its figures renewed."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"README.md lacks the lines {BEGIN!r} and {END!r}.")
    return before + begin + "\n" + figures(results) + "\n" + end + after


if __name__ == "__main__":
    page = ROOT / "README.md"
    renewed = with_figures(page.read_text(encoding="utf-8"), RESULTS.read_text(encoding="utf-8"))
    page.write_text(renewed, encoding="utf-8")
