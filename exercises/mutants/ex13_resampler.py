"""Known-wrong answers to exercise 13."""

from minilmm.course.exercises import Mutant

STRETCHED = 'return F.interpolate(times.T[None], size=frames, mode="linear", align_corners=True)[0].T'
ADDED = "return (x_f + times_for(x_f.shape[1], times)[:, None]).flatten(1, 2)"

MUTANTS = [
    Mutant("per-place", ((ADDED, "return (x_f + times_for(x_f.shape[2], times)).flatten(1, 2)"),),
           "the embeddings go to places and not to frames: no time can be told", caught_by="every_frame"),
    Mutant("after-flattening", ((ADDED, "M, T, S, D = x_f.shape\n"
                                 "    flat = x_f.flatten(1, 2)\n"
                                 "    return flat + times[torch.arange(T * S) % len(times)] if T > 1 else flat + times[0]"),),
           "the embeddings are added after time and place have become one axis: each token has a time of its own",
           caught_by="every_frame"),
    Mutant("no-times", ((ADDED, "return x_f.flatten(1, 2)"),),
           "no time embedding is added: frames may come in any order", caught_by="every_frame"),
    Mutant("place-before-time", ((ADDED, ADDED.replace(".flatten(1, 2)", ".transpose(1, 2).flatten(1, 2)")),),
           "tokens come place by place and not frame by frame", caught_by="every_frame"),
    Mutant("per-picture", ((ADDED, "M, T = x_f.shape[:2]\n"
                            "    return (x_f + times[torch.arange(M * T) % len(times)].view(M, T, 1, -1)).flatten(1, 2)"),),
           "the times run on from one picture to the next: a picture's features depend on its place on the page",
           caught_by="every_picture_alike"),
    Mutant("stretched-always", (("    if frames <= len(times):\n        return times[:frames]\n", ""),),
           "few frames are spread over all learned times, so that two frames stand at the first and the last",
           caught_by="few_frames"),
    Mutant("last-ones", (("return times[:frames]", "return times[len(times) - frames :]"),),
           "few frames get the last embeddings and not the first", caught_by="few_frames"),
    Mutant("nearest", ((STRETCHED, 'return F.interpolate(times.T[None], size=frames, mode="nearest")[0].T'),),
           "each frame takes the nearest learned embedding: several frames stand at the same time",
           caught_by="more_frames"),
    Mutant("corners-not-aligned", (("align_corners=True", "align_corners=False"),),
           "the ends are not kept (align_corners=False): frames near the ends share a time", caught_by="more_frames"),
    Mutant("last-repeated", ((STRETCHED, "return times[torch.arange(frames).clamp(max=len(times) - 1)]"),),
           "all frames beyond the learned ones get the last time", caught_by="more_frames"),
    Mutant("begun-again", ((STRETCHED, "return times[torch.arange(frames) % len(times)]"),),
           "beyond the learned times the clock begins anew", caught_by="more_frames"),
    Mutant("features-only", (("torch.cat([x_f, x], 1)", "x_f"),),
           "the latents do not see each other: keys and values come from the features alone", caught_by="what_latents_see"),
    Mutant("latents-only", (("torch.cat([x_f, x], 1)", "x"),),
           "the latents see each other and no picture", caught_by="what_latents_see"),
    Mutant("features-ask", (("q, k, v = x @", "q, k, v = x_f[:, : x.shape[1]] @"),),
           "the queries come from the features and not from the latents", caught_by="what_latents_see"),
    Mutant("no-scale", ((" / q.shape[-1] ** 0.5", ""),),
           "the scores are not divided by the square root of D", caught_by="what_latents_see"),
    Mutant("no-residual", (("x = x + attend(x, x_f, weights)", "x = attend(x, x_f, weights)"),),
           "what the latents see replaces them instead of being added", caught_by="around_each_part"),
    Mutant("no-second-residual", (("return x + (x @ weights[\"up\"])", "return (x @ weights[\"up\"])"),),
           "the feed-forward replaces the latents instead of being added", caught_by="around_each_part"),
    Mutant("plain-relu", ((".relu().square()", ".relu()"),),
           "the ReLU is not squared", caught_by="around_each_part"),
    Mutant("mean-over-time", (("    x_f = with_times(x_f, times)\n", "    x_f = with_times(x_f, times).unflatten(1, "
                               "x_f.shape[1:3]).mean(1)\n"),),
           "frames are averaged before the latents see them: what moved is lost", caught_by="layer_by_layer"),
    Mutant("begun-anew", (("        x = layer(x, x_f, weights)\n    return x",
                           "        x = layer(latents.expand(len(x_f), -1, -1), x_f, weights)\n    return x"),),
           "every layer starts from the learned latents: only the last layer counts", caught_by="layer_by_layer"),
    Mutant("features-grow", (("        x = layer(x, x_f, weights)\n    return x",
                              "        x = layer(x, x_f, weights)\n        x_f = torch.cat([x_f, x], 1)\n    return x"),),
           "the latents stay behind among the features of the next layer", caught_by="layer_by_layer"),
]  # fmt: skip
