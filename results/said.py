"""What a run between real models says of held-out pictures, as JSON: python results/said.py RUN FILE

The first 40 held-out things, each by every vendor, named greedily.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from minilmm.checkpoints.opening import open_run
from minilmm.interface.document import Image, Text, collate
from minilmm.interface.tokenizer import EOC
from minilmm.training import named

THINGS = 40


@torch.no_grad()
def main(run: str, file: Path) -> None:
    """Write rows of {"name", "vendor", "said"}."""
    model, words, card = open_run(run)
    data, form = named.data_named(card["config"]["data"], model.config.vision.resolution), named.form_of("emoji")
    end, rows = words.convert_tokens_to_ids(EOC), []
    for vendor, pictures in zip(data.vendors, data.pictures, strict=True):
        for i in data.rows("held-out")[:THINGS].tolist():
            picture = Image(pictures[i].float() / 255)
            prompt = collate([[Text(form.before), picture, Text(form.after)]], words)
            said = words.decode(model.generate(prompt, 12, end)[0].tolist()).split(EOC)[0]
            rows.append({"name": data.names[i], "vendor": vendor, "said": said.strip().removesuffix(".")})
    file.write_text(json.dumps({"run": run, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
