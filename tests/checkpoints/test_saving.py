"""Cards: JSON becomes the dataclasses that it was made of, and cards of earlier versions say what to do."""

import json
import shutil
from dataclasses import asdict

import pytest

from minilmm.blip2 import Blip2Config
from minilmm.checkpoints.opening import load
from minilmm.checkpoints.saving import ZOO, CheckpointError, from_json
from minilmm.language import LMConfig
from minilmm.language.encdec import EncDecConfig
from minilmm.nn.qformer import QFormerConfig
from minilmm.training.recipes import FlamingoRecipe, FrozenRecipe, LMRecipe, Optimisation
from minilmm.vision import VisionConfig

STEPS = Optimisation(7, lr=1e-3, betas=(0.5, 0.6))
QFORMER = QFormerConfig(16, 30, width=8)
LANGUAGE_MODELS = (None, LMConfig(30, layers=1), EncDecConfig(30, layers=1))


@pytest.mark.parametrize(
    "value",
    [
        *(Blip2Config(QFORMER, VisionConfig(widths=(4, 8)), lm) for lm in LANGUAGE_MODELS),
        LMRecipe(LMConfig(20), STEPS, lengths=(3, 4)),
        FrozenRecipe(STEPS, encoder=VisionConfig("vit", patch=4)),
        FlamingoRecipe(STEPS, weights=(1.0, 2.0, 3.0)),
        FlamingoRecipe(STEPS, lm="tiny", views=4),
    ],
)
def test_what_went_to_json_comes_back(value):
    assert from_json(type(value), json.loads(json.dumps(asdict(value)))) == value


@pytest.mark.parametrize(
    "values, told",
    [
        ({"depth": 3}, "'depth' of QFormerConfig is unknown"),
        ({"seen": 3, "vocab_size": 9}, "'seen' of QFormerConfig is called 'feature_width' now: rename it"),
        ({"vocab_size": 9}, "feature_width"),
        ([3], "QFormerConfig is .*, expected a JSON object"),
    ],
)
def test_json_of_something_else_is_one_line(values, told):
    with pytest.raises(TypeError, match=told) as error:
        from_json(Blip2Config, {"qformer": values})
    assert "\n" not in str(error.value)


def test_a_card_with_a_field_that_was_renamed_says_so(tmp_path):
    run = shutil.copytree(ZOO / "blip2-nano", tmp_path / "run")
    card = (run / "card.json").read_text()
    (run / "card.json").write_text(card.replace('"feature_width"', '"seen"'))
    with pytest.raises(
        CheckpointError, match=r"does not fit its card .*'seen' .* is called 'feature_width' now"
    ) as told:
        load(run)
    assert "\n" not in str(told.value)
