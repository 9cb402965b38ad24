"""What is watched of a layer is worked out once for all layers and steps where text and image stand alike."""

import torch

from promptattn.maps.recorder import Watched
from promptattn.places import Places


def watched():
    return Watched(
        groups=torch.tensor([[0, 1, 1]]),
        columns=2,
        key_rows=torch.tensor([1, 2, 4]),
        text_rows=torch.tensor([1, 2]),
        patches=[(0.0, 0.5), (0.9, 0.0)],
    )


def test_places_that_are_equal_share_their_selection():
    each = watched()
    places = Places(grid=(4, 6), image=slice(0, 24), text=slice(24, 31))
    found = each.select("image->image", places)
    assert found.keys.tolist() == [3, 18]
    assert each.select("image->image", Places((4, 6), slice(0, 24), slice(24, 31))) is found
    assert each.select("image->text", places).keys.tolist() == [25, 26, 28]
    assert watched().select("image->image", places) is not found


def test_places_that_differ_in_any_way_do_not():
    each = watched()
    places = Places(grid=(4, 6), image=slice(0, 24), text=slice(24, 31))
    others = [
        Places((6, 4), slice(0, 24), slice(24, 31)),
        Places((4, 6), slice(7, 31), slice(0, 7)),
        Places((4, 6), slice(0, 24), None),
        Places((4, 6), slice(0, 24), slice(24, 31), image_keys=slice(31, 55)),
    ]
    found = [each.select("image->image", place).keys.tolist() for place in (places, *others)]
    assert found == [[3, 18], [2, 20], [10, 25], [3, 18], [34, 49]]
    assert len({id(each.select("image->image", place)) for place in (places, *others)}) == 5
