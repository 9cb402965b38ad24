"""Colour scales: as many steps as they should have, rising evenly in lightness."""

import numpy as np
import pytest

from promptattn.errors import ConfigError
from promptattn.maps import COLORMAPS, colorize, colormap


def lightness(table):
    """OKLab lightness of sRGB colours (Ottosson 2020)."""
    srgb = table / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    to_lms = np.array(
        [
            [0.4122214708, 0.5363325363, 0.0514459929],
            [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005],
        ]
    )
    return np.cbrt(linear @ to_lms.T) @ np.array([0.2104542553, 0.7936177850, -0.0040720468])


def test_ember_rises_evenly_in_lightness():
    light = lightness(colormap("ember"))
    np.testing.assert_allclose(light, np.linspace(light[0], light[-1], 256), atol=0.02)
    assert light[0] < 0.2
    assert light[-1] > 0.9


@pytest.mark.parametrize("name", COLORMAPS)
def test_every_scale_rises(name):
    table = colormap(name)
    assert table.shape == (256, 3)
    assert table.dtype == np.uint8
    assert (np.diff(lightness(table)[::8]) > 0).all()


def test_cubehelix_is_the_published_formula():
    # Green 2011: at level 1/2 with start 0.5, rotations -1.5, hue 1, the angle is 2 pi (1/6 - 3/4).
    phi = 2 * np.pi * (0.5 / 3 - 0.75)
    red = 0.5 + 0.125 * (-0.14861 * np.cos(phi) + 1.78277 * np.sin(phi))
    assert abs(int(colormap("cubehelix")[128][0]) - 255 * red) < 3


def test_out_of_range_values_are_clipped():
    colors = colorize(np.array([-1, 0, 1, 2, np.nan]), "gray")
    assert colors[:, 0].tolist() == [0, 0, 255, 255, 0]


def test_jet_is_not_on_offer():
    with pytest.raises(ConfigError, match="no colormap 'jet'; choose one of cubehelix, ember, gray"):
        colormap("jet")
