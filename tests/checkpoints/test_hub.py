"""A name of the hub where there is no hub: one line at once, and what the cache holds is still found."""

import time

import huggingface_hub
import pytest
from transformers import LlamaConfig, LlamaForCausalLM

from minilmm.checkpoints import hub
from minilmm.checkpoints.convert.folders import folder_of


@pytest.mark.parametrize("load", [hub.load_lm, hub.load_encoder, folder_of])
@pytest.mark.parametrize("offline", [True, False])
def test_without_the_hub_one_line_comes_at_once(load, offline, monkeypatch, capfd):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", offline)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    begun = time.perf_counter()
    with pytest.raises(hub.HubError) as told:
        load("some/model")
    assert time.perf_counter() - begun < 10
    reason = "HF_HUB_OFFLINE is set" if offline else "http://127.0.0.1:9 cannot be reached"
    assert f"({reason}, and the hub's cache does not have it)" in str(told.value)
    assert "\n" not in str(told.value) and "".join(capfd.readouterr()) == ""


def test_what_the_cache_holds_needs_no_hub(tmp_path, monkeypatch):
    monkeypatch.setattr(hub, "unreachable", lambda: "it cannot be reached")
    folder = tmp_path / "models--some--llama"
    LlamaForCausalLM(LlamaConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2,
                                 intermediate_size=8)).save_pretrained(folder / "snapshots" / "c0ffee")  # fmt: skip
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("c0ffee")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    assert folder_of("some/llama") == folder / "snapshots" / "c0ffee"
    with pytest.raises(hub.HubError, match=r"no causal language model .*check the name"):
        hub.load_lm(str(folder / "snapshots" / "c0ffee"))  # a model, and no tokenizer
