"""One layer's state, where an attention call has some rows of the batch only."""

import pytest
import torch

from promptattn.core import Columns, KeyWeights
from promptattn.errors import UnsupportedModelError
from promptattn.processors.site import Site

OPTIONS = dict(mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False)


def tensors(rows=3):
    noise = torch.Generator().manual_seed(0)
    return [torch.randn(rows, 2, 5, 4, generator=noise) for _ in range(3)]


def site_of(weight, into):
    site = Site("layer")
    site.key_weights = KeyWeights(torch.tensor([1]), weight)
    site.columns = [lambda queries: Columns(torch.tensor([1]), batch_rows=slice(1, 2), into=into)]
    site.batch, site.rows = len(weight), slice(1, 2)
    return site


@pytest.mark.parametrize("parts", [(2, 1), (1, 2), (1, 1, 1)])
def test_a_batch_in_parts_is_weighed_and_recorded_as_the_whole(parts):
    weight = torch.tensor([[0.0], [3.0], [0.5]])
    whole, pieces = torch.zeros(1, 5, 1), torch.zeros(1, 5, 1)
    given = tensors()
    expected = site_of(weight, whole).attend(*given, **OPTIONS)
    site = site_of(weight, pieces)
    for _ in range(2):  # the next call begins anew
        found = [site.attend(*part, **OPTIONS) for part in zip(*(each.split(parts) for each in given), strict=True)]
        torch.testing.assert_close(torch.cat(found), expected)
    torch.testing.assert_close(pieces, 2 * whole)


def test_a_part_that_was_not_finished_is_forgotten():
    site = site_of(torch.ones(3, 1), torch.zeros(1, 5, 1))
    site.attend(*tensors(2), **OPTIONS)
    site.clear()
    again = site_of(torch.tensor([[2.0], [1.0], [1.0]]), torch.zeros(1, 5, 1))
    site.key_weights, site.batch = again.key_weights, 3
    first = tensors(1)
    torch.testing.assert_close(site.attend(*first, **OPTIONS), again.attend(*first, **OPTIONS))


def test_rows_that_are_recorded_together_and_come_apart_are_refused():
    site = site_of(torch.ones(3, 1), torch.zeros(2, 5, 1))
    site.rows = slice(1, 3)
    with pytest.raises(UnsupportedModelError, match="rows 0 to 2 of its batch by themselves, and rows 1 to 3"):
        site.attend(*tensors(2), **OPTIONS)
