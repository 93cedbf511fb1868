"""Where features stand."""

import pytest
import torch

from minilmm.flamingo import PerceiverResampler
from minilmm.nn.places import grid_sines, with_places


def test_every_place_has_sines_of_its_own_and_neighbours_resemble_each_other():
    sines = grid_sines(36, 128)
    assert sines.shape == (36, 128) and float(sines.square().mean()) == pytest.approx(0.5, abs=0.02)
    alike = torch.nn.functional.normalize(sines, dim=1) @ torch.nn.functional.normalize(sines, dim=1).T
    alike.fill_diagonal_(-1)
    assert float(alike.max()) < 0.99
    assert alike[0, 1] > alike[0, 3] and alike[0, 6] > alike[0, 18]  # along a row, along a column


@pytest.mark.parametrize(("places", "width"), [(35, 128), (36, 126)])
def test_other_grids_and_widths_are_refused(places, width):
    with pytest.raises(ValueError, match="square grid"):
        grid_sines(places, width)


def test_without_places_the_order_of_features_says_nothing():
    torch.manual_seed(0)
    x_f, order = torch.randn(2, 1, 16, 32), torch.randperm(16)
    assert torch.equal(with_places(x_f, 0.0), x_f)
    for size, same in ((0.0, True), (3.0, False)):
        resampler = PerceiverResampler(32, latents=3, layers=1, heads=2, frames=2, places=size)
        assert torch.allclose(resampler(x_f), resampler(x_f[:, :, order]), atol=1e-5) == same
