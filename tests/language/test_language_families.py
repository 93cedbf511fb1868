"""Every family of causal language models that transformers makes tiny: read from embeddings, or refused in one line."""

import inspect

import pytest
import torch
import transformers
from torch import nn
from transformers import AutoModelForCausalLM
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as KNOWN

from minilmm.frozen import Frozen, FrozenConfig
from minilmm.language.adapter import TransformersLM
from minilmm.vision import VisionConfig

WORDS, WIDTH = 60, 32
SIZES = (
    dict.fromkeys(("hidden_size", "d_model", "n_embd", "word_embed_proj_dim"), WIDTH)
    | dict.fromkeys(("num_hidden_layers", "num_layers", "n_layers", "n_layer", "decoder_layers", "encoder_layers"), 2)
    | dict.fromkeys(("num_attention_heads", "attention_heads", "n_heads", "n_head", "num_experts"), 4)
    | dict.fromkeys(("intermediate_size", "ffn_dim", "ffn_hidden_size", "dff", "n_inner", "decoder_ffn_dim"), 64)
    | dict.fromkeys(("max_position_embeddings", "n_positions", "max_seq_len"), 64)
    | {"num_local_experts": 4, "vocab_size": WORDS, "num_key_value_heads": 2, "head_dim": 8, "rotary_dim": 4,
       "moe_intermediate_size": 16, "num_experts_per_tok": 2, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
)  # fmt: skip
READ = """
biogpt bloom codegen cohere cohere2 ctrl falcon gemma gemma2 gemma3_text glm glm4 gpt2 gpt_bigcode gpt_neox gptj granite
granitemoe helium llama mistral mixtral mpt nemotron olmo olmo2 olmoe opt persimmon phi phi3 qwen2 qwen2_moe qwen3
qwen3_moe smollm3 stablelm starcoder2 xglm
"""
REFUSED = """
bart bert falcon_h1 falcon_mamba jamba mamba openai-gpt pegasus qwen3_next recurrent_gemma roberta rwkv
trocr xlnet xlstm
"""
SCALED = {"gemma", "gemma2", "gemma3_text", "xglm", "biogpt"}


def tiny(family):
    """A model of a family at random weights whose sizes show."""
    transformers.logging.set_verbosity_error()
    config = CONFIG_MAPPING[family]
    takes = {*inspect.signature(config.__init__).parameters, *getattr(config, "__dataclass_fields__", ())}
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config(**{k: v for k, v in SIZES.items() if k in takes}))
    for name, p in model.named_parameters():
        if "norm" in name.lower():
            nn.init.uniform_(p, 0.5, 1.5)
        else:
            nn.init.normal_(p, std=0.1)
    nn.init.normal_(model.get_input_embeddings().weight, mean=0.05, std=0.1)
    return model


def size(x):
    return float(x.square().mean().sqrt())


@pytest.mark.slow
@pytest.mark.parametrize("family", READ.split())
def test_a_family_says_of_embeddings_what_it_says_of_ids(family):
    """Behind padding and in pieces, too; what stands among words is as large as words that the first block reads."""
    if family not in KNOWN:
        pytest.skip("not in this version of transformers")
    lm = TransformersLM(tiny(family), added=2).verified()
    words = lm.embed(torch.arange(WORDS)[None])[0].detach()
    assert float(lm.word_size) == pytest.approx(size(words), rel=1e-4)
    assert (size(words) > 2 * size(lm.embed_tokens.weight.detach())) == (family in SCALED)
    torch.testing.assert_close(lm.embed(torch.tensor([[WORDS]]))[0, 0], words.mean(0))
    eyes = VisionConfig(resolution=16, stem=8, widths=(8, 16), blocks=(1, 1))
    prefix = Frozen(FrozenConfig(lm.config, eyes, image_id=WORDS), lm).eval().prefix(torch.rand(2, 3, 16, 16))
    assert size(prefix.detach()) == pytest.approx(size(words), rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("family", REFUSED.split())
def test_a_family_that_cannot_be_read_is_refused_in_one_line(family):
    if family not in KNOWN:
        pytest.skip("not in this version of transformers")
    with pytest.raises(ValueError, match="is not supported") as told:
        TransformersLM(tiny(family)).verified()
    assert "\n" not in str(told.value)
