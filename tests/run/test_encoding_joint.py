"""Text of SD3 and Flux: the pipeline's embeddings to the bit, weights in every encoder, and whose rows are whose."""

import pytest
import tiny_pipelines as tiny
import torch

from promptattn.errors import ConfigError, UnsupportedModelError
from promptattn.processors import TextEncoderAttention
from promptattn.processors.segments import Segment, segments_of
from promptattn.prompt import plan
from promptattn.run.text.encoding import encode, zeros_like
from promptattn.weighting import Weighting

LENGTH = 24
ODDS = Weighting("both", "exact")
CLIPS, T5 = ("text_encoder", "text_encoder_2"), ("text_encoder_3",)
SEGMENTS = {
    "sd3": (Segment(CLIPS, 0, 77), Segment(T5, 77, 77 + LENGTH)),
    "sd3-dual": (Segment(CLIPS, 0, 77), Segment(T5, 77, 77 + LENGTH)),
    "sd3-no-t5": (Segment(CLIPS, 0, 77), Segment((), 77, 77 + LENGTH)),
    "flux": (Segment(("text_encoder_2",), 0, LENGTH),),
}
PROMPTS = ["a red cat and a gray mouse", "un gato rojo persigue a un ratón gris"]
# One that both windows cut, and one that T5's alone cuts.
LONG = ["a blurry house, " * 20, "an ugly blurry picture of a house, a castle, a dog, and the green hills"]


@pytest.fixture(params=tiny.JOINT_PIPELINES)
def name(request):
    return request.param


@pytest.fixture
def pipe(name):
    return tiny.JOINT_PIPELINES[name]()


def plans_of(pipe, prompts, length=LENGTH):
    return [plan(pipe, prompt, max_sequence_length=length).encoders for prompt in prompts]


def encoded(pipe, prompts, length=LENGTH, **options):
    options.setdefault("weighting", ODDS)
    return encode(pipe, plans_of(pipe, prompts, length), max_sequence_length=length, **options)


@torch.no_grad()
def stock(pipe, prompts, **options):
    """The embeddings and pooled vectors of the pipeline's own encode_prompt."""
    options.setdefault("max_sequence_length", LENGTH)
    if hasattr(pipe, "text_encoder_3"):
        result = pipe.encode_prompt(prompts, None, None, do_classifier_free_guidance=False, **options)
        return result[0], result[2]
    return pipe.encode_prompt(prompts, **options)[:2]


def same(ours, theirs):
    return torch.equal(ours.embeds, theirs[0]) and torch.equal(ours.pooled, theirs[1])


@pytest.mark.parametrize("record", [False, True], ids=["", "recorded"])
@pytest.mark.parametrize("prompts", [PROMPTS[:1], PROMPTS, LONG], ids=["one", "batch", "cut"])
def test_without_weights_it_is_the_stock_encoding_to_the_bit(pipe, name, prompts, record):
    ours = encoded(pipe, prompts, record=record)
    assert same(ours, stock(pipe, prompts))
    assert ours.segments == SEGMENTS[name]
    read = {
        name: sorted({at for each in same for at, slot in enumerate(each.slots) if slot.kind != "padding"})
        for name, same in ((same[0].name, same) for same in zip(*plans_of(pipe, prompts), strict=True))
    }
    # Attention among the words, start and end; what a T5's rows give to its padding is left out.
    assert {found.encoder: found.rows.tolist() for found in ours.maps} == (read if record else {})
    for found in ours.maps:
        assert found.mass.shape[-2:] == (len(found.rows), len(found.rows))
        total = found.mass.sum(-1)
        whole = (
            torch.ones_like(total) if "clip" in getattr(pipe, found.encoder).config.model_type else total.clamp(0, 1)
        )
        torch.testing.assert_close(total, whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("kind", "length"), [("sd3", 256), ("sd3-no-t5", 256), ("flux", 512)])
def test_the_default_length_is_the_pipeline_s(kind, length):
    pipe = tiny.JOINT_PIPELINES[kind]()
    ours = encoded(pipe, PROMPTS[:1], length=None)
    assert same(ours, stock(pipe, PROMPTS[:1], max_sequence_length=length))
    assert ours.segments[-1].stop - ours.segments[-1].start == length


@torch.no_grad()
@pytest.mark.parametrize("kind", ["sd3", "flux"])
def test_an_image_from_these_embeddings_is_the_stock_image_to_the_bit(kind):
    pipe = tiny.JOINT_PIPELINES[kind]()
    options = dict(num_inference_steps=2, height=32, width=24, output_type="latent")
    options |= dict(guidance_scale=4.0) if kind == "sd3" else dict(true_cfg_scale=3.0)
    texts = [encoded(pipe, [text]) for text in ("a red cat", LONG[0])]
    inputs = {}
    for prefix, text in zip(("", "negative_"), texts, strict=True):
        inputs |= {f"{prefix}prompt_embeds": text.embeds, f"{prefix}pooled_prompt_embeds": text.pooled}
    ours = pipe(**inputs, **options, generator=torch.Generator().manual_seed(0)).images
    given = dict(prompt="a red cat", negative_prompt=LONG[0], max_sequence_length=LENGTH)
    assert torch.equal(ours, pipe(**given, **options, generator=torch.Generator().manual_seed(0)).images)


def test_an_encoder_speaks_in_its_own_rows_and_nowhere_else(pipe):
    before = encoded(pipe, PROMPTS)
    for own in (part.encoders for part in before.segments):
        for encoder in own:
            embeddings = getattr(pipe, encoder).get_input_embeddings().weight
            original = embeddings.detach().clone()
            with torch.no_grad():
                embeddings.add_(1.0)
                after = encoded(pipe, PROMPTS)
                embeddings.copy_(original)
            changed = (after.embeds != before.embeds).any(-1).all(0)
            rows = [set(range(part.start, part.stop)) for part in before.segments if encoder in part.encoders]
            assert [set(changed.nonzero().flatten().tolist())] == rows


def test_rows_of_an_encoder_that_is_none_are_zero():
    ours = encoded(tiny.JOINT_PIPELINES["sd3-no-t5"](), PROMPTS)
    (zeros,) = (part for part in ours.segments if not part.encoders)
    assert (ours.embeds[:, zeros.start : zeros.stop] == 0).all()
    assert (ours.embeds[:, : zeros.start] != 0).any(-1).all()


@pytest.mark.parametrize("kind", ["sd", "sdxl"])
@pytest.mark.parametrize("chunks", [1, 3])
def test_encoders_of_a_unet_stand_side_by_side_in_one_segment(kind, chunks):
    pipe = tiny.PIPELINES[kind]()
    plans = [tuple(each.padded(chunks) for each in plan(pipe, "a red cat").encoders)]
    ours = encode(pipe, plans, weighting=ODDS)
    assert ours.segments == (Segment(CLIPS if kind == "sdxl" else CLIPS[:1], 0, 77 * chunks),)
    assert (ours.pooled is None) == (kind == "sd")
    assert zeros_like(ours).segments == ours.segments


def test_weights_act_in_every_encoder(pipe):
    text, clean = "a (red:3) cat, a (persigue:0.4) ratón", "a red cat, a persigue ratón"
    plans = plans_of(pipe, [text])
    ours = encoded(pipe, [text])
    by_hand = [TextEncoderAttention(getattr(pipe, each.name)) for each in plans[0]]
    for attention, each in zip(by_hand, plans[0], strict=True):
        attention.weights = torch.tensor([each.chunks[0].weights])
        assert (attention.weights != 1).sum() >= 2
        attention.attach()
    expected = stock(pipe, [clean])
    for attention in by_hand:
        attention.detach()
    assert same(ours, expected)
    plain = stock(pipe, [clean])
    for part in ours.segments:
        moved = (ours.embeds - plain[0])[:, part.start : part.stop].abs().amax()
        assert moved > 1e-3 if part.encoders else moved == 0
    assert same(encoded(pipe, [text], weighting=Weighting("denoiser")), plain)


def test_clip_skip_of_sd3_reaches_the_clip_encoders_and_not_t5():
    pipe = tiny.sd3()
    for skip in (0, 1, 2):
        assert same(encoded(pipe, PROMPTS, clip_skip=skip), stock(pipe, PROMPTS, clip_skip=skip))
    with pytest.raises(ConfigError, match="clip_skip=3 leaves no layer: text_encoder has 3"):
        encoded(pipe, PROMPTS, clip_skip=3)


def test_flux_has_no_clip_skip():
    with pytest.raises(ConfigError, match="clip_skip=1: FluxPipeline has no clip_skip"):
        encoded(tiny.flux(), PROMPTS, clip_skip=1)


@pytest.mark.parametrize("missing", CLIPS)
@pytest.mark.parametrize("kind", ["sd3", "sd3-no-t5", "flux"])
def test_an_encoder_without_which_the_pipeline_cannot_encode_is_named(kind, missing):
    pipe = tiny.JOINT_PIPELINES[kind]()
    setattr(pipe, missing, None)
    match = f"{type(pipe).__name__} cannot encode a prompt without {missing}, which is None"
    with pytest.raises(UnsupportedModelError, match=match):
        encoded(pipe, PROMPTS)


def test_an_encoder_without_its_tokenizer_is_named():
    pipe = tiny.sd3()
    pipe.tokenizer_3 = None
    with pytest.raises(UnsupportedModelError, match="has text_encoder_3, but tokenizer_3 is None"):
        encoded(pipe, PROMPTS)


def test_a_tokenizer_without_its_encoder_is_as_none_of_both():
    pipe = tiny.sd3()
    pipe.text_encoder_3 = None
    ours = encoded(pipe, PROMPTS)
    assert same(ours, stock(pipe, PROMPTS))
    assert ours.segments == SEGMENTS["sd3-no-t5"]


@torch.no_grad()
@pytest.mark.parametrize("kind", ["sd3", "flux"])
@pytest.mark.parametrize(
    "casts",
    [
        {"transformer": torch.bfloat16},
        {"text_encoder_2": torch.bfloat16},
        {"text_encoder": torch.bfloat16, "text_encoder_2": torch.bfloat16},
        {"text_encoder": torch.float16, "transformer": torch.bfloat16},
    ],
    ids=str,
)
def test_encoders_of_another_dtype_than_the_denoiser(kind, casts):
    pipe = tiny.JOINT_PIPELINES[kind]()
    for part, dtype in casts.items():
        getattr(pipe, part).to(dtype)
    ours = encoded(pipe, PROMPTS)
    assert ours.embeds.dtype == ours.pooled.dtype == pipe.transformer.dtype
    theirs = stock(pipe, PROMPTS)
    assert same(ours, [each.to(pipe.transformer.dtype) for each in theirs])
    weighted = encoded(pipe, ["a (red:2) cat"])
    assert weighted.embeds.isfinite().all()
    options = dict(num_inference_steps=1, height=16, width=16, output_type="latent", guidance_scale=1.0)
    inputs = dict(prompt_embeds=weighted.embeds, pooled_prompt_embeds=weighted.pooled)
    assert pipe(**inputs, **options).images.isfinite().all()


def test_rows_that_the_windows_do_not_add_up_to_are_refused(pipe, name):
    plans = plans_of(pipe, PROMPTS)
    rows = SEGMENTS[name][-1].stop
    assert segments_of(pipe, plans, rows) == SEGMENTS[name]
    for wrong in [77] if name == "sd3-no-t5" else [rows - 1, rows + 1]:
        with pytest.raises(UnsupportedModelError, match=rf"gave {wrong} rows of text.*text_encoder 77"):
            segments_of(pipe, plans, wrong)


def test_another_length_than_the_planned_one_is_refused_and_nothing_stays_behind():
    pipe = tiny.flux()
    with pytest.raises(UnsupportedModelError, match=r"text_encoder_2 with ids of shape \(1, 30\) where \(1, 24\)"):
        encode(pipe, plans_of(pipe, ["a (red:2) cat"]), weighting=ODDS, max_sequence_length=30)
    for encoder in (pipe.text_encoder, pipe.text_encoder_2):
        assert not encoder._forward_pre_hooks
        assert not encoder._forward_hooks
        assert encoder.config._attn_implementation == "sdpa"
