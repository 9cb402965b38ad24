import pytest
import torch

from promptattn.errors import CaptureError
from promptattn.processors import recognise


def embeds(*seeds):
    return torch.stack([torch.randn(5, 4, generator=torch.Generator().manual_seed(seed)) for seed in seeds])


A, B, N, M = (embeds(seed)[0] for seed in range(4))


def read(rows, positive, negative=None, **options):
    negative = None if negative is None else torch.stack(negative)
    blocks = recognise(torch.stack(rows), torch.stack(positive), negative, **options)
    return [(block.kind, block.start, block.stop, block.images_per_prompt) for block in blocks]


@pytest.mark.parametrize(
    ("rows", "positive", "negative", "expected"),
    [
        pytest.param([A], [A], [N], [("positive", 0, 1, 1)], id="no guidance"),
        pytest.param([N, A], [A], [N], [("negative", 0, 1, 1), ("positive", 1, 2, 1)], id="guidance"),
        pytest.param([A, N], [A], [N], [("positive", 0, 1, 1), ("negative", 1, 2, 1)], id="positive first"),
        pytest.param([N], [A], [N], [("negative", 0, 1, 1)], id="two passes, the negative one"),
        pytest.param([A, A, A], [A], [N], [("positive", 0, 3, 3)], id="three images"),
        pytest.param([N, N, A, A], [A], [N], [("negative", 0, 2, 2), ("positive", 2, 4, 2)], id="two images, guided"),
        pytest.param([A, A, B, B], [A, B], [N, M], [("positive", 0, 4, 2)], id="two prompts, two images each"),
        pytest.param(
            [N, M, A, B], [A, B], [N, M], [("negative", 0, 2, 1), ("positive", 2, 4, 1)], id="two prompts, guided"
        ),
        pytest.param([A, A], [A, A], None, [("positive", 0, 2, 1)], id="the same prompt twice"),
        pytest.param([M], [A], [N], [], id="somebody else's text"),
        pytest.param([N, M], [A], [N], [], id="half somebody else's"),
    ],
)
def test_rows_are_recognised_by_their_text(rows, positive, negative, expected):
    assert read(rows, positive, negative) == expected


def test_perturbed_attention_guidance_repeats_the_positive_rows():
    guided = [("negative", 0, 1, 1), ("positive", 1, 2, 1), ("positive", 2, 3, 1)]
    assert read([N, A, A], [A], [N], perturbed=True) == guided
    assert read([A, A], [A], [N], perturbed=True) == [("positive", 0, 1, 1), ("positive", 1, 2, 1)]
    assert read([A, A], [A], [N]) == [("positive", 0, 2, 2)]


def test_equal_texts_are_told_apart_by_order():
    assert read([A, A], [A], [A], images_per_prompt=1) == [("negative", 0, 1, 1), ("positive", 1, 2, 1)]
    assert read([A, A], [A], [A], images_per_prompt=1, negative_first=False) == [
        ("positive", 0, 1, 1),
        ("negative", 1, 2, 1),
    ]


def test_equal_texts_are_told_apart_by_whether_there_is_guidance():
    assert read([A, A], [A], [A], guided=True) == [("negative", 0, 1, 1), ("positive", 1, 2, 1)]
    assert read([A, A], [A], [A], guided=False) == [("positive", 0, 2, 2)]


def test_what_order_cannot_tell_is_refused_with_the_way_out():
    with pytest.raises(CaptureError, match="num_images_per_prompt"):
        read([A, A], [A], [A])


def test_half_precision_embeddings_are_still_recognised():
    blocks = recognise(torch.stack([N, A]).half(), A[None], N[None])
    assert [block.kind for block in blocks] == ["negative", "positive"]
