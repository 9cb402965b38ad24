"""Bad and unusual input to joint attention: what is too long, missing or not the run's own; and maps on disk."""

import json
import re
from itertools import permutations

import numpy as np
import pytest
import tiny_pipelines as tiny
import torch
from joint_reference import joint_layers, recorded
from test_joint import EVERYTHING, GRID, NEGATIVE, PROMPT, attend, close, generate, mean_of, word_rows

import promptattn
from promptattn import Capture, HeatMaps
from promptattn.errors import CaptureError, ConfigError, PromptAttnWarning, UnsupportedModelError


@pytest.fixture(scope="module")
def unchanged():
    """Pipelines that no test leaves changed."""
    return {kind: tiny.JOINT_PIPELINES[kind]() for kind in ("sd3", "flux")}


LONG = "a red cat and a gray mouse, " + "a castle, " * 24 + "the green hills"


@pytest.mark.parametrize("kind", ["sd3", "flux"])
def test_a_prompt_longer_than_every_window_is_cut_said_and_not_shifted(unchanged, kind):
    pipe = unchanged[kind]
    with recorded(pipe.transformer) as calls:
        stock = generate(pipe, LONG, guidance=1.0)
    with pytest.warns(PromptAttnWarning, match="green hills") as caught, attend(pipe, LONG) as run:
        assert torch.equal(generate(pipe, **run.inputs, guidance=1.0), stock)
    assert {warning.filename for warning in caught} == {__file__}
    with pytest.raises(CaptureError, match=r"'hills' has no map: it was cut"):
        run.maps["hills"]
    name = next(iter(joint_layers(pipe.transformer)))
    to_text = mean_of(calls, name, "image", "text", 0).unflatten(0, GRID)
    for word, (_, copies) in zip(list(run.maps.words)[:7], word_rows(pipe, kind, LONG)[:7], strict=True):
        rows = [row for some in copies.values() for row in some]
        close(run.maps[word].at_layer(name), to_text[..., rows].sum(-1))


def test_words_that_t5_alone_cuts_are_those_of_clip(unchanged):
    pipe, prompt = unchanged["sd3"], "a castle, a dog, " * 6 + "the green hills"
    with recorded(pipe.transformer) as calls:
        generate(pipe, prompt, guidance=1.0)
    with pytest.warns(PromptAttnWarning, match=r"text_encoder_3.*hills"), attend(pipe, prompt) as run:
        generate(pipe, **run.inputs, guidance=1.0)
    name = next(iter(joint_layers(pipe.transformer)))
    to_text = mean_of(calls, name, "image", "text", 0).unflatten(0, GRID)
    copies = dict(word_rows(pipe, "sd3", prompt))["hills"]
    assert copies["text_encoder_3"] == []
    close(run.maps["hills"].at_layer(name), to_text[..., copies["text_encoder"]].sum(-1))


@pytest.mark.parametrize("kind", ["sd3", "flux"])
def test_a_negative_prompt_of_another_length(unchanged, kind):
    pipe = unchanged[kind]
    stock = generate(pipe, "a red cat", LONG)
    with pytest.warns(PromptAttnWarning, match="negative"), attend(pipe, "a red cat", LONG) as run:
        assert torch.equal(generate(pipe, **run.inputs), stock)
    assert run.maps["cat"].array.max() > 0


@pytest.mark.parametrize(
    ("kind", "name"), [("flux", "text_encoder"), ("flux", "text_encoder_2"), ("sd3", "text_encoder")]
)
def test_a_needed_encoder_that_is_none_is_named(kind, name):
    pipe = tiny.JOINT_PIPELINES[kind]()
    setattr(pipe, name, None)
    with pytest.raises(UnsupportedModelError, match=f"{name}, which is None"), attend(pipe, PROMPT):
        pass
    assert not pipe.transformer._forward_pre_hooks


@pytest.mark.parametrize("kind", ["sd3", "flux"])
def test_text_encoders_in_another_dtype_than_the_transformer(kind):
    pipe = tiny.JOINT_PIPELINES[kind]()
    for name in ("text_encoder", "text_encoder_2", "text_encoder_3"):
        if getattr(pipe, name, None) is not None:
            getattr(pipe, name).to(torch.bfloat16)
    with attend(pipe, "a (red:2) cat", NEGATIVE, where="both") as run:
        assert generate(pipe, **run.inputs).isfinite().all()
    assert run.maps["red"].array.max() > 0


@pytest.mark.parametrize("kind", ["sd3", "flux"])
def test_embeddings_that_are_not_the_runs_are_noticed(unchanged, kind):
    pipe = unchanged[kind]
    with attend(pipe, "a gray mouse", NEGATIVE, capture=False) as other:
        theirs = other.inputs
    stock = generate(pipe, **theirs)
    with (
        pytest.warns(PromptAttnWarning, match=r"other text embeddings.*run\.inputs"),
        attend(pipe, "a (red:3) cat", "(dog:2)") as run,
    ):
        assert torch.equal(generate(pipe, **theirs), stock)
    with pytest.raises(CaptureError, match=r"other text embeddings"):
        _ = run.maps


def test_relations_that_a_unet_does_not_have_are_refused():
    capture = Capture(relations=["text->image"])
    with pytest.raises(ConfigError, match=r"UNet2DConditionModel text does not look at the image"):
        promptattn.attend(tiny.sd(), PROMPT, capture=capture).__enter__()


def test_where_words_look_without_having_asked_for_it(unchanged):
    pipe = unchanged["sd3"]
    with attend(pipe, PROMPT) as run:
        generate(pipe, **run.inputs, steps=1)
    with pytest.raises(CaptureError, match=r"text->image"):
        run.maps.looking()


@pytest.mark.parametrize("kind", ["sd3", "flux"])
def test_attention_between_words_is_that_of_each_encoders_own_tokens(unchanged, kind):
    """T5 cuts "persigue" into many pieces, which CLIP reads whole: no index of a token means the same in both."""
    pipe = unchanged[kind]
    with attend(pipe, "un gato persigue a un ratón gris") as run:
        generate(pipe, **run.inputs, steps=1)
    names = [each.encoder for each in run.maps.text_attention]
    assert len(names) == {"sd3": 5, "flux": 3}[kind]
    for each in run.maps.text_attention:
        matrix, places = each.mass.mean(axis=0), {word: spelled(each, word) for word in ("persigue", "gato", "ratón")}
        for query, key in permutations(places, 2):
            expected = matrix[np.ix_(places[query], places[key])].sum(axis=1).mean()
            assert run.maps.relation(query, key, encoder=each.encoder) == pytest.approx(expected, abs=1e-6)
        assert [word.text for word in each.reads(run.maps.words)] == [
            "un",
            "gato",
            "persigue",
            "a",
            "un",
            "ratón",
            "gris",
        ]
        table = each.word_matrix(run.maps.words)
        assert table[5, 1] == pytest.approx(run.maps.relation("ratón", "gato", encoder=each.encoder), abs=1e-6)


@pytest.mark.parametrize("kind", ["sd3", "flux"])
def test_sizes_that_are_no_whole_patches_are_refused_before_the_pipeline_rounds_them(unchanged, kind, monkeypatch):
    monkeypatch.setattr(unchanged[kind], "vae_scale_factor", 8)
    with pytest.raises(ConfigError, match=r"height=24 .*multiple of 16"):
        promptattn.generate(unchanged[kind], "a cat", height=24, width=32, num_inference_steps=1)


def spelled(attention, word):
    """The columns whose texts put together are `word`."""
    texts = [column.text.strip("▁") if column.kind == "token" else " " for column in attention.columns]
    runs = [range(a, b) for a in range(len(texts)) for b in range(a + 1, len(texts) + 1)]
    return next([at for at in run if texts[at]] for run in runs if "".join(texts[at] for at in run) == word)


# On disk.


@pytest.mark.parametrize(
    "capture",
    [
        Capture(relations="text->image"),
        Capture(relations="text->text"),
        Capture(relations="image->image", patches=[(0.5, 0.5)]),
    ],
)
def test_a_run_without_maps_of_words_is_saved_as_well(unchanged, capture, tmp_path):
    size = dict(height=2 * GRID[0] * 2, width=2 * GRID[1] * 2)
    made = promptattn.generate(unchanged["sd3"], "a red cat", capture=capture, num_inference_steps=1, **size)
    folder = made.save(tmp_path / "out")
    assert (folder / "index.html").is_file()
    assert (folder / "image.png").is_file()
    back = HeatMaps.load(folder)
    assert [back.state(word) for word in back.words] == ["left out"] * 3
    assert len(back.sources) == len(made.maps.sources)
    assert len(back.patches) == len(made.maps.patches)
    assert len(back.text_attention) == len(made.maps.text_attention)


@pytest.mark.parametrize("kind", ["sd3"])
def test_joint_maps_come_back_from_disk_the_same_and_the_viewer_names_the_words(unchanged, kind, tmp_path):
    pipe, prompts = unchanged[kind], [PROMPT, "un gato rojo"]
    with attend(pipe, prompts, capture=EVERYTHING) as run:
        generate(pipe, **run.inputs, guidance=1.0)
    maps = run.maps
    maps.save(tmp_path / "both")
    back = HeatMaps.load(tmp_path / "both")
    assert back.prompts == maps.prompts
    assert back.prompt_index == maps.prompt_index
    for ours, theirs in ((maps.records, back.records), (maps.sources, back.sources), (maps.patches, back.patches)):
        assert len(ours) == len(theirs) > 0
        for one, other in zip(ours, theirs, strict=True):
            assert (one.name, one.grid) == (other.name, other.grid)
            assert (one.mass == other.mass).all()
    for one, other in zip(maps.text_attention, back.text_attention, strict=True):
        assert (one.encoder, one.columns, one.prompt, one.image) == (
            other.encoder,
            other.columns,
            other.prompt,
            other.image,
        )
        assert (one.mass == other.mass).all()
    image = back.image(1)
    assert (image["gato"].array == maps.image(1)["gato"].array).all()
    assert (image.looking()["gato"].array == maps.image(1).looking()["gato"].array).all()
    page = (tmp_path / "both" / "index.html").read_text(encoding="utf-8")
    data = json.loads(re.search(r"<script[^>]*json[^>]*>(.*?)</script>", page, re.DOTALL).group(1))
    labels = [{each["label"] for each in view["maps"]} for view in data["views"]]
    assert {"red", "cat", "gray", "mouse"} <= labels[0]
    assert {"un", "gato", "rojo"} <= labels[1]
