"""Denoisers that the table does not know are found out by trying: the same layout, weights and maps as the table's."""

import contextlib
import dataclasses
import functools
import json
import re
import warnings

import pytest
import torch
from families.facts import TABLE
from families.family import NEGATIVE, PROMPT
from families.registry import FAMILIES
from families.test_served import SERVED, attend, denoiser_of, ours, stock

import promptattn
from promptattn.discovery import layout_for
from promptattn.errors import PromptAttnWarning, UnsupportedModelError
from promptattn.maps.capture import Capture
from promptattn.processors.install import attention_layers
from promptattn.processors.layouts import ADDING_KEYS, FOUND, LAYOUTS, layout_of
from promptattn.processors.refused import REFUSED
from promptattn.processors.segments import FOUND_TEXTS, TEXT_LAYOUTS

FACTS = json.loads(TABLE.read_text())
WEIGHTED = PROMPT.replace("cat", "(cat:1.8)").replace("red", "(red:0)"), NEGATIVE.replace("ugly", "(ugly:2)")


pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture(autouse=True)
def tables_in_their_order():
    """What is forgotten and put back stands last in its table; the order is that of docs/models.md."""
    before = [(table, dict(table)) for table in (LAYOUTS, ADDING_KEYS, TEXT_LAYOUTS)]
    yield
    for table, entries in before:
        table.clear()
        table.update(entries)


@pytest.fixture
def unknown(monkeypatch):
    """Make the class of a denoiser one that no table knows."""

    def forget(denoiser):
        monkeypatch.delitem(LAYOUTS, type(denoiser).__name__)
        monkeypatch.delitem(ADDING_KEYS, type(denoiser).__name__, raising=False)
        monkeypatch.delitem(TEXT_LAYOUTS, type(denoiser).__name__, raising=False)

    return forget


def _state(pipe, denoiser):
    layers = {name: layer.processor for name, layer in attention_layers(denoiser).items()}
    hooks = [len(each._forward_pre_hooks) + len(each._forward_hooks) for each in denoiser.modules()]
    return layers, hooks, dict(vars(pipe)), dict(vars(pipe.scheduler)), torch.get_rng_state().tolist()


FOUND_WHOLE = (
    "stable-diffusion-1",
    "sdxl",
    "sdxl-refiner",
    "sd3.5-dual",
    "flux-true-cfg",
    "chroma",
    "aura-flow",
    "pixart-sigma",
    "qwen-image",
)
# Of a class and in a way of being called that another family has too.
LIKE_ANOTHER = ("stable-diffusion-2", "lcm", "sd3", "flux", "pixart-alpha")
# Their pipelines' own defaults ask for layers that a tiny text encoder does not have.
NOT_BY_DEFAULT = tuple(name for name in SERVED if "text_encoder_out_layers" in FAMILIES[name].call)
# What their pipelines make of embeddings that they are given is not tried: of these the table knows that they must be
# given texts, and then no mask has to be told.
SPOKEN_BY_THE_TABLE = ("bria", "cogview3-plus", "kandinsky-3", "lumina", "lumina2", "ovis")


def _can_be_found(pipe, denoiser):
    with contextlib.suppress(UnsupportedModelError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        layout_for(pipe, denoiser)
    return denoiser in FOUND


@pytest.mark.parametrize("name", [name for name in SERVED if name not in (*LIKE_ANOTHER, *NOT_BY_DEFAULT)])
def test_what_is_found_is_what_the_table_says_or_nothing(name, unknown):
    pipe = FAMILIES[name].make()
    denoiser = denoiser_of(pipe, name)
    table, text = layout_of(denoiser), TEXT_LAYOUTS.get(type(denoiser).__name__)
    kinds = table.layers(denoiser)
    before = _state(pipe, denoiser)
    unknown(denoiser)
    if name not in FOUND_WHOLE and not _can_be_found(pipe, denoiser):
        with pytest.raises(UnsupportedModelError, match="is not a denoiser that promptattn knows, and where"):
            layout_for(pipe, denoiser)
        assert _state(pipe, denoiser) == before
        return
    FOUND.pop(denoiser, None)
    with pytest.warns(PromptAttnWarning) as told:
        found = layout_for(pipe, denoiser)
    assert _state(pipe, denoiser) == before
    (message,) = {str(each.message) for each in told if issubclass(each.category, PromptAttnWarning)}
    assert message.startswith(f"{type(denoiser).__name__} is not a denoiser that promptattn knows; tried with")
    assert f"its text as {table.text} (" in message
    assert f"its latents as {table.sample} (" in message
    assert layout_for(pipe, denoiser) is found is FOUND[denoiser] is layout_of(denoiser)

    assert found.layers(denoiser) == kinds
    for attribute in ("attention", "text", "sample", "timestep", "mask", "before_text"):
        if attribute != "mask" or name not in SPOKEN_BY_THE_TABLE:
            assert getattr(found, attribute) == getattr(table, attribute), attribute
    assert "joint" not in kinds.values() or found.text_first == table.text_first
    assert found.pooled in ((), table.pooled)
    for size in ((64, 64), (32, 48), (20, 40)):
        assert found.grids(size, denoiser.config) == table.grids(size, denoiser.config)
    if text is not None and name not in SPOKEN_BY_THE_TABLE:
        assert dataclasses.replace(FOUND_TEXTS[denoiser], needed=text.needed) == text


@pytest.mark.parametrize("name", FOUND_WHOLE)
def test_weights_and_maps_are_those_of_the_table_to_the_bit(name, unknown):
    pipe, family = FAMILIES[name].make(), FAMILIES[name]
    denoiser = denoiser_of(pipe, name)
    capture = Capture(per_step=True, patches=[(0.3, 0.7)])

    def run():
        with attend(pipe, family, *WEIGHTED, capture=capture) as attended:
            return ours(pipe, family, attended), attended.maps

    expected, table = run()
    unknown(denoiser)
    with pytest.warns(PromptAttnWarning, match="tried with changed prompts"):
        image, found = run()
    assert torch.equal(image, expected)
    assert [each.name for each in found.records] == [each.name for each in table.records]
    for one, other in zip(found.records, table.records, strict=True):
        assert (one.per_step == other.per_step).all()
    for one, other in zip(found.patches, table.patches, strict=True):
        assert (one.mass == other.mass).all()


@pytest.mark.parametrize(("name", "places"), [("sd3", {(6, 4)}), ("stable-diffusion-1", {(12, 8), (6, 4)})])
def test_sizes_and_images_of_later_calls_are_their_own(name, places, unknown):
    pipe, family = FAMILIES[name].make(), FAMILIES[name]
    size = dict(height=24, width=16)
    expected = stock(pipe, family, num_images_per_prompt=2, **size)
    unknown(denoiser_of(pipe, name))
    with pytest.warns(PromptAttnWarning, match="tried"):
        run = attend(pipe, family, num_images_per_prompt=2)
    with run:
        assert torch.equal(ours(pipe, family, run, **size), expected)
    assert run.maps.image(1)["cat"].array.shape == (24, 16)
    assert {record.grid for record in run.maps.records} == places


def _without_own_keys(pipe):
    """The text reaches the image by way of one pooled row."""
    project = pipe.transformer.context_embedder
    project.forward = lambda text: torch.nn.Linear.forward(project, text.mean(1, keepdim=True).expand_as(text))


def _shuffled(pipe):
    project = pipe.transformer.context_embedder
    project.forward = lambda text: torch.nn.Linear.forward(project, text.flip(1))


def _column_by_column(pipe):
    embed = pipe.transformer.pos_embed
    forward = embed.forward
    embed.forward = lambda latents: forward(latents.mT.contiguous())


def _failing(pipe):
    def encode_prompt(*args, **kwargs):
        raise ValueError("there is no dictionary")

    pipe.encode_prompt = encode_prompt


@pytest.mark.parametrize(
    ("break_it", "reason"),
    [
        (_without_own_keys, "none of its attention layers has keys that go with rows of the text, one by one"),
        (_shuffled, "in transformer_blocks.0.attn the rows of text and image are not two runs, each in its order"),
        (_column_by_column, "in transformer_blocks.0.attn the places of the image do not follow each other row by row"),
        (_failing, "called with a prompt it said: ValueError: there is no dictionary"),
    ],
)
def test_what_cannot_be_told_is_refused_with_the_reason(unknown, break_it, reason):
    pipe = FAMILIES["sd3"].make()
    unknown(pipe.transformer)
    break_it(pipe)
    before = _state(pipe, pipe.transformer)
    with pytest.raises(UnsupportedModelError, match=re.escape(reason)):
        promptattn.attend(pipe, PROMPT)
    assert _state(pipe, pipe.transformer) == before
    assert pipe.transformer not in FOUND


def test_a_text_in_two_arguments_is_refused(monkeypatch):
    monkeypatch.delitem(REFUSED, "HunyuanDiT2DModel", raising=False)
    monkeypatch.delitem(LAYOUTS, "HunyuanDiT2DModel", raising=False)
    with pytest.raises(UnsupportedModelError, match=r"its text should be one argument .* encoder_hidden_states_t5"):
        promptattn.attend(FAMILIES["hunyuan-dit"].make(), PROMPT)


def test_a_text_encoder_that_reads_a_template_is_refused(unknown):
    pipe = FAMILIES["flux"].make()
    unknown(pipe.transformer)
    own = pipe.encode_prompt

    @functools.wraps(own)
    def encode_prompt(prompt=None, **options):
        return own([f"Draw this: {each}" for each in ([prompt] if isinstance(prompt, str) else prompt)], **options)

    pipe.encode_prompt = encode_prompt
    with pytest.raises(UnsupportedModelError, match="lets text_encoder_2 read other tokens than those of the prompt"):
        promptattn.attend(pipe, PROMPT)


def test_a_denoiser_that_is_refused_by_name_is_not_tried():
    with pytest.raises(UnsupportedModelError, match="cannot be attended: it is its own text encoder"):
        promptattn.attend(FAMILIES["omnigen"].make(), PROMPT)
