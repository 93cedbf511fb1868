"""Writes the tables of results/README.md and README.md from the JSON files beside it: python results/tables.py

Between the marks of those pages stands what this prints; results/README.md has a table per file, as TITLES has them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from minilmm.evaluation.tasks import TASKS

HERE = Path(__file__).parent
NAMES = {"real": "real pictures", "blank_images": "blank", "shuffled_images": "shuffled",
         "text_only": "text-only demonstrations"}  # fmt: skip
TITLES = {
    "lm-nano-naming-2": "naming from descriptions, 2 ways", "lm-nano-naming-5": "naming, 5 ways",
    "lm-nano-naming-10": "naming, 10 ways", "lm-nano-ambiguous": "ambiguous naming", "lm-nano-noisy": "noisy naming",
    "lm-nano-vqa": "questions about descriptions (vqa)",
    "lm-nano-vqa-given": "questions, the convention given", "t5-nano-vqa-given": "questions, the convention given",
    "vision-nano-retrieval": "retrieval among near-duplicates", "vision-nano-zero-shot": "zero-shot classification",
    "vision-nano-probes": "linear probes, an attribute each",
    **{
        f"{run}-{task}": title
        for run in ("frozen-nano", "flamingo-nano", "blip2-nano")
        for task, title in {
            "naming-2": "naming, 2 ways", "naming-long": "naming, 2 ways, many pictures",
            "naming-5": "naming, 5 ways", "ambiguous": "ambiguous naming", "noisy": "noisy naming",
            "glyph": "glyph naming, 2 ways", "vqa": "questions (vqa)", "vqa-given": "questions, the convention given",
            "vqa-rices": "questions, examples chosen by RICES", "vqa-texts": "questions, zero shots with two texts",
            "induction-vqa": "what is it? (induction-vqa)", "easy-vqa": "easy-vqa", "caption": "captions, beam 3",
            "retrieval": "retrieval among near-duplicates", "probes": "linear probes of its eyes and behind them",
        }.items()
    },
    "blip2-t5-nano-vqa-given": "questions, the convention given",
    **{
        f"real/{run}-{task}": f"emoji, {title}"
        for run in ("frozen", "frozen-pages", "flamingo", "blip2", "smollm2", "efficientnet-lite0")
        for task, title in {
            "names": "real names, 5 ways", "naming": "made-up names, 2 ways", "retrieval": "retrieval, held-out things",
        }.items()
    },
}  # fmt: skip


def share(value: float) -> str:
    """A share without its leading 0, three digits."""
    return f"{value:.3f}".removeprefix("0") if value < 1 else f"{value:.2f}"


def cell(row: dict[str, Any]) -> str:
    """A value with its interval."""
    low, high = (f"{row[end]:.2f}".removeprefix("0") for end in ("low", "high"))
    return f"{share(row['value'])} ({low}-{high})"


def table(result: dict[str, Any]) -> list[str]:
    """A result as Markdown: a column per number of shots, a row per metric and condition; or a row per metric."""
    rows = result["rows"]
    if "pictures" in result["settings"]:
        lines = ["| metric | value | chance |", "|---|--:|--:|"]
        return lines + [f"| {row['metric']} | {cell(row)} | {share(row['chance'])} |" for row in rows]
    shots = list(dict.fromkeys(row["shots"] for row in rows))
    metrics = list(dict.fromkeys(row["metric"] for row in rows))
    lines = [f"| shots | {' | '.join(map(str, shots))} |", "|---" + "|--:" * len(shots) + "|"]
    for metric in metrics:
        for condition in dict.fromkeys(row["condition"] for row in rows):
            here = {row["shots"]: row for row in rows if (row["metric"], row["condition"]) == (metric, condition)}
            told = [cell(here[k]) if condition == "real" else share(here[k]["value"]) for k in shots]
            name = NAMES[condition] + (f", {metric.replace('_', ' ')}" if len(metrics) > 1 else "")
            lines.append(f"| {name} | {' | '.join(told)} |")
    first = {row["shots"]: row for row in reversed(rows)}
    for key, name in (("ideal", "ideal observer"), ("prior", "prior")):
        if len(metrics) == 1 and all(key in first[k] for k in shots):
            lines.append(f"| {name} | {' | '.join(f'{first[k][key]:.2f}' for k in shots)} |")
    return lines


METRICS = {
    "accuracy": "accuracy",
    "exact": "exact match",
    "cider": "CIDEr",
    "auc": "ROC AUC",
    "map": "mAP",
    "mrr": "MRR",
}


def told() -> list[str]:
    """What the language model makes of every task, in words: a line per task, its first metric alone."""
    lines = ["| task | stands for | metric | 0 shots | 8 shots | blank, 8 | prior, 8 | ideal, 0 and 8 |",
             "|---|---|---|--:|--:|--:|--:|--:|"]  # fmt: skip
    for path in sorted((HERE / "told").glob("*.json")):
        result = json.loads(path.read_text())
        task, metric = TASKS[result["task"]], result["rows"][0]["metric"]
        found = {(row["shots"], row["condition"]): row for row in result["rows"] if row["metric"] == metric}
        ideals = [f"{found[k, 'real']['ideal']:.2f}" if "ideal" in found[k, "real"] else "" for k in (0, 8)]
        told = [task.name, task.benchmark, METRICS[metric], *(cell(found[k, "real"]) for k in (0, 8)),
                share(found[8, "blank_images"]["value"]), f"{found[8, 'real']['prior']:.2f}",
                ", ".join(ideal for ideal in ideals if ideal)]  # fmt: skip
        lines.append(f"| {' | '.join(told)} |")
    return lines


COMPARED = {  # file: what it is called, and at how many shots
    "naming-2": ("naming, 2 ways", (0, 1, 4)), "naming-5": ("naming, 5 ways", (1, 4)),
    "ambiguous": ("ambiguous naming", (1, 16)), "noisy": ("noisy naming", (4, 16)),
    "vqa-given": ("questions, the convention given", (0,)), "vqa": ("questions (vqa)", (0, 4, 8)),
    "induction-vqa": ("what is it? (induction-vqa)", (0, 4)), "caption": ("captions, CIDEr", (0, 4)),
}  # fmt: skip
READERS = {"lm-nano": "from words", "frozen-nano": "Frozen", "flamingo-nano": "Flamingo", "blip2-nano": "BLIP-2"}


def compared() -> list[str]:
    """The three bridges beside the language model alone: a line per task and number of shots."""
    lines = [f"| task | shots | {' | '.join(READERS.values())} | blank, highest of the bridges | prior | ideal |",
             "|---|--:|" + "---|" * len(READERS) + "--:|--:|--:|"]  # fmt: skip
    for file, (title, shots) in COMPARED.items():
        results = {run: _rows(run, file) for run in READERS}
        for k in shots:
            real = [rows.get((k, "real")) for rows in results.values()]
            here = next(row for row in real[1:] if row)
            blank = max(rows[k, "blank_images"]["value"] for rows in results.values() if (k, "blank_images") in rows)
            prior = f"{here['prior']:.2f}"
            ideal = f"{here['ideal']:.2f}" if "ideal" in here else ""
            told = [title if k == shots[0] else "", str(k), *(cell(row) if row else "" for row in real), share(blank)]
            lines.append(f"| {' | '.join([*told, prior, ideal])} |")
    return lines


KEPT = {"flamingo-nano": ("eyes", "tokens"), "blip2-nano": ("prefix",), "frozen-nano": ("eyes", "prefix")}


def kept() -> list[str]:
    """What a linear map reads from a picture, in front of and behind each bridge: a line per attribute."""
    heads = ["vision-nano's eyes", "Flamingo's tokens", "BLIP-2's prefix", "Frozen's eyes", "Frozen's prefix"]
    lines = [f"| attribute | {' | '.join(heads)} | chance |", "|---" + "|--:" * (len(heads) + 1) + "|"]
    found = {run: {row["metric"]: row for row in json.loads((HERE / f"{run}-probes.json").read_text())["rows"]}
             for run in KEPT}  # fmt: skip
    for name in dict.fromkeys(label.split(",")[0] for label in found["flamingo-nano"]):
        rows = [found[run][f"{name}, {way}"] for run, ways in KEPT.items() for way in ways]
        told = [share(row["value"]) for row in rows]
        lines.append(f"| {' | '.join([name, *told, share(rows[0]['chance'])])} |")
    return lines


def _rows(run: str, file: str) -> dict[tuple[int, str], dict[str, Any]]:
    """A result's rows of its first metric by shots and condition; none where there is no such result."""
    path = HERE / f"{run}-{file}.json"
    if not path.is_file():
        path = HERE / "told" / f"{file}.json" if run == "lm-nano" else path
    rows = json.loads(path.read_text())["rows"] if path.is_file() else []
    return {(row["shots"], row["condition"]): row for row in rows if row["metric"] == rows[0]["metric"]}


def put(page: Path, name: str, lines: list[str]) -> None:
    """Write lines between a page's two marks of that name. ValueError where it lacks them."""
    begin, end = f"<!-- {name}: written by results/tables.py -->\n", f"<!-- end of {name} -->\n"
    before, _, rest = page.read_text().partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise ValueError(f"{page}: lacks the marks {begin.strip()} and {end.strip()}")
    page.write_text(before + begin + "\n" + "\n".join(lines) + "\n\n" + end + after)


def main() -> None:
    """Put the tables where the pages have their marks."""
    text = []
    for name, title in TITLES.items():
        path = HERE / f"{name}.json"
        if path.is_file():
            result = json.loads(path.read_text())
            text += [f"## {result['model']}, {title}", "", *table(result), ""]
    put(HERE / "README.md", "tables", [*text, "## lm-nano, every task in words", "", *told()])
    front = HERE.parent / "README.md"
    put(front, "bridges", compared())
    put(front, "told", told())
    put(front, "kept", kept())


if __name__ == "__main__":
    main()
