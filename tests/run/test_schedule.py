import pytest
import tiny_pipelines as tiny
import torch
from swapping import by_callback, by_hook, generate, words_at

import promptattn
from promptattn.errors import PromptAttnWarning

RED, BLUE = "a red cat and a mouse", "a blue dog, and a mouse"
PROMPT = "a [red cat:blue dog,:{}] and a mouse"
NEGATIVE = "ugly, blurry"
GUIDED = {**tiny.PIPELINES, "sd3": tiny.sd3, "sd3-no-t5": tiny.JOINT_PIPELINES["sd3-no-t5"]}


@pytest.fixture(params=list(GUIDED))
def pipe(request):
    return GUIDED[request.param]()


@pytest.fixture
def sd():
    return tiny.sd()


def scheduled(pipe, prompt, negative=None, attend=None, **options):
    with promptattn.attend(pipe, prompt, negative, **(attend or {})) as run:
        return generate(pipe, **run.inputs, **options)


@pytest.mark.parametrize("guidance", [5.0, 1.0])
@pytest.mark.parametrize("capture", [True, False])
def test_the_text_switches_as_by_the_pipelines_own_callback(pipe, guidance, capture):
    negative = NEGATIVE if guidance > 1 else None
    expected = by_callback(pipe, [(0, RED), (3, BLUE)], negative, guidance_scale=guidance)
    for when in ("3", "0.75"):
        ours = scheduled(pipe, PROMPT.format(when), negative, dict(capture=capture), guidance_scale=guidance)
        assert torch.equal(ours, expected)
    assert not torch.equal(expected, generate(pipe, RED, negative_prompt=negative, guidance_scale=guidance))


def test_one_run_serves_any_number_of_steps(pipe):
    counts = (4, 2, 6, 4)
    expected = [by_callback(pipe, [(0, RED), (steps // 2, BLUE)], NEGATIVE, steps=steps) for steps in counts]
    with promptattn.attend(pipe, PROMPT.format("0.5"), NEGATIVE) as run:
        for steps, image in zip(counts, expected, strict=True):
            assert torch.equal(generate(pipe, **run.inputs, steps=steps), image)
            assert run.maps.meta["steps"] == steps


def test_alternation_swaps_at_every_step(pipe):
    expected = by_callback(pipe, [(0, RED), (1, BLUE), (2, RED), (3, BLUE)], NEGATIVE)
    assert torch.equal(scheduled(pipe, "a [red cat|blue dog,] and a mouse", NEGATIVE), expected)


def test_what_never_changes_is_the_plain_prompt_to_the_bit(pipe):
    plain = generate(pipe, RED, negative_prompt=NEGATIVE)
    with pytest.warns(PromptAttnWarning, match="never switches"):
        assert torch.equal(scheduled(pipe, PROMPT.format("9"), NEGATIVE), plain)
    with pytest.warns(PromptAttnWarning, match="before the first"):
        assert torch.equal(scheduled(pipe, "a [blue dog:red cat:0] and a mouse", NEGATIVE), plain)
    assert torch.equal(scheduled(pipe, "a [red|red] cat and a mouse", NEGATIVE), plain)


@pytest.mark.parametrize("guidance", [True, False])
@pytest.mark.parametrize("negative", [None, NEGATIVE])
def test_flux_switches_text_and_pooled_embeddings(guidance, negative):
    pipe = tiny.flux(guidance)
    options = dict(true_cfg_scale=3.0) if negative else {}
    calls = 2 if negative else 1

    def texts(call, given):
        return words_at(pipe, BLUE) if call // calls >= 3 and call % calls == 0 else None

    with by_hook(pipe.transformer, texts):
        expected = generate(pipe, RED, negative_prompt=negative, **options)
    assert torch.equal(scheduled(pipe, PROMPT.format("3"), negative, **options), expected)
    assert not torch.equal(expected, generate(pipe, RED, negative_prompt=negative, **options))
