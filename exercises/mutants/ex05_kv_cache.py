"""Known-wrong answers to exercise 05."""

from minilmm.course.exercises import Mutant

MUTANTS = [
    Mutant("cache-unread", (("    scores = q @ k.transpose(1, 2)", "    new = {\"k\": k, \"v\": v}\n    k, v = k[:, -1:], v[:, -1:]\n    scores = q @ k.transpose(1, 2)"),
                            ("@ v, {\"k\": k, \"v\": v}\n\n\ndef", "@ v, new\n\n\ndef")),
           "the cache is kept but not read: the new token sees itself alone", caught_by="the_third_token"),
    Mutant("only-the-past", (("    scores = q @ k.transpose(1, 2)", "    new = {\"k\": k, \"v\": v}\n    if cache:\n        k, v = cache[\"k\"], cache[\"v\"]\n    scores = q @ k.transpose(1, 2)"),
                             ("@ v, {\"k\": k, \"v\": v}\n\n\ndef", "@ v, new\n\n\ndef")),
           "the new token does not see itself, only what was cached", caught_by="the_third_token"),
    Mutant("no-scale", ((" / q.shape[-1] ** 0.5", ""),),
           "the scores are not divided by the square root of d, as exercise 03 does", caught_by="the_third_token"),
    Mutant("replaced", (("softmax(-1) @ v, {\"k\": k, \"v\": v}", "softmax(-1) @ v, {\"k\": k[:, -1:], \"v\": v[:, -1:]}"),),
           "the cache is replaced by the new token instead of growing by it", caught_by="the_new_cache"),
    Mutant("in-front", (("softmax(-1) @ v, {\"k\": k, \"v\": v}", "softmax(-1) @ v, {\"k\": k.roll(1, 1), \"v\": v.roll(1, 1)}"),),
           "the new token is put in front of the earlier ones", caught_by="the_new_cache"),
    Mutant("keys-as-values", (("x @ weights[\"k\"], x @ weights[\"v\"]", "x @ weights[\"k\"], x @ weights[\"k\"]"),
                              ("torch.cat([cache[\"v\"], v], 1)", "torch.cat([cache[\"v\"], x @ weights[\"v\"]], 1)")),
           "the first token's keys stand where its values belong", caught_by="the_first_token"),
    Mutant("prompt-sees-ahead", (("attention(q[:, None], k[:, None], v[:, None])[:, 0]",
                                  "(q @ k.transpose(1, 2) / q.shape[-1] ** 0.5).softmax(-1) @ v"),),
           "tokens of the prompt see the future", caught_by="a_prompt"),
]  # fmt: skip
