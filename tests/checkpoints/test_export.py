"""Readers of text and pictures' tokens leave torch whole: torch.export with free sizes, and ONNX where it is there."""

import pytest
import torch
from tiny import assert_near, tiny_lm
from torch import nn
from torch.export import Dim

from minilmm.flamingo import Flamingo, FlamingoConfig
from minilmm.interface.document import Batch
from minilmm.vision import VisionConfig

EYES = VisionConfig(stem=8, widths=(8, 16), blocks=(1, 1))


class FlamingoReader(nn.Module):
    """Words, pictures' tokens and the mask between them -> logits: Flamingo behind its resampler."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        lm = tiny_lm()
        self.model = Flamingo(FlamingoConfig(lm.config, EYES), lm).eval()
        for name, parameter in self.model.xattn.named_parameters():
            if "alpha" in name:
                nn.init.constant_(parameter, 0.5)

    def forward(self, ids, media, mask):
        return self.model.lm.lm_head(self.model.hidden(ids, None, media, mask))


class PrefixReader(nn.Module):
    """Embeddings and which of them are there -> logits: Frozen and BLIP-2 behind their prefixes."""

    def __init__(self):
        super().__init__()
        self.lm = tiny_lm()

    def forward(self, x, real):
        return self.lm.lm_head(self.lm.hidden(x, real))


def flamingo_inputs(reader, words, pictures):
    """Of one document of so many words, with so many pictures."""
    g = torch.Generator().manual_seed(words)
    ids = torch.randint(5, 60, (1, words), generator=g)
    ids[0, torch.arange(pictures) * 2 + 1] = 3
    batch = Batch.of(ids, torch.rand(1, pictures, 1, 3, 32, 32, generator=g))
    with torch.no_grad():
        return ids, reader.model.perceive(batch), reader.model.masks(batch)


def prefix_inputs(reader, words, pictures):
    """Two documents, the second padded on the left."""
    g = torch.Generator().manual_seed(words)
    real = torch.ones(2, words, dtype=torch.bool)
    real[1, :pictures] = False
    return torch.randn(2, words, reader.lm.config.width, generator=g), real


L, K = Dim("L", min=2, max=512), Dim("K", min=2, max=512)
READERS = {
    "flamingo": (FlamingoReader, flamingo_inputs, ({1: L}, {1: K}, {1: L, 2: K})),
    "prefix": (PrefixReader, prefix_inputs, ({1: L}, {1: L})),
}


@pytest.mark.parametrize("name", READERS)
def test_readers_export_with_free_sizes(name):
    make, inputs, sizes = READERS[name]
    reader = make().eval()
    exported = torch.export.export(reader, inputs(reader, 9, 2), dynamic_shapes=sizes).module()
    for words, pictures in ((9, 2), (14, 3), (23, 5)):
        given = inputs(reader, words, pictures)
        with torch.no_grad():
            assert_near(exported(*given), reader(*given))


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_readers_run_in_onnxruntime(name, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    make, inputs, sizes = READERS[name]
    reader, path = make().eval(), tmp_path / "reader.onnx"
    torch.onnx.export(reader, inputs(reader, 9, 2), path, dynamo=True, dynamic_shapes=sizes, verbose=False)
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for words, pictures in ((9, 2), (14, 3)):
        given = inputs(reader, words, pictures)
        names = [i.name for i in session.get_inputs()]
        (logits,) = session.run(None, dict(zip(names, (t.numpy() for t in given), strict=True)))
        with torch.no_grad():
            assert_near(torch.from_numpy(logits), reader(*given), 1e-4)
