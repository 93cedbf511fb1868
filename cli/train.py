"""`minilmm pretrain` and `minilmm train`: recipes from options, and what trains them."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from minilmm.training.recipes import (
    BertRecipe,
    Blip2Recipe,
    FlamingoRecipe,
    FrozenRecipe,
    LMRecipe,
    T5Recipe,
    VisionRecipe,
)

from .console import out_console
from .names import chosen, is_real, kind_of
from .options import check_choices, check_fit, option, options
from .runs import carry_out

QUICK = option("preset", str, "quick, nano (2 CPU cores) or small (one GPU).")
LMS = {"decoder": "lm-nano", "encoder-decoder": "t5-nano"}


@options(LMRecipe, "preset start out steps lr seed device resume force smear lists strict",
         option("smear", int, "Keys are averaged over this many tokens; 0: off.", min=0, max=64))  # fmt: skip
def pretrain_lm(**given: Any) -> None:
    """Train the language model on text alone until it learns in context."""
    if given["start"] is not None and given["smear"] is not None:
        raise ValueError("--start: the started run fixes the model: leave --smear out")
    if given["preset"] in ("more", "last") and given["start"] is None:
        raise ValueError(f"--preset {given['preset']}: goes on from a language model: name it with --start")
    from minilmm.training import lm

    carry_out(lm.preset, given, f"lm-{given['preset'] or 'nano'}")


@options(T5Recipe, "preset out steps lr seed device resume force")
def pretrain_t5(**given: Any) -> None:
    """Train the encoder-decoder language model on the same text, as a prefix LM."""
    from minilmm.training import t5

    carry_out(t5.preset, given, f"t5-{given['preset'] or 'nano'}")


@options(BertRecipe, "preset out steps lr seed device resume force")
def pretrain_bert(**given: Any) -> None:
    """Train a text encoder to say masked words: BLIP-2's Q-Former begins as one."""
    from minilmm.training import bert

    carry_out(bert.preset, given, f"bert-{given['preset'] or 'nano'}")


@options(VisionRecipe, "preset out steps lr batch seed device resume force kind",
         option("kind", str, "resnet or vit."))  # fmt: skip
def pretrain_vision(**given: Any) -> None:
    """Train the vision encoder beside a text tower, by contrast."""
    if given["kind"] is not None:
        chosen(given["kind"], ("resnet", "vit"), "--kind")
    from minilmm.training import vision

    carry_out(vision.preset, given, f"vision-{given['preset'] or 'nano'}")


FINE_TUNED = {"flamingo": ("flamingo", "--start"), "blip2": ("blip2", "--stage", "2", "--from")}


def fine_tuning(arguments: list[str]) -> list[str]:
    """`train RUN ...` as the command that it stands for: `train flamingo --start RUN ...`, where RUN is a Flamingo."""
    if arguments[:1] != ["train"] or len(arguments) < 2 or arguments[1] in ("frozen", *FINE_TUNED):
        return arguments
    kind = kind_of(arguments[1]) if arguments[1].strip("-\0") else None
    if kind is None:
        return arguments
    if kind not in FINE_TUNED:
        raise ValueError(f"train {arguments[1]}: a {kind} run: a Flamingo or a stage 2 of BLIP-2 can be fine-tuned")
    return ["train", *FINE_TUNED[kind], *arguments[1:]]


def between_real(given: dict[str, Any]) -> bool:
    """Do these options of `train` name real parts? ValueError where they mix them with the mini-world's."""
    from minilmm.checkpoints.opening import REAL_ENCODERS, REAL_LMS, of_the_course, of_transformers
    from minilmm.training.named import DATA

    lm, vision, data, start = given["lm"], given["vision"], given["data"], given.get("start")
    real_lm = lm is not None and (lm in REAL_LMS or of_transformers(lm))
    real_encoder = vision is not None and (vision in REAL_ENCODERS or of_transformers(vision))
    real_encoder |= (vision or "").startswith("torchvision:")
    if start is not None and of_the_course(start) and is_real(start):
        return True
    if not (real_lm or real_encoder or data in DATA):
        return False
    fits = "real models need --data emoji, photographs or a folder; the mini-world needs lm-nano and vision-nano"
    if lm is not None and not real_lm and of_the_course(lm):
        raise ValueError(f"--lm {lm}: belongs to the mini-world, but {data or vision} is real: {fits}")
    if data is not None and data not in DATA and not Path(data).is_dir():
        raise ValueError(f"--data {data}: is not for {lm if real_lm else vision}, a real model: {fits}")
    return True


@options(FrozenRecipe, "preset data steps minutes out resume force lm vision resolution variant eyes prefix_tokens "
         "kept pages ridge noise lr batch seed device", QUICK)  # fmt: skip
def train_frozen(**given: Any) -> None:
    """Train Frozen: a picture becomes words that a frozen language model reads."""
    if given["prefix_tokens"] not in (None, 1, 2, 4):
        raise ValueError(f"--prefix-tokens {given['prefix_tokens']}: choose 1, 2 or 4")
    check_choices(FrozenRecipe, given)
    real = between_real(given)
    check_fit(FrozenRecipe, given, real)
    from minilmm.training import frozen

    name = "real-frozen" if real else f"frozen-{given['preset'] or 'nano'}"
    carry_out(frozen.real_preset if real else frozen.preset, given, name)


@options(FlamingoRecipe, "preset data steps minutes out resume force start lm vision resolution every latents variant "
         "bug mixing pages pairs videos p_next all_text lr seed device", QUICK,
         option("bug", str, "A common mistake: attend-all-images, gate-init-one, ..."))  # fmt: skip
def train_flamingo(**given: Any) -> None:
    """Train Flamingo: a frozen language model looks at pictures through gated cross-attention."""
    check_choices(FlamingoRecipe, given)
    from minilmm.ablations import ABLATIONS, BUGS, names
    from minilmm.flamingo import Flamingo
    from minilmm.training import flamingo

    real, bug, variant = between_real(given), given["bug"], given["variant"]
    if given["preset"] == "more" and given["start"] is None:
        raise ValueError("--preset more: goes on from a Flamingo: name it with --start")
    check_fit(FlamingoRecipe, given, real, timed=False)
    if bug is not None and variant is not None:
        raise ValueError("--variant and --bug: give one of them")
    if bug is not None:
        chosen(bug, names(Flamingo, BUGS), "--bug")
    if variant is not None:
        chosen(variant, names(Flamingo, ABLATIONS), "--variant")
    model = ("lm", "vision", "every", "latents", "variant")
    if given["start"] is not None and (bug is not None or any(given[name] is not None for name in model)):
        flags = "--lm, --vision, --every, --latents and --bug"
        raise ValueError(f"--start: the started run fixes the model: leave {flags} out")
    given["variant"] = variant or bug
    task = None if real or given["data"] == "world" else given["data"]
    if task is not None:
        given["first"] = 0
    name = "real-flamingo" if real else f"flamingo-{bug or variant or task or given['preset'] or 'nano'}"
    carry_out(flamingo.real_preset if real else flamingo.preset, given, name)


@options(Blip2Recipe, "stage preset start steps minutes out resume force lm vision text resolution objectives data "
         "pages bug lr batch seed device", QUICK,
         option("stage", int, "1: train the Q-Former. 2: connect it to a language model.", inspect.Parameter.empty,
                "--stage"),
         option("bug", str, "A mistake: itc-mean, ...; stage 2: skip-stage-1."))  # fmt: skip
def train_blip2(**given: Any) -> None:
    """Train BLIP-2: a Q-Former between frozen eyes and a frozen language model, in two stages."""
    from minilmm.ablations import BUGS, names
    from minilmm.blip2 import Stage1
    from minilmm.training import blip2
    from minilmm.training.named import NAMES

    real, bug, stage, start = between_real(given), given["bug"], given["stage"], given["start"]
    if stage == 1 and (start, given["lm"], None if real else given["data"]) != (None, None, None):
        what = "--from and --lm" if real else "--from, --lm and --data"
        raise ValueError(f"--stage 1: uses no language model and starts from no run: leave {what} out")
    if real and stage == 1 and given["pages"] is not None:
        raise ValueError("--pages: is for stage 2: leave it out")
    check_fit(Blip2Recipe, given, real, timed=False)
    if bug is not None:
        chosen(bug, names(Stage1, BUGS) if stage == 1 else ("skip-stage-1",), "--bug")
    if stage == 2 and given["objectives"] is not None:
        raise ValueError("--stage 2: has one objective, the language model's own: leave --objectives out")
    if stage == 2 and (start is None) == (bug is None) and not given["resume"]:
        less = "" if real else " (--bug skip-stage-1 goes without)"
        raise ValueError(f"--stage 2: name the run of stage 1 with --from{less}")
    given["objectives"] = tuple(given["objectives"].split(",")) if given["objectives"] else None
    given["variant"] = bug if stage == 1 else None
    given["lm"] = LMS.get(given["lm"] or "", given["lm"])
    if real and start is not None:  # stage 2 looks through the encoder of stage 1, at its pictures, unless given
        from minilmm.checkpoints.saving import read_card

        before = read_card(start)["config"]
        given |= {name: before.get(name) for name in NAMES[1:] if given[name] is None}
    presets = blip2.real_preset if real else blip2.preset
    recipe = carry_out(lambda name: presets(name, stage), given, f"{'real-blip2' if real else 'blip2-stage'}{stage}")
    if stage == 1 and not real:
        known = ", ".join(f"{name} {value:.3f}" for name, value in blip2.baselines(recipe).items())
        out_console().print(f"  a model that knows nothing: {known}")
