"""What a step costs: against the machine's own peak, against transformers, and by pictures per prompt. All in one run.

    python benchmarks/run.py [--threads 2] [--device cpu] [--json FILE] [--quick]

Every row is a median with its quartiles. README.md beside this file says what each means.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import blip2
import idefics
import llama
import torch
from flops import encoder_step_flops, lm_step_flops
from table import Row, table
from timing import Spread, in_turn, matrix_peak, seconds, timed
from torch import Tensor, nn

from minilmm.evaluation.fewshot import Request, evaluate
from minilmm.evaluation.tasks import Settings
from minilmm.frozen import Frozen, FrozenConfig
from minilmm.interface.document import Batch
from minilmm.interface.tokenizer import BOS, EOC, IMAGE
from minilmm.language import CausalLM
from minilmm.training import frozen as frozen_training
from minilmm.training import lm as lm_training
from minilmm.training.job import adamw, loss_of
from minilmm.world.corpus import sample_text
from minilmm.world.random import integers
from minilmm.world.render import RESOLUTION, render
from minilmm.world.scenes import sample_scenes
from minilmm.world.vocabulary import ids as ids_of
from minilmm.world.vocabulary import tokenizer

NANO = idefics.Size("nano", 128, 4, 8, 384, 128, 36, 4, rows=16, images=5, words=6)
LARGE = idefics.Size("large", 768, 4, 12, 2048, 768, 64, 16, rows=4, images=4, words=64)
COST = replace(NANO, rows=8, images=4, words=32, padded=False)
TINY = idefics.Size("tiny", 32, 2, 4, 40, 24, 5, 3, rows=2, images=2, words=4)


@dataclass(frozen=True)
class Plan:
    """How much of everything: the sizes of a run."""

    repetitions: int = 7
    peak_sizes: tuple[int, ...] = (256, 512, 1024, 2048)
    render: int = 512
    text: tuple[int, int] = (32, 256)  # rows, length of a language model's step
    nano: tuple[int, int] = (128, 16)  # rows, length of the comparison: a batch of captions
    large: tuple[int, int, int, int] = (16, 128, 768, 6)  # rows, length, width, layers: 2048 tokens
    flamingo: tuple[idefics.Size, ...] = (NANO, LARGE)
    blip2: tuple[blip2.Size, ...] = (blip2.NANO, blip2.LARGE)
    cost: idefics.Size = COST
    cost_words: tuple[int, ...] = (16, 32, 64, 128, 256, 512)
    captions: int = 128
    sequences: int = 8
    images: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    few_shot: tuple[int, int, int] = (500, 5, 5)  # episodes, ways, shots


QUICK = Plan(3, (128, 256), 8, (2, 32), (4, 12), (2, 16, 128, 1), (TINY,), (blip2.TINY,),
             replace(TINY, padded=False), (4, 8), 4, 2, (1, 2), (20, 2, 1))  # fmt: skip


@dataclass
class Bench:
    """A run: its plan and its device."""

    plan: Plan
    device: str

    def generator(self) -> torch.Generator:
        """A fresh generator, always the same."""
        return torch.Generator(self.device).manual_seed(0)

    def timed(self, work: Any) -> Spread:
        """Seconds of a piece of work."""
        return timed(work, self.plan.repetitions, self.device)

    def world(self) -> Iterator[Row]:
        """Pictures and text from nothing."""
        g, n = self.generator(), self.plan.render
        counts = integers(4, (n,), g) + 1
        rows, length = self.plan.text
        for name, objects in (("1 object", 1), ("1-4 objects", counts)):
            spread = self.timed(lambda o=objects: render(sample_scenes(n, g, objects=o), g))
            yield Row.of("world", f"pictures, {name}", "images/s", spread.inverse(n))
        yield Row.of("world", "text sampled", "tokens/s",
                     self.timed(lambda: sample_text(rows, length, g)).inverse(rows * length))  # fmt: skip

    def language(self) -> Iterator[Row]:
        """Pretraining the nano language model: text sampled, forward, backward, AdamW."""
        recipe, (rows, length), g = lm_training.preset("nano"), self.plan.text, self.generator()
        model = CausalLM(recipe.model).to(self.device).train()
        parameters = list(model.parameters())
        optimizer = adamw(parameters, recipe.optimisation)
        start, fixed = torch.tensor(0, device=self.device), sample_text(rows, length + 1, g)

        def step(text: tuple[Tensor, Tensor]) -> None:
            lm_training.loss_of(model, *text, start, rest=recipe.rest).backward()
            nn.utils.clip_grad_norm_(parameters, recipe.optimisation.clip)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

        flops = lm_step_flops(recipe.model, rows, length, frozen=False)
        for name, work in (
            ("step alone", lambda: step(fixed)),
            ("with its text", lambda: step(sample_text(rows, length + 1, g))),
        ):
            spread = self.timed(work)
            yield Row.of("train lm", name, "tokens/s", spread.inverse(rows * length), flops / spread.median / 1e9)

    def against_transformers(self) -> Iterator[Row]:
        """The step that trains Frozen, ours and theirs in turn; above 1, ours is faster."""
        nano = replace(lm_training.preset("nano").model, smear=0)
        rows, length, width, layers = self.plan.large
        big = replace(nano, width=width, layers=layers, heads=width // 64, kv_heads=width // 64, hidden=width * 8 // 3)
        for size in (
            llama.Size("nano", nano, *self.plan.nano, padded=True),
            llama.Size("nano", nano, *self.plan.nano, padded=False),
            llama.Size("large", big, rows, length, padded=True),
            llama.Size("large", big, rows, length, padded=False),
        ):
            both = llama.contest(size, self.device)
            both.check()
            ours, theirs = in_turn([both.step_ours, both.step_theirs], self.plan.repetitions, self.device)
            flops = lm_step_flops(size.config, size.rows, size.length, frozen=True)
            tokens = size.rows * size.length
            label = f"{size.name}, {'padded' if size.padded else 'full'}"
            for who, times in (("ours", ours), ("transformers", theirs)):
                took = Spread.of(times)
                name = f"{label}: {who}"
                yield Row.of("frozen lm", name, "tokens/s", took.inverse(tokens), flops / took.median / 1e9)
            ratio = Spread.of([b / a for a, b in zip(ours, theirs, strict=True)])
            yield Row.of("frozen lm", f"{label}: ratio", "x", ratio)

    def against_idefics(self) -> Iterator[Row]:
        """The step that trains Flamingo, ours and theirs in turn; above 1, ours is faster."""
        for size in self.plan.flamingo:
            yield from self._in_turn("flamingo", size.name, size, check=True)

    def flamingo_costs(self) -> Iterator[Row]:
        """The same step by pictures per document, its words shared among them, and by words, with as many pictures."""
        size = self.plan.cost
        for n in self.plan.images:
            name = f"{n} image{'s' * (n > 1)}"
            yield from self._in_turn("by images", name, replace(size, images=n, words=size.images * size.words // n))
        for n in self.plan.cost_words:
            yield from self._in_turn("by words", f"{n} words", replace(size, words=n // size.images))

    def against_blip2(self) -> Iterator[Row]:
        """The steps that train BLIP-2: ITM's pass, and stage 2 over a T5; above 1, ours is faster."""
        for size in self.plan.blip2:
            for stage in (1, 2):
                both = blip2.Contest(size, stage, self.device)
                both.check()
                yield from self._contest("blip2", f"{size.name}, stage {stage}", both, size.rows)

    def _in_turn(self, group: str, name: str, size: idefics.Size, check: bool = False) -> Iterator[Row]:
        both = idefics.contest(size, self.device)
        if check:
            both.check()
        yield from self._contest(group, name, both, size.rows)

    def _contest(self, group: str, name: str, both: Any, documents: int) -> Iterator[Row]:
        ours, theirs = in_turn([both.step_ours, both.step_theirs], self.plan.repetitions, self.device)
        for who, times in (("ours", ours), ("transformers", theirs)):
            spread = Spread.of([1000 * t / documents for t in times])
            yield Row.of(group, f"{name}: {who}", "ms/doc", spread)
        yield Row.of(group, f"{name}: ratio", "x", Spread.of([b / a for a, b in zip(ours, theirs, strict=True)]))

    def frozen(self) -> Frozen:
        """Frozen at nano size and random weights, its language model frozen."""
        recipe = frozen_training.preset("nano")
        torch.manual_seed(0)
        model = Frozen(FrozenConfig(lm_training.preset("nano").model, recipe.encoder)).to(self.device)
        model.lm.requires_grad_(False)
        return model

    def frozen_step(self) -> Iterator[Row]:
        """Training Frozen on captions, encoder and all."""
        model, g, n = self.frozen().train(), self.generator(), self.plan.captions
        parameters = [p for p in model.parameters() if p.requires_grad]
        optimizer = adamw(parameters, frozen_training.preset("nano").optimisation)
        scenes = sample_scenes(n, g)
        fixed = caption_batch(1, n, render(scenes, g)[:, None, None])

        def step(batch: Batch) -> None:
            loss_of(model, batch).backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

        tokens = fixed.ids.shape[1] + model.config.prefix_tokens - 1
        predicted = int(fixed.loss_mask[:, 1:].sum())
        flops = lm_step_flops(model.config.lm, n, tokens, frozen=True, predicted=predicted)
        flops += n * encoder_step_flops(model.encoder, RESOLUTION)
        spread = self.timed(lambda: step(fixed))
        yield Row.of("train frozen", "step alone", "images/s", spread.inverse(n), flops / spread.median / 1e9)
        yield Row.of("train frozen", "step alone", "tokens/s", spread.inverse(n * tokens))
        new = self.timed(lambda: step(caption_batch(1, n, render(sample_scenes(n, g), g)[:, None, None])))
        yield Row.of("train frozen", "with new pictures", "images/s", new.inverse(n))

    def pictures_per_prompt(self) -> Iterator[Row]:
        """What a picture costs when it shares its prompt with others: scored with no gradient, and trained on."""
        model, g, B = self.frozen(), self.generator(), self.plan.sequences
        options = integers(len(tokenizer()) - 5, (B, 2, 3), g) + 5
        every = torch.ones_like(options, dtype=torch.bool)
        media = [render(sample_scenes(B * n, g), g).unflatten(0, (B, n, 1)) for n in self.plan.images]
        batches = [caption_batch(n, B, m) for n, m in zip(self.plan.images, media, strict=True)]

        def rank(batch: Batch) -> None:
            model.eval().score(batch, options, every)

        def learn(batch: Batch) -> None:
            loss_of(model.train(), batch).backward()
            model.zero_grad(set_to_none=True)

        for name, work in (("scored", rank), ("trained", learn)):
            found = in_turn([partial(work, batch) for batch in batches], self.plan.repetitions, self.device)
            for n, times in zip(self.plan.images, found, strict=True):
                label = f"{n} image{'s' * (n > 1)}"
                yield Row.of(name, label, "ms/prompt", Spread.of([1000 * t / B for t in times]))
                if n > self.plan.images[0]:
                    each = Spread.of([t / n / one for t, one in zip(times, found[0], strict=True)])
                    yield Row.of(name, f"{label}: each, to one", "x", each)

    def few_shot(self) -> Iterator[Row]:
        """Episodes of naming, drawn, painted, encoded and ranked, as `minilmm eval` does."""
        model, (episodes, ways, shots) = self.frozen().eval(), self.plan.few_shot

        def work(seed: int) -> object:
            request = Request((shots,), Settings(ways=ways), episodes, ("real",), seed=seed)
            return evaluate(model, "naming", request, device=self.device)

        first, *later = [seconds(partial(work, seed), self.device) for seed in range(4)]
        name = f"{episodes} episodes {ways}-way {shots}-shot"
        yield Row.of("eval", name, "s", Spread.of(later))
        yield Row.of("eval", "the first time", "s", Spread.of([first]))

    def rows(self) -> list[Row]:
        """Everything. The peak is taken at both ends, and shares are of the higher."""
        groups = [self.world, self.language, self.frozen_step, self.pictures_per_prompt, self.few_shot]
        if has_transformers():
            groups[2:2] = [self.against_transformers, self.against_idefics, self.flamingo_costs, self.against_blip2]
        plan = (self.plan.peak_sizes, self.plan.repetitions, self.device)
        before = matrix_peak(*plan)
        rows = [row for group in groups for row in group()]
        after = matrix_peak(*plan)
        peak, n = max(before, after)
        told = Row("machine", f"peak, {n} x {n} float32", "GFLOP/s", peak, min(before, after)[0], peak)
        return [told, *(r if r.gflops is None else replace(r, share=r.gflops / peak) for r in rows)]


def has_transformers() -> bool:
    """Is there something to compare with?"""
    try:
        import transformers  # noqa: F401
    except ModuleNotFoundError:
        return False
    return True


def caption_batch(images: int, rows: int, media: Tensor) -> Batch:
    """ "<bos>", then "<image> a striped red circle . <EOC>" once per picture: media (rows, images, 1, 3, R, R)."""
    example = torch.cat([ids_of(IMAGE, "a striped red circle .", EOC)] * images)
    return Batch.of(torch.cat([ids_of(BOS), example]).expand(rows, -1).to(media.device), media)


def machine(device: str) -> dict[str, Any]:
    """What the figures were measured on."""
    versions = {"torch": torch.__version__, "python": platform.python_version()}
    if has_transformers():
        import transformers

        versions["transformers"] = transformers.__version__
    name = torch.cuda.get_device_name() if device == "cuda" else platform.machine()
    return {"device": device, "name": name, "cores": os.cpu_count(), "threads": torch.get_num_threads(), **versions}


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure, print, and write JSON where asked; the same object is returned."""
    parser = argparse.ArgumentParser(description="Speed, as ratios measured in one run.")
    parser.add_argument("--threads", type=int, default=None, help="torch's threads; all cores unless given")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--json", type=Path, default=None, metavar="FILE")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that it runs, measures nothing")
    options = parser.parse_args(arguments)
    if options.threads is not None and options.threads < 1:
        parser.error(f"--threads {options.threads}: expected at least 1")
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch sees no GPU here")
    if options.threads:
        torch.set_num_threads(options.threads)
    start = time.perf_counter()
    rows = Bench(QUICK if options.quick else Plan(), options.device).rows()
    told = machine(options.device)
    result = {
        "machine": told, "quick": options.quick, "seconds": round(time.perf_counter() - start, 1),
        "rows": [asdict(row) for row in rows],
    }  # fmt: skip
    print(table(rows, told))
    if not has_transformers():
        print('transformers is missing: no comparison; pip install "minilmm[dev]"', file=sys.stderr)
    print(f"{result['seconds']:.0f} s")
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    return result


if __name__ == "__main__":
    main()
