"""The table of layouts against the models: what moves in the keys of the first layer when one row of text is moved."""

import inspect
from contextlib import contextmanager

import pytest
import tiny_pipelines as tiny
import torch
from families.registry import FAMILIES

import promptattn
from promptattn.errors import UnsupportedModelError
from promptattn.processors.layouts import LAYOUTS, PROJECTING, layout_of
from promptattn.processors.rows import recognise
from promptattn.processors.segments import TEXT_LAYOUTS

KINDS = {
    "UNet2DConditionModel": tiny.sd,
    "SD3Transformer2DModel": tiny.sd3,
    "FluxTransformer2DModel": tiny.flux,
    "ChromaTransformer2DModel": FAMILIES["chroma"].make,
    "AuraFlowTransformer2DModel": FAMILIES["aura-flow"].make,
    "PixArtTransformer2DModel": FAMILIES["pixart-sigma"].make,
}
LENGTH = 24

# The others are given their prompts as text; `families` looks at what their layers attend to.
GIVEN_EMBEDDINGS = [name for name in LAYOUTS if not (name in TEXT_LAYOUTS and TEXT_LAYOUTS[name].spoken)]


class Stopped(Exception):
    pass


@pytest.fixture(params=GIVEN_EMBEDDINGS)
def name(request):
    return request.param


@pytest.fixture
def pipe(name):
    assert set(KINDS) == set(GIVEN_EMBEDDINGS), "every layout is to be tested with a pipeline"
    return KINDS[name]()


def denoiser_of(pipe):
    return pipe.unet if hasattr(pipe, "unet") else pipe.transformer


def call_of(pipe, prompt="a red cat", negative="ugly", **options):
    """What the pipeline calls its denoiser with first: keyword arguments of its forward."""
    caught = {}

    def catch(denoiser, args, kwargs):
        caught.update(inspect.signature(denoiser.forward).bind_partial(*args, **kwargs).arguments)
        raise Stopped

    if hasattr(pipe, "transformer"):
        options["max_sequence_length"] = LENGTH
    handle = denoiser_of(pipe).register_forward_pre_hook(catch, with_kwargs=True)
    if "use_resolution_binning" in inspect.signature(pipe.__call__).parameters:
        options["use_resolution_binning"] = False
    options |= dict(height=32, width=24, generator=torch.Generator().manual_seed(0))
    try:
        with pytest.raises(Stopped):
            pipe(prompt, negative_prompt=negative, **options)
    finally:
        handle.remove()
    return caught


@contextmanager
def layers_called(denoiser, name):
    """Collects the number of queries and the keys `[batch, head, key, channel]` of one layer's attention."""
    found, stock = [], torch.nn.functional.scaled_dot_product_attention
    inside = []

    def watching(query, key, value, *args, **options):
        if inside:
            found.append((query.shape[2], key.detach().clone()))
        return stock(query, key, value, *args, **options)

    layer = denoiser.get_submodule(name)
    handles = [
        layer.register_forward_pre_hook(lambda *_: inside.append(1)),
        layer.register_forward_hook(lambda *_: inside.clear()),
    ]
    torch.nn.functional.scaled_dot_product_attention = watching
    try:
        yield found
    finally:
        torch.nn.functional.scaled_dot_product_attention = stock
        for handle in handles:
            handle.remove()


@torch.no_grad()
def keys_of(denoiser, layer, call):
    with layers_called(denoiser, layer) as found:
        denoiser(**call)
    ((queries, keys),) = found
    return queries, keys


def moved(one, other):
    """(batch row, key) pairs that differ."""
    return {tuple(each) for each in (one != other).any(dim=3).any(dim=1).nonzero().tolist()}


def first_reader(layout, denoiser):
    return next((name, kind) for name, kind in layout.layers(denoiser).items() if kind != "image")


def test_text_rows_are_those_that_move_with_the_text(pipe):
    denoiser = denoiser_of(pipe)
    layout, call = layout_of(denoiser), call_of(pipe)
    layer, kind = first_reader(layout, denoiser)
    queries, before = keys_of(denoiser, layer, call)
    seen = layout.read(denoiser, (), call)
    places = seen.places(kind, queries)
    assert before.shape[2] == seen.keys(kind)
    text = call[layout.text]
    assert places.text.stop - places.text.start == text.shape[1]
    for row in (0, 1, 7, text.shape[1] - 1):
        for image in range(len(text)):
            changed = text.clone()
            changed[image, row] += torch.randn(text.shape[2])
            _, after = keys_of(denoiser, layer, {**call, layout.text: changed})
            assert moved(before, after) == {(image, places.text.start + row)}


@pytest.mark.parametrize("name", [each for each in KINDS if "UNet" not in each and "PixArt" not in each])
def test_image_rows_are_those_that_move_with_the_latents(pipe, name):
    denoiser = denoiser_of(pipe)
    layout, call = layout_of(denoiser), call_of(pipe)
    layer, kind = first_reader(layout, denoiser)
    queries, before = keys_of(denoiser, layer, call)
    places = layout.read(denoiser, (), call).places(kind, queries)
    assert places.grid == (8, 6)
    for y, x in ((0, 0), (0, 5), (3, 2), (7, 0)):
        latents = call["hidden_states"].clone()
        if latents.ndim == 4:
            latents[:, :, 2 * y, 2 * x + 1] += 1
        else:
            ids = call["img_ids"]
            (place,) = ((ids[:, 1] == y) & (ids[:, 2] == x)).nonzero().flatten().tolist()
            latents[:, place] += 1
        _, after = keys_of(denoiser, layer, {**call, "hidden_states": latents})
        at = places.image.start + y * 6 + x
        assert moved(before, after) == {(image, at) for image in range(len(latents))}


@pytest.mark.parametrize("images", [1, 2])
def test_batch_rows_of_the_prompt_are_those_that_move_with_it(pipe, images):
    layout, options = layout_of(denoiser_of(pipe)), dict(num_images_per_prompt=images)
    texts = [call_of(pipe, prompt, **options)[layout.text] for prompt in ("a red cat", "a gray mouse")]
    rows = (texts[0] != texts[1]).flatten(1).any(dim=1)
    more = dict(max_sequence_length=LENGTH) if hasattr(pipe, "transformer") else {}
    with promptattn.attend(pipe, "a red cat", "ugly", capture=False, **more) as run:
        known = [run.inputs["prompt_embeds"], run.inputs["negative_prompt_embeds"]]
    blocks = recognise(texts[0], *known, negative_first=layout.negative_first)
    positive = torch.zeros(len(rows), dtype=torch.bool)
    for block in blocks:
        positive[block.rows] = block.kind == "positive"
        assert block.images_per_prompt == images
    assert torch.equal(rows, positive)


def test_a_denoiser_that_the_table_does_not_know_is_named():
    with pytest.raises(UnsupportedModelError, match=r"Linear is not a denoiser .* SD3Transformer2DModel"):
        layout_of(torch.nn.Linear(2, 2))


def test_kolors_is_told_by_its_projection_of_text_also_beside_an_ip_adapter():
    """An IP-Adapter takes the place of the projection, which diffusers then keeps under another name."""
    unet = FAMILIES["kolors"].make().unet
    assert layout_of(unet) is PROJECTING["UNet2DConditionModel"]
    unet.text_encoder_hid_proj = unet.encoder_hid_proj
    unet.register_to_config(encoder_hid_dim_type="ip_image_proj")
    assert layout_of(unet) is PROJECTING["UNet2DConditionModel"]
    assert layout_of(tiny.sdxl().unet) is LAYOUTS["UNet2DConditionModel"]
