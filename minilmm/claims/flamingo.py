"""Claims about Flamingo: gates that start closed, interleaved pages, and looking at the last picture alone."""

from __future__ import annotations

from dataclasses import replace

from minilmm.ablations import BUGS, names
from minilmm.claims.claim import Arm, Claim, Measure
from minilmm.flamingo import Flamingo
from minilmm.training.flamingo import preset

# Names and descriptions, no questions.
BASE = replace(preset("quick"), latents=4, videos=0)
FIVE_WAYS = Measure("naming", shots=1, ways=5)
MANY = Measure("naming", shots=4, ways=5)  # 21 pictures, where training saw five at most
CURVE = (Measure("naming", shots=2, ways=5), Measure("ambiguous-naming", shots=1), Measure("ambiguous-naming", shots=8))
EARLIER = "rates and the detectable effect are of a pilot through an earlier language model: pilot it again first"

GATING = Claim(
    name="gating",
    number=11,
    says="gates that start closed (tanh of an alpha from 0) learn to name better than layers without gates",
    source="Flamingo, ablations, row (iii): overall score 70.7 with the tanh gate, 66.5 without, and training unstable",
    base=BASE,
    arms=(
        Arm("alpha from 0"),
        Arm("no gate", {"variant": "no-gate"}),
        Arm("fixed gate, .2", {"variant": "fixed-gate"}, lr=1e-3),
    ),
    measure=FIVE_WAYS,
    beside=(MANY, *CURVE),
    detects=0.374,
    note=f"of the rates .0005, .001 and .003 the last was best with gates and without, the second with a fixed gate; "
    f"{EARLIER}",
)
INTERLEAVED = Claim(
    name="interleaved",
    number=8,
    says="without interleaved pages a model names less well from examples",
    source="Flamingo, ablations, row (i): overall score 70.7 with M3W, 53.4 without",
    base=BASE,
    arms=(Arm("pages and pairs"), Arm("pairs alone", {"pages": 0, "pairs": 2 * BASE.pairs})),
    measure=FIVE_WAYS,
    beside=(MANY, *CURVE),
    detects=0.384,
    note=f"the second arm reads twice as many pairs per step in place of pages; {EARLIER}",
)
LAST_IMAGE = Claim(
    name="last-image",
    number=15,
    says="text that looks at the last picture alone names better, past the pictures of training, than text that looks "
    "at all before it",
    source="Flamingo, appendix, ablations: overall score 70.7 with the last picture alone, 63.5 with all previous ones",
    base=BASE,
    arms=(Arm("last picture"), Arm("all pictures", {"variant": "attend-all-images"})),
    measure=MANY,
    beside=(FIVE_WAYS, *CURVE),
    detects=0.348,
    note=f"at the rate of the claim on gating; {EARLIER}",
)
CLAIMS = (GATING, INTERLEAVED, LAST_IMAGE)

# What no paper claims, with its records beside the claims': how learning rates were chosen, and what mistakes cost.
RATES = replace(
    GATING,
    name="gating-rates",
    says="which learning rate suits each arm of the claim on gating best",
    arms=tuple(Arm(f"{arm.name}, lr {lr:g}", arm.changes, lr) for arm in GATING.arms for lr in (5e-4, 1e-3, 3e-3)),
    seeds=(0,),
)
MISTAKES = replace(
    LAST_IMAGE,
    name="mistakes",
    says="what common mistakes cost: naming by shots, before and after",
    source="common misreadings of the paper, each a --bug of minilmm train flamingo; and --all-text, its own loss",
    arms=(
        Arm("paper"),
        *(Arm(bug, {"variant": bug}) for bug in names(Flamingo, BUGS)),
        Arm("all-text", {"all_text": True}),
    ),
    seeds=(0, 1),
)
SWEEPS = (RATES, MISTAKES)
