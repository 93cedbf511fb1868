"""Claims about BLIP-2: what stage 1 is for, what ITG and ITM do for retrieval, and whether it gains from shots."""

from __future__ import annotations

from dataclasses import replace

from minilmm.claims.claim import FRESH, Arm, Claim, Measure, Ranking, Stages
from minilmm.claims.flamingo import BASE as FLAMINGO
from minilmm.training.blip2 import preset

# Both stages, and an arm that has no first. All arms are asked the same, so that claims share their runs.
FIRST = preset("quick", 1)
BASE = Stages(replace(FIRST, optimisation=replace(FIRST.optimisation, steps=300), hardening=300), preset("quick", 2))
ASKED, SHOTS = Measure("vqa", shots=0), Measure("vqa", shots=4, minus=0)
BY_ITC, BY_ITM = Ranking("ITC"), Ranking("ITM")
SEEDS, LATER = FRESH[:5], tuple(range(210, 215))
EVERY = (ASKED, SHOTS, Measure("naming", shots=1), BY_ITC, BY_ITM)
WHOLE = Arm("stages 1 and 2")


def _beside(measure: Measure | Ranking) -> tuple[Measure | Ranking, ...]:
    return tuple(m for m in EVERY if m != measure)


STAGE_1 = Claim(
    name="stage-1",
    number=21,
    says="without stage 1 a language model answers questions about pictures less well",
    source="BLIP-2, effect of representation learning: without it zero-shot VQA falls, with either kind of LM",
    base=BASE,
    arms=(WHOLE, Arm("stage 2 alone", {"first": None})),
    measure=ASKED,
    beside=_beside(ASKED),
    seeds=SEEDS,
)
FLAT = Claim(
    name="shots",
    number=23,
    says="examples in the prompt help Flamingo to answer questions more than they help BLIP-2",
    source="BLIP-2, limitations: no better VQA with in-context examples, for want of interleaved data; Flamingo-80B "
    "VQAv2 rises from 56.3 to 63.1 with four shots (its table 1)",
    base=BASE,
    arms=(Arm("Flamingo", base=replace(FLAMINGO, described=0)), WHOLE),
    measure=SHOTS,
    beside=_beside(SHOTS),
    seeds=SEEDS,
)
# ITM needs longer than the others to leave "one right pair in three", and so do claims about it.
LONG = Stages(replace(preset("nano", 1), hardening=600), preset("quick", 2))
ITG = Claim(
    name="itg",
    number=22,
    says="image-grounded text generation helps retrieval too, although retrieval never generates",
    source="BLIP-2, effect of ITG: COCO TR@1 84.5 and IR@1 67.2 with ITC and ITM, 85.4 and 68.3 with ITG too",
    base=LONG,
    arms=(WHOLE, Arm("without ITG", {"objectives": ("itc", "itm")})),
    measure=BY_ITM,
    beside=_beside(BY_ITM),
    seeds=LATER,
)
RERANKING = Claim(
    name="re-ranking",
    number=24,
    says="ITM, which looks at picture and text together, ranks ITC's first candidates better than ITC does",
    source="BLIP-2, retrieval: ITC chooses 128 candidates, ITM ranks them again",
    base=LONG,
    arms=(Arm("ITM on ITC's candidates"), Arm("ITC alone", reads=BY_ITC.name)),
    measure=BY_ITM,
    beside=_beside(BY_ITM),
    seeds=LATER,
)
CLAIMS = (STAGE_1, ITG, FLAT, RERANKING)
