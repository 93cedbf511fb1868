"""Writes the tables and the cited figures of README.md and results/README.md: python results/tables.py

It reads the JSON files beside it, and the cards and weights of minilmm/zoo. A table stands between two marks of a page.
A figure in the prose is a link to the file that it comes from, and the link's title says which one it is there:
`[.960](results/flamingo-nano-naming-5.json "shots 1")`. See `cited`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from safetensors import safe_open

from minilmm.checkpoints.saving import CARD, MODEL, ZOO
from minilmm.evaluation.tasks import TASKS

HERE = Path(__file__).parent
FRONT, PAGE = HERE.parent / "README.md", HERE / "README.md"
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
MAIN = {  # the same for README.md
    "naming-2": ("naming, 2 ways", (1,)), "naming-5": ("naming, 5 ways", (1,)),
    "ambiguous": ("ambiguous naming", (16,)), "noisy": ("noisy naming", (16,)),
    "vqa-given": ("questions, the convention given", (0,)), "vqa": ("questions", (0, 8)),
    "induction-vqa": ("what is it?", (8,)), "caption": ("captions, CIDEr", (0, 4)),
}  # fmt: skip
READERS = {"lm-nano": "from words", "frozen-nano": "Frozen", "flamingo-nano": "Flamingo", "blip2-nano": "BLIP-2"}
Rows = dict[tuple[int, str], dict[str, Any]]


def plain(row: dict[str, Any], blank: dict[str, Any]) -> str:
    """A value, in bold where its interval lies above what blank pictures and the prior reach."""
    value = share(row["value"])
    return f"**{value}**" if row["low"] > max(blank["value"], row["prior"]) else value


def compared(tasks: dict[str, tuple[str, tuple[int, ...]]], form: Callable[..., str]) -> list[str]:
    """The three bridges beside the language model alone: a line per task and number of shots.

    form: (the row of real pictures, that of blank ones) -> a cell
    """
    lines = [f"| task | shots | {' | '.join(READERS.values())} | blank, highest of the bridges | prior | ideal |",
             "|---|--:|" + "---|" * len(READERS) + "--:|--:|--:|"]  # fmt: skip
    for file, (title, shots) in tasks.items():
        results = {run: rows_of(run, file) for run in READERS}
        for k in shots:
            pairs = [(rows.get((k, "real")), rows.get((k, "blank_images"))) for rows in results.values()]
            here = next(real for real, _ in pairs[1:] if real)
            blanks = [blank["value"] for _, blank in pairs[1:] if blank]
            told = [title if k == shots[0] else "", str(k), *(form(*pair) if pair[0] else "" for pair in pairs)]
            told += [share(max(blanks)), f"{here['prior']:.2f}", f"{here['ideal']:.2f}" if "ideal" in here else ""]
            lines.append(f"| {' | '.join(told)} |")
    return lines


def kinds() -> list[str]:
    """Questions whose convention is given, by what they ask: a line per kind."""
    lines = [f"| the question asks | {' | '.join(READERS.values())} |", "|---" + "|--:" * len(READERS) + "|"]
    found = [rows_of(run, "vqa-given")[0, "real"]["by_kind"] for run in READERS]
    return [*lines, *(f"| {kind} | {' | '.join(share(one[kind]) for one in found)} |" for kind in found[0])]


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


def values(file: str, metric: str | None = None, kind: str | None = None) -> dict[tuple[int, str], str]:
    """A file's cells by shots and condition, of its first metric or another, or of one kind of question."""
    rows = json.loads((HERE / file).read_text())["rows"]
    here = [row for row in rows if row["metric"] == (metric or rows[0]["metric"])]
    return {
        (row["shots"], row["condition"]): cell(row) if kind is None else share(row["by_kind"][kind]) for row in here
    }


CHOSEN = {
    "random": "16, at random",
    "rices-1": "16 by RICES, of 1 each",
    "rices-5": "16 by RICES, of 5 each",
    "orders": "the same, the mean of 4 orders",
}


def classes() -> list[str]:
    """Naming one of many classes: random examples, RICES, ensembling, and what the eyes do alone."""
    lines = ["| task | examples | top 1 | top 5 | blank |", "|---|---|--:|--:|--:|"]
    for task, title in (("classification", "144 classes of pictures"), ("actions", "36 actions in videos")):
        for how, said in CHOSEN.items():
            file = f"flamingo-nano-{task}-{how}.json"
            top, five = values(file), values(file, "top5")
            blank = top.get((16, "blank_images"), "")
            lines.append(f"| {title} | {said} | {top[16, 'real']} | {five[16, 'real']} | {blank} |")
    rows = {row["metric"]: cell(row) for row in json.loads((HERE / "vision-nano-zero-shot.json").read_text())["rows"]}
    for metric, said in (("classification by text", "none: the eyes' own text tower reads descriptions"),
                         ("by the nearest of 1 each", "the eyes alone: the nearest of 1 each"),
                         ("by the nearest of 5 each", "the eyes alone: the nearest of 5 each")):  # fmt: skip
        lines.append(f"| 144 classes of pictures | {said} | {rows[metric]} | | |")
    return lines


def tuned() -> list[str]:
    """Fine-tuning on a task against examples in the prompt: a line per task."""
    lines = ["| task | metric | 0 examples | 32 examples | fine-tuned, 0 examples | fine-tuned, blank |",
             "|---|---|--:|--:|--:|--:|"]  # fmt: skip
    for path in sorted((HERE / "tuned").glob("*-tuned.json")):
        task = path.stem.removesuffix("-tuned")
        prompted, after = values(f"tuned/{task}-prompted.json"), values(f"tuned/{task}-tuned.json")
        metric = METRICS[json.loads(path.read_text())["rows"][0]["metric"]]
        told = [
            f"`{task}`",
            metric,
            prompted[0, "real"],
            prompted[32, "real"],
            after[0, "real"],
            after[0, "blank_images"],
        ]
        lines.append(f"| {' | '.join(told)} |")
    return lines


def instructed() -> list[str]:
    """Instruction tuning: what bridges do that an instruction says, before and after."""
    lines = ["| model | examples | new wordings | new tasks | new tasks, blank |", "|---|--:|--:|--:|--:|"]
    for run, title in (("flamingo-nano", "Flamingo"), ("flamingo-instructed", "Flamingo, instructed"),
                       ("blip2-nano", "BLIP-2"), ("blip2-instructed", "BLIP-2, instructed")):  # fmt: skip
        file = f"{run}-instructions.json"
        wording, task = (values(file, kind=kind) for kind in ("new wording", "new task"))
        lines += [f"| {title} | {k} | {wording[k, 'real']} | {task[k, 'real']} | {task[k, 'blank_images']} |"
                  for k, condition in wording if condition == "real"]  # fmt: skip
    return lines


def invented() -> list[str]:
    """Hallucination: questions about what is absent by how it was chosen, and what captions invent."""
    heads = (
        "model",
        "random",
        "popular",
        "adversarial",
        "says yes",
        "blank, says yes",
        "CHAIR of captions, 0 and 4 shots",
    )
    lines = [f"| {' | '.join(heads)} |", "|---|--:|--:|--:|--:|--:|--:|"]
    for run, title in READERS.items():
        file, captions = f"{run}-hallucination.json", HERE / f"{run}-caption.json"
        if run == "lm-nano":
            file, captions = "told/hallucination.json", HERE / "told" / "caption.json"
        kinds = [values(file, kind=kind)[0, "real"] for kind in ("random", "popular", "adversarial")]
        yes = values(file, "yes_rate")
        rows = {
            (row["shots"], row["condition"], row["metric"]): row for row in json.loads(captions.read_text())["rows"]
        }
        chair = [share(rows[k, "real", "chair"]["value"]) for k in (0, 4) if (k, "real", "chair") in rows]
        told = [title, *kinds, yes[0, "real"], yes[0, "blank_images"], ", ".join(chair) if run != "lm-nano" else ""]
        lines.append(f"| {' | '.join(told)} |")
    return lines


def zero_shot() -> list[str]:
    """BLIP-2 beside Flamingo without examples, as in BLIP-2's first table."""
    heads = ("model", "trains", "questions, the convention given", "CIDEr in, near and out of domain", "TR@1, IR@1")
    lines = [f"| {' | '.join(heads)} |", "|---|--:|--:|--:|--:|"]
    for run, title in (("flamingo-nano", "Flamingo"), ("blip2-nano", "BLIP-2")):
        place = ZOO / run
        card = json.loads((place / CARD).read_text())
        rows = json.loads((HERE / f"{run}-novel-caption.json").read_text())["rows"]
        kinds = next(
            row["by_kind"] for row in rows if (row["shots"], row["condition"], row["metric"]) == (0, "real", "cider")
        )
        found = {row["metric"]: share(row["value"])
                 for row in json.loads((HERE / "blip2-nano-retrieval.json").read_text())["rows"]}  # fmt: skip
        ranked = f"{found['TR@1, ITM']}, {found['IR@1, ITM']}" if run == "blip2-nano" else "it ranks no pairs"
        told = [title, millions(sizes_of(place / MODEL, card["trains"])[1]), values(f"{run}-vqa-given.json")[0, "real"],
                ", ".join(f"{value:.2f}" for value in kinds.values()), ranked]  # fmt: skip
        lines.append(f"| {' | '.join(told)} |")
    return lines


SHIPPED = {
    "lm-nano": "causal language model, text only; it learns in context",
    "t5-nano": "encoder-decoder language model, on the same text",
    "bert-nano": "text encoder of masked words; BLIP-2's Q-Former begins as it",
    "vision-nano": "normaliser-free ResNet and a text tower, contrastive",
    "frozen-nano": "Frozen: its vision encoder learned from nothing, through `lm-nano`",
    "flamingo-nano": "Flamingo, between `vision-nano` and `lm-nano`",
    "blip2-nano": "BLIP-2, between `vision-nano` and `lm-nano`, with its stage 1",
    "blip2-t5-nano": "BLIP-2, the same stage 1 in front of `t5-nano`",
}


def shipped() -> list[str]:
    """The checkpoints: a line each. A plus sign joins the runs that one was made in, the first one first."""
    lines = ["| checkpoint | what it is | parameters | trained | MB | made by | minutes |",
             "|---|---|--:|--:|--:|---|--:|"]  # fmt: skip
    for name, what in SHIPPED.items():
        places = sorted((path.parent for path in (ZOO / name).rglob(CARD)), key=lambda p: len(p.parts), reverse=True)
        cards = [json.loads((place / CARD).read_text()) for place in places]
        sizes = [sizes_of(place / MODEL, card["trains"]) for place, card in zip(places, cards, strict=True)
                 if (place / MODEL).is_file()]  # fmt: skip
        trained = ["all" if some == every else millions(some) for every, some in sizes]
        weights = sum(path.stat().st_size for path in (ZOO / name).rglob("*.safetensors")) / 1e6
        minutes = [f"{card['metrics']['seconds'] / 60:.0f}" for card in cards]
        command = f"`{' '.join(cards[-1]['command'].split()[:3])}`" + (f", {len(cards)} runs" if cards[1:] else "")
        told = [f"`{name}`", what, millions(sizes[-1][0]), " + ".join(trained), f"{weights:.1f}", command]
        lines.append(f"| {' | '.join([*told, ' + '.join(minutes)])} |")
    return lines


def sizes_of(file: Path, trains: Iterable[str]) -> tuple[int, int]:
    """The parameters in a file of weights, and how many of them have a name that begins as one of `trains`."""
    with safe_open(file, "pt") as weights:
        sizes = {name: math.prod(weights.get_slice(name).get_shape()) for name in weights.keys()}  # noqa: SIM118
    return sum(sizes.values()), sum(size for name, size in sizes.items() if name.startswith(tuple(trains)))


def millions(count: int) -> str:
    """A count in millions."""
    return f"{count / 1e6:.2f}M".removeprefix("0")


def speed() -> list[str]:
    """What results/benchmarks.json has of our time over that of transformers, and of prompts of many pictures."""
    found = {
        (row["group"], row["name"]): row["value"] for row in json.loads((HERE / "benchmarks.json").read_text())["rows"]
    }
    lines = ["| time of a step, ours over transformers' | nano size | width 768 |", "|---|--:|--:|"]
    for title, group, name in (
        ("language model, frozen (`LlamaForCausalLM`)", "frozen lm", "{}, padded: ratio"),
        ("Flamingo (Idefics)", "flamingo", "{}: ratio"),
        ("BLIP-2, stage 1", "blip2", "{}, stage 1: ratio"),
        ("BLIP-2, stage 2, over a T5", "blip2", "{}, stage 2: ratio"),
    ):
        ours = [f"{1 / found[group, name.format(size)]:.2f}".removeprefix("0") for size in ("nano", "large")]
        lines.append(f"| {title} | {' | '.join(ours)} |")
    lines += ["", "| ours alone, nano size | |", "|---|--:|"]
    lines.append(
        f"| 500 episodes of naming, 5 ways, 5 shots: seconds | {found['eval', '500 episodes 5-way 5-shot']:.1f} |"
    )
    each = found["scored", "32 images: each, to one"]
    return [*lines, f"| reading a prompt: time per picture among 32, over that of a lone picture | {share(each)} |"]


def rows_of(run: str, file: str) -> Rows:
    """A result's rows of its first metric by shots and condition; none where there is no such result."""
    path = HERE / f"{run}-{file}.json"
    if not path.is_file():
        path = HERE / "told" / f"{file}.json" if run == "lm-nano" else path
    rows = json.loads(path.read_text())["rows"] if path.is_file() else []
    return {(row["shots"], row["condition"]): row for row in rows if row["metric"] == rows[0]["metric"]}


def each_file() -> list[str]:
    """A section per file that there is of TITLES."""
    text = []
    for name, title in TITLES.items():
        path = HERE / f"{name}.json"
        if path.is_file():
            result = json.loads(path.read_text())
            text += [f"### {result['model']}, {title}", "", *table(result), ""]
    return text[:-1]


CITED = re.compile(r'\[[\d.]+\](\(([^()\s]+\.json)\s+"([^"]+)"\))')  # [figure](file "which one")


def figure(file: Path, which: str) -> float:
    """A figure of a file. ValueError where it has none, or more than one.

    which: of a card, a name in "metrics"; of results, what its row has: "shots 1", "shots 0; condition blank_images",
        "shots 0; kind compare", "metric TR@1, ITC". The condition is "real" and the metric is the first unless named.
    """
    data = json.loads(file.read_text())
    if "rows" not in data:
        found = [data["metrics"][which]] if which in data["metrics"] else []
    else:
        first = data["rows"][0]
        wanted = {key: first[key] for key in ("metric",) if key in first}
        wanted |= {"condition": "real"} if "condition" in first else {}
        wanted |= dict(part.split(" ", 1) for part in which.split("; "))
        kind = wanted.pop("kind", None)
        rows = [row for row in data["rows"] if all(str(row.get(key)) == value for key, value in wanted.items())]
        found = [row["value"] if kind is None else row["by_kind"][kind] for row in rows]
    if len(found) != 1:
        raise ValueError(f"{file}: has {len(found)} figures that are {which!r}: name one")
    return found[0]


def cited(page: Path, text: str) -> str:
    """A page's text with every cited figure as its file has it now."""

    def put(match: re.Match) -> str:
        return f"[{share(figure(page.parent / match[2], ' '.join(match[3].split())))}]{match[1]}"

    return CITED.sub(put, text)


def filled(text: str, name: str, lines: list[str]) -> str:
    """A page's text with these lines between its two marks of that name. ValueError where it lacks them."""
    begin, end = f"<!-- {name}: written by results/tables.py -->\n", f"<!-- end of {name} -->\n"
    before, _, rest = text.partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise ValueError(f"the page lacks the marks {begin.strip()} and {end.strip()}")
    return before + begin + "\n" + "\n".join(lines) + "\n\n" + end + after


PARTS: dict[Path, dict[str, Callable[[], list[str]]]] = {
    FRONT: {"shipped": shipped, "main": lambda: compared(MAIN, plain)},
    PAGE: {
        "bridges": lambda: compared(COMPARED, lambda real, _: cell(real)),
        "kinds": kinds, "told": told, "kept": kept, "classes": classes, "tuned": tuned, "instructed": instructed,
        "invented": invented, "without": zero_shot, "speed": speed, "tables": each_file,
    },
}  # fmt: skip


def pages() -> dict[Path, str]:
    """The text that each page has once its tables and cited figures are written."""
    texts = {}
    for page, parts in PARTS.items():
        texts[page] = cited(page, page.read_text())
        for name, part in parts.items():
            texts[page] = filled(texts[page], name, part())
    return texts


def main() -> None:
    """Put the tables where the pages have their marks, and the figures where they are cited."""
    for page, text in pages().items():
        page.write_text(text)


if __name__ == "__main__":
    main()
