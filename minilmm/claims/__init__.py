"""Findings of the papers as seeded experiments, written down before they are run, with an honest verdict.

A claim names its arms, what is measured, the direction that the paper reports and the smallest effect that its seeds
could detect. Arms of one seed see the same data, so differences are paired; the verdict is Student's t over them.
"""

from minilmm.claims.blip2 import CLAIMS as BLIP2
from minilmm.claims.claim import PILOT, Arm, Claim, Measure, detectable, holm, p_value, verdict
from minilmm.claims.flamingo import CLAIMS as FLAMINGO
from minilmm.claims.flamingo import SWEEPS as FLAMINGO_SWEEPS
from minilmm.claims.run import progress, read_results, run_claim

CLAIMS = {claim.name: claim for claim in (*FLAMINGO, *BLIP2)}
SWEEPS = {claim.name: claim for claim in FLAMINGO_SWEEPS}  # how the claims' arms got their learning rates

__all__ = ["CLAIMS", "PILOT", "SWEEPS", "Arm", "Claim", "Measure", "detectable", "holm", "p_value", "progress",
           "read_results", "run_claim", "verdict"]  # fmt: skip
