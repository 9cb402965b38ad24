"""Every embedding method against its literal self, on every kind of pipeline: embeddings, pooled vectors, windows."""

import warnings

import embedding_oracles as oracle
import numpy as np
import pytest
import tiny_pipelines as tiny
import torch

from promptattn.errors import PromptAttnWarning
from promptattn.prompt import plan
from promptattn.run.text.encoding import encode
from promptattn.weighting import EMBEDDING_METHODS, NORMALISATIONS, EmbeddingWeighting

KINDS = {**tiny.PIPELINES, **{kind: tiny.JOINT_PIPELINES[kind] for kind in ("sd3", "sd3-no-t5", "flux")}}
LENGTH = 40
PLUS, COMMA = "+</w>", ","


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def pipe(kind):
    return oracle.lively(KINDS[kind]())


def plans_of(pipe, prompts):
    length = LENGTH if hasattr(pipe, "transformer") else None
    plans = [plan(pipe, oracle.written(segments), max_sequence_length=length).encoders for segments in prompts]
    chunks = max(len(each.chunks) for prompt in plans for each in prompt)
    return [tuple(each.padded(chunks) for each in prompt) for prompt in plans]


def encoded(pipe, prompts, method, **options):
    length = LENGTH if hasattr(pipe, "transformer") else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PromptAttnWarning)
        return encode(pipe, plans_of(pipe, prompts), weighting=method, max_sequence_length=length, **options)


def tokenizer_of(pipe, name):
    return getattr(pipe, name.replace("text_encoder", "tokenizer"))


def mask_of(pipe, name):
    vocabulary = tokenizer_of(pipe, name).get_vocab()
    return vocabulary.get(PLUS, vocabulary.get(COMMA))


def weighted_by_hand(method, each, windows, read, token):
    if method.method == "a1111":
        return oracle.a1111(windows, read, method.restore_mean)
    if method.method in ("comfy", "compel"):
        return getattr(oracle, method.method)(windows, read, list(each.empty_chunk.ids))
    return {"comfy++": oracle.comfy_plus, "down_weight": oracle.down_weight}[method.method](windows, read, token)


def by_hand(pipe, prompts, method, clip_skip=None):
    """`[prompt, row, channel]`, float64."""
    result = []
    for segments, plans in zip(prompts, plans_of(pipe, prompts), strict=True):
        blocks = {}
        for each in plans:
            windows = oracle.windows_of(each, tokenizer_of(pipe, each.name), segments)
            if method.normalisation != "none":
                windows = oracle.normalise(windows, method.normalisation)
            read = oracle.reader(pipe, each.name, clip_skip)
            blocks[each.name] = weighted_by_hand(method, each, windows, read, mask_of(pipe, each.name))
        result.append(oracle.joined(pipe, blocks, LENGTH))
    return np.stack(result)


def assert_same(ours, expected, within=1e-10):
    assert ours.shape == expected.shape
    assert np.abs(ours - expected).max() <= within * np.abs(expected).max()


METHODS = [EmbeddingWeighting(name) for name in EMBEDDING_METHODS] + [EmbeddingWeighting("a1111", restore_mean=False)]
NAMES = [f"{each.method}{'' if each.restore_mean else ', no norm'}" for each in METHODS]


@pytest.mark.parametrize("method", METHODS, ids=NAMES)
def test_a_batch_is_weighted_as_by_its_tool(pipe, method):
    prompts = [oracle.SAMPLE, oracle.PLAIN, oracle.OTHER, oracle.UP]
    ours = encoded(pipe, prompts, method).embeds.numpy()
    assert_same(ours, by_hand(pipe, prompts, method))
    plain = encoded(pipe, [[(oracle.clean(each), 1.0)] for each in prompts], method).embeds.numpy()
    moved = np.abs(ours - plain).max((1, 2)) > 1e-3
    assert list(moved) == [True, False, True, True]


@pytest.mark.parametrize("method", METHODS, ids=NAMES)
@pytest.mark.parametrize("kind", tiny.PIPELINES, indirect=True)
def test_long_prompts_are_weighted_in_all_their_windows(pipe, kind, method):
    prompts = [oracle.LONG, oracle.SAMPLE]
    ours = encoded(pipe, prompts, method).embeds.numpy()
    assert ours.shape[1] == 154
    assert_same(ours, by_hand(pipe, prompts, method))


@pytest.mark.parametrize("normalisation", NORMALISATIONS[1:])
@pytest.mark.parametrize("name", EMBEDDING_METHODS)
@pytest.mark.parametrize("kind", ["sdxl", "flux"], indirect=True)
def test_normalised_weights_are_those_of_the_tool(pipe, kind, name, normalisation):
    method = EmbeddingWeighting(name, normalisation=normalisation)
    prompts = [oracle.SAMPLE, oracle.UP]
    assert_same(encoded(pipe, prompts, method).embeds.numpy(), by_hand(pipe, prompts, method))


@pytest.mark.parametrize("method", METHODS, ids=NAMES)
@pytest.mark.parametrize("kind", ["sd", "sdxl", "sd3"], indirect=True)
def test_the_layer_that_clip_skip_chooses_is_weighted(pipe, kind, method):
    ours = encoded(pipe, [oracle.SAMPLE], method, clip_skip=1).embeds.numpy()
    assert_same(ours, by_hand(pipe, [oracle.SAMPLE], method, clip_skip=1))


@pytest.mark.parametrize("method", METHODS, ids=NAMES)
@pytest.mark.parametrize("kind", ["sdxl", "flux"])
def test_in_single_precision_it_is_the_formula_on_what_the_encoder_gave(kind, method):
    pipe = oracle.lively(KINDS[kind]())
    pipe.to(torch.float32)
    expected = by_hand(pipe, [oracle.SAMPLE], method)
    ours = encoded(pipe, [oracle.SAMPLE], method).embeds
    assert ours.dtype == torch.float32
    assert_same(ours.double().numpy(), expected, within=1e-6)


def pooled_by_hand(pipe, segments, method):
    plans = {each.name: each for each in plans_of(pipe, [segments])[0]}
    names = oracle.CLIPS if hasattr(pipe, "text_encoder_3") else oracle.CLIPS[1:]
    names = oracle.CLIPS[:1] if type(pipe).__name__ == "FluxPipeline" else names
    weigh = {"comfy++": oracle.pooled_comfy_plus, "down_weight": oracle.pooled_down_weight}[method.method]
    parts = []
    for name in names:
        windows = oracle.windows_of(plans[name], tokenizer_of(pipe, name), segments)
        parts.append(weigh(windows, oracle.pooler(pipe, name), mask_of(pipe, name)))
    return np.concatenate(parts)


@pytest.mark.parametrize("name", ["comfy++", "down_weight"])
@pytest.mark.parametrize("kind", ["sdxl", "sd3", "flux"], indirect=True)
def test_pooled_embeddings_are_weighted_on_demand(pipe, kind, name):
    prompts = [oracle.SAMPLE, oracle.PLAIN, oracle.OTHER, oracle.UP]
    ours = encoded(pipe, prompts, EmbeddingWeighting(name, pooled=True))
    left = encoded(pipe, prompts, EmbeddingWeighting(name))
    plain = encoded(pipe, [[(oracle.clean(each), 1.0)] for each in prompts], EmbeddingWeighting(name))
    assert torch.equal(left.pooled, plain.pooled)
    assert torch.equal(left.embeds, ours.embeds)
    assert torch.equal(ours.pooled[1], plain.pooled[1])
    method = EmbeddingWeighting(name, pooled=True)
    for number in (0, 2, 3):
        assert (ours.pooled[number] - plain.pooled[number]).abs().max() > 1e-3
        assert_same(ours.pooled[number].numpy(), pooled_by_hand(pipe, prompts[number], method))


@pytest.mark.parametrize("name", EMBEDDING_METHODS)
@pytest.mark.parametrize("kind", ["sdxl", "sd3", "flux"], indirect=True)
def test_the_pooled_embedding_is_that_of_the_clean_text(pipe, kind, name):
    ours = encoded(pipe, [oracle.SAMPLE, oracle.OTHER], EmbeddingWeighting(name)).pooled
    clean = [[(oracle.clean(each), 1.0)] for each in (oracle.SAMPLE, oracle.OTHER)]
    assert torch.equal(ours, encoded(pipe, clean, EmbeddingWeighting(name)).pooled)


@pytest.mark.parametrize("kind", tiny.PIPELINES, indirect=True)
def test_what_stands_between_two_breaks_is_blended_by_itself(pipe, kind):
    method = EmbeddingWeighting("compel")
    broken = [tuple(plan(pipe, "a (red cat:0.5) BREAK a (dog:1.2) and a (mouse:0.3)").encoders)]
    parts = [[("a ", 1.0), ("red cat", 0.5)], [("a ", 1.0), ("dog", 1.2), (" and a ", 1.0), ("mouse", 0.3)]]
    ours = encode(pipe, broken, weighting=method).embeds
    alone = [encoded(pipe, [part], method).embeds for part in parts]
    assert_same(ours.numpy(), torch.cat(alone, dim=1).numpy())


def test_attention_between_words_is_recorded_of_the_prompt_itself(pipe, kind):
    clean = [[(oracle.clean(oracle.SAMPLE), 1.0)]]
    plain = encoded(pipe, clean, EmbeddingWeighting("comfy"), record=True)
    for name in EMBEDDING_METHODS:
        ours = encoded(pipe, [oracle.SAMPLE], EmbeddingWeighting(name), record=True)
        assert [each.encoder for each in ours.maps] == [each.encoder for each in plain.maps]
        assert all(torch.equal(one.mass, other.mass) for one, other in zip(ours.maps, plain.maps, strict=True))
