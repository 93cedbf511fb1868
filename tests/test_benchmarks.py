"""The benchmarks: they run, they compare equal work, and they count operations as one does by hand. No timings."""

import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import flops
import llama
import run
import timing

from minilmm.language import CausalLM, LMConfig
from minilmm.vision import VisionConfig, build_encoder

SMALL = LMConfig(10, width=4, layers=1, heads=2, kv_heads=1, hidden=6)


def test_operations_by_hand():
    # q and o: 4 x 4; k and v: 4 x 2; gate, up, down: 4 x 6. Head: 4 x 10
    assert flops.body_weights(SMALL) == 2 * 16 + 2 * 8 + 3 * 24 == 120
    # 3 tokens see 1 + 2 + 3 keys; each costs 2 x 4 for a score and 2 x 4 for the mixture
    assert flops.attention_flops(SMALL, 3) == 6 * 16
    # 2 rows of 3 tokens: 6 per weight and token, and attention thrice
    assert flops.lm_step_flops(SMALL, 2, 3, frozen=False) == 6 * (120 + 40) * 6 + 3 * 2 * 96
    assert flops.lm_step_flops(SMALL, 2, 3, frozen=True) == 4 * (120 + 40) * 6 + 3 * 2 * 96
    assert flops.lm_step_flops(SMALL, 2, 3, frozen=True, predicted=1) == 4 * (120 * 6 + 40) + 3 * 2 * 96


def counted(work):
    """Operations of the linear maps and convolutions, as torch counts them."""
    with FlopCounterMode(display=False) as counter:
        work()
    names = ("mm", "addmm", "convolution", "convolution_backward")
    return sum(n for op, n in counter.get_flop_counts()["Global"].items() if str(op).removeprefix("aten.") in names)


@pytest.mark.parametrize("frozen", [False, True])
def test_operations_agree_with_the_counter_of_torch(frozen):
    config = LMConfig(50, width=16, layers=2, heads=4, kv_heads=2, hidden=24)
    lm = CausalLM(config).requires_grad_(not frozen)
    x = torch.randn(3, 7, 16, requires_grad=True)
    total = flops.lm_step_flops(config, 3, 7, frozen=frozen) - 3 * 3 * flops.attention_flops(config, 7)
    assert counted(lambda: lm.lm_head(lm.hidden(x)).sum().backward()) == total


def test_operations_of_an_encoder():
    encoder = build_encoder(VisionConfig(stem=8, widths=(8, 16), blocks=(1, 1)))
    total = flops.encoder_step_flops(encoder, 48)
    assert counted(lambda: encoder(torch.rand(2, 3, 48, 48)).sum().backward()) == 2 * total


@pytest.mark.parametrize("padded", [False, True])
def test_both_implementations_do_the_same(padded):
    pytest.importorskip("transformers")
    config = LMConfig(60, width=32, layers=2, heads=4, kv_heads=2, hidden=48)
    both = llama.contest(llama.Size("tiny", config, 3, 12, padded), "cpu")
    assert both.check() < 1e-5
    assert all(p.grad is None and not p.requires_grad for m in (both.ours, both.theirs) for p in m.parameters())
    with torch.no_grad():
        next(both.theirs.parameters()).mul_(1.5)
    with pytest.raises(AssertionError):
        both.check()


@pytest.mark.parametrize("stage", [1, 2])
def test_both_implementations_of_blip2_do_the_same(stage):
    pytest.importorskip("transformers")
    import blip2

    both = blip2.Contest(blip2.TINY, stage, "cpu")
    assert both.check() < 1e-5
    sizes = [sum(p.numel() for p in m.parameters() if p.grad is not None) for m in (both.ours, both.theirs)]
    assert sizes[0] == sizes[1] > 0  # as many parameters train on either side
    with torch.no_grad():
        both.theirs.query_tokens.normal_()
    with pytest.raises(AssertionError):
        both.check()


def test_what_llama_lacks_is_refused():
    with pytest.raises(ValueError, match="smear"):
        llama.contest(llama.Size("tiny", replace(SMALL, smear=4), 1, 4, False), "cpu")


def test_contestants_take_turns():
    order = []
    times = timing.in_turn([lambda: order.append("a"), lambda: order.append("b")], 3, "cpu", warm=1)
    assert "".join(order) == "abbaabba"
    assert [len(t) for t in times] == [3, 3]
    spread = timing.Spread.of([1.0, 2.0, 4.0])
    assert (spread.median, spread.low, spread.high) == (2.0, 1.5, 3.0)
    assert spread.inverse(6) == timing.Spread(3.0, 2.0, 4.0)


def test_a_quick_run_gives_finite_numbers(tmp_path, capsys):
    out = tmp_path / "results" / "benchmarks.json"
    result = run.main(["--quick", "--threads", "1", "--json", str(out)])
    assert json.loads(out.read_text()) == result
    assert result["quick"] and result["machine"]["threads"] == 1 and result["machine"]["torch"] == torch.__version__
    for row in result["rows"]:
        assert all(math.isfinite(row[key]) and row[key] > 0 for key in ("value", "low", "high")), row
        assert row["low"] <= row["value"] <= row["high"], row
        assert (row["share"] is None) == (row["gflops"] is None) and (row["share"] is None or row["share"] > 0), row
    groups = {row["group"] for row in result["rows"]}
    assert groups >= {"machine", "world", "train lm", "train frozen", "scored", "trained", "eval"}
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


def test_wrong_options_are_one_line(capsys):
    with pytest.raises(SystemExit):
        run.main(["--threads", "0"])
    assert "--threads 0" in capsys.readouterr().err
