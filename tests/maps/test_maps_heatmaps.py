"""Asking for maps: sums are sums, every place sums to 1, and a miss is told with what there is."""

import dataclasses
import subprocess
import sys
import warnings

import numpy as np
import pytest
from PIL import Image
from synthetic import demo, layer_maps, picture, prompt_info, text_attention

from promptattn.errors import CaptureError, ConfigError, PromptAttnWarning
from promptattn.maps import RULES, HeatMaps, PromptInfo, resize

MARKERS = ("start", "end", "padding")


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("size", [None, (64, 64), (17, 40), (256, 96)])
def test_all_columns_sum_to_one_at_every_place(wide, size, rule):
    wide = wide.combine(rule)
    heats = [wide.token(i) for i in range(len(wide.tokens))] + [wide.special(kind) for kind in MARKERS]
    arrays = [heat.array if size is None else heat.resized(size) for heat in heats]
    np.testing.assert_allclose(np.sum(arrays, axis=0), 1, atol=2e-6)
    assert sum(heat.share for heat in heats) == pytest.approx(1, abs=1e-6)


def test_all_columns_sum_to_one_in_every_layer(wide):
    for name in wide.layers:
        heats = [wide.token(i) for i in range(len(wide.tokens))] + [wide.special(kind) for kind in MARKERS]
        np.testing.assert_allclose(np.sum([heat.at_layer(name) for heat in heats], axis=0), 1, atol=2e-6)


def test_a_word_is_the_sum_of_its_tokens(wide):
    word = next(word for word in wide.words if len(word.tokens) > 1)
    tokens = [wide.token(i) for i in word.tokens]
    np.testing.assert_allclose(wide[word].array, np.sum([t.array for t in tokens], axis=0), atol=1e-7)
    for name in wide.layers:
        np.testing.assert_allclose(
            wide[word].at_layer(name), np.sum([t.at_layer(name) for t in tokens], axis=0), atol=1e-7
        )


def test_a_phrase_is_the_sum_of_its_words(wide):
    np.testing.assert_allclose(wide["gato rojo"].array, wide["gato"].array + wide["rojo"].array, atol=1e-7)
    assert wide["Gato  ROJO"].label == "gato rojo"


def test_occurrences_count_from_zero(maps):
    first, second = (word for word in maps.words if word.text == "un")
    np.testing.assert_array_equal(maps["un"].array, maps[first].array)
    np.testing.assert_array_equal(maps["un", 1].array, maps[second].array)
    assert not np.array_equal(maps["un"].array, maps["un", 1].array)
    with pytest.raises(CaptureError, match="'un' stands 2 times"):
        maps["un", 2]


def test_the_map_is_where_the_object_is(wide):
    row, column = np.unravel_index(wide["gato"].array.argmax(), wide.image_size)
    assert column < 80 < np.unravel_index(wide["ratón"].array.argmax(), wide.image_size)[1]
    assert 0.3 < row / 96 < 0.8
    assert wide["gato"].array.shape == (96, 160)


def test_a_layer_gives_its_raw_map_at_its_own_grid(wide):
    name = wide.layers[1]
    word = wide.words[1]
    column = 1 + word.tokens[0]
    raw = wide.records[1].mass[0, :, :, column]
    np.testing.assert_array_equal(wide[word].at_layer(name), raw)
    assert wide[word].at_layer(name).shape == (12, 20)
    np.testing.assert_array_equal(wide.layer("mid_block.*")[word].at_layer(name), raw)
    assert wide.layer("mid_block.*").layers == (name,)
    with pytest.raises(CaptureError, match="No recorded layer matches 'conv'"):
        wide.layer("conv")
    with pytest.raises(CaptureError, match="'conv' was not recorded"):
        wide[word].at_layer("conv")


def test_layers_are_combined_by_their_shares(maps):
    separate = {name: maps.layer(name)["gato"].array for name in maps.layers}
    for rule in RULES:
        chosen = maps.combine(rule)
        assert sum(chosen.shares.values()) == pytest.approx(1)
        expected = sum(share * separate[name] for name, share in chosen.shares.items())
        np.testing.assert_allclose(chosen["gato"].array, expected, atol=1e-6)
        np.testing.assert_allclose(chosen["gato"].resized((9, 5)), resize_all(chosen, (9, 5)), atol=1e-6)


def resize_all(maps, size):
    return sum(maps.shares[name] * resize(maps["gato"].at_layer(name), size) for name in maps.layers)


def test_rules_say_which_layers_count(maps):
    assert maps.rule == "coherence"
    assert set(maps.combine("mean").shares.values()) == {1 / 3}
    assert list(maps.combine("finest").shares.values()) == [0.5, 0, 0.5]
    np.testing.assert_array_equal(maps["gato"].array, maps.combine("mean").combine("coherence")["gato"].array)
    with pytest.raises(ConfigError, match=r"no rule 'best' .* choose one of coherence, finest, mean"):
        maps.combine("best")


def test_layers_chosen_by_name_share_the_map_among_them(maps):
    assert sum(maps.layer("*_blocks.*").shares.values()) == pytest.approx(1)
    assert set(maps.layer("mid_block.*").shares.values()) == {1}


def test_steps_and_heads():
    maps = demo(steps=3, heads=2)
    name = maps.layers[0]
    steps = [maps.step(i)["gato"].at_layer(name) for i in range(3)]
    np.testing.assert_allclose(np.mean(steps, axis=0), maps["gato"].at_layer(name), atol=1e-7)
    raw = maps.records[0].per_head[0, 1, :, :, 2]
    np.testing.assert_array_equal(maps.head(1)["gato"].at_layer(name), raw)
    with pytest.raises(CaptureError, match=r"Step 3 was not recorded .* Recorded: 0, 1, 2"):
        maps.step(3)
    with pytest.raises(CaptureError, match="per_step=True"):
        demo().step(0)
    with pytest.raises(CaptureError, match=r"Head 2 was not recorded .* Recorded: 0, 1"):
        maps.head(2)


def test_steps_keep_their_numbers():
    maps = demo(steps=2)
    numbered = dataclasses.replace(
        maps, records=tuple(dataclasses.replace(layer, steps=(10, 19)) for layer in maps.records)
    )
    np.testing.assert_array_equal(numbered.step(19)["gato"].array, maps.step(1)["gato"].array)
    with pytest.raises(CaptureError, match="Recorded: 10, 19"):
        numbered.step(1)


def test_a_batch_asks_which_image():
    maps = demo(images=3)
    with pytest.raises(CaptureError, match=r"maps of 3 images; choose one first, with maps\.image\(i\)"):
        maps["gato"]
    assert len(maps) == 3
    assert len(maps.images) == 3
    layer = maps.layers[0]
    for i, single in enumerate(maps.images):
        np.testing.assert_array_equal(single["gato"].at_layer(layer), maps.records[0].mass[i, :, :, 2])
    with pytest.raises(CaptureError, match="no image 3: the run made 3 images"):
        maps.image(3)
    with pytest.raises(CaptureError, match="no image -1"):
        maps.image(-1)


def test_each_image_knows_its_own_prompt():
    one, two = prompt_info("a cat"), prompt_info("a red dog runs")
    wide = layer_maps("mid", (4, 4), two, {}, images=2)
    maps = HeatMaps((one, two), (wide,), (32, 32), (1, 0), text_attention=(text_attention(two),))
    maps = dataclasses.replace(maps, text_attention=(dataclasses.replace(maps.text_attention[0], prompt=1),))
    assert [word.text for word in maps.image(0).words] == ["a", "red", "dog", "runs"]
    assert [word.text for word in maps.image(1).words] == ["a", "cat"]
    assert maps.image(0).relation("dog", "red") > 0
    with pytest.raises(CaptureError, match="Encoders: none"):
        maps.image(1).relation("cat", "a")
    with pytest.raises(CaptureError, match="2 prompts; choose an image"):
        maps.words  # noqa: B018


def test_a_miss_names_what_there_is(maps):
    with pytest.raises(CaptureError, match=r"(?s)'raton'.*'ratón'.*un, gato, rojo"):
        maps["raton"]
    assert "gato" in maps
    assert "perro" not in maps
    assert [word.text for word in maps] == ["un", "gato", "rojo", "persigue", "a", "un", "ratón", "gris"]
    for key in (3, None, ("un", "a"), 1.5):
        with pytest.raises(CaptureError, match=r"Ask for a word \(\"cat\"\)"):
            maps[key]
    with pytest.raises(CaptureError, match="no token 99"):
        maps.token(99)


def test_a_word_that_was_cut_off_says_so():
    maps = demo(cut=("gris",))
    with pytest.raises(CaptureError, match="'gris' has no map: it was cut off"):
        maps["gris"]
    with pytest.raises(CaptureError, match="'gris' has no map: it was cut off"):
        maps["ratón gris"]
    assert maps["ratón"].share > 0


def test_a_word_that_was_cut_in_part_says_so(maps):
    partly = dataclasses.replace(maps, prompts=(dataclasses.replace(maps.prompt, cut=(6,)),))
    with pytest.warns(PromptAttnWarning, match="'ratón' was cut in part"):
        heat = partly["ratón gris"]
    np.testing.assert_array_equal(heat.array, maps["ratón gris"].array)


def test_a_word_that_was_not_captured_says_so(maps):
    prompt = maps.prompt
    keep = [i for i, column in enumerate(prompt.columns) if column.kind != "token" or column.text == "gato"]
    fewer = HeatMaps(
        (dataclasses.replace(prompt, columns=tuple(prompt.columns[i] for i in keep)),),
        tuple(dataclasses.replace(layer, mass=layer.mass[..., keep]) for layer in maps.records),
        maps.image_size,
    )
    np.testing.assert_array_equal(fewer.combine("mean")["gato"].array, maps.combine("mean")["gato"].array)
    with pytest.raises(CaptureError, match="'rojo' has no map: it was not captured"):
        fewer["rojo"]
    assert [word.text for word, _ in fewer.at(0.5, 0.5)] == ["gato"]


def test_markers_are_named(maps):
    assert maps.special("start").share > maps.special("padding").share > 0
    with pytest.raises(CaptureError, match="There is: end, padding, start"):
        maps.special("middle")


def test_markers_of_several_chunks_are_summed():
    prompt = prompt_info("a cat")
    columns = (*prompt.columns, dataclasses.replace(prompt.columns[0], chunk=1))
    prompt = PromptInfo(prompt.text, prompt.tokens, prompt.words, columns)
    layer = layer_maps("mid", (4, 6), prompt, {})
    maps = HeatMaps((prompt,), (layer,), (8, 12))
    both = layer.mass[0, :, :, 0] + layer.mass[0, :, :, -1]
    np.testing.assert_allclose(maps.special("start").at_layer("mid"), both, atol=1e-7)


def test_patches(wide):
    heat = wide.patch(0)
    assert np.unravel_index(heat.array.argmax(), (96, 160))[1] < 80
    with pytest.raises(CaptureError, match=r"no patch 1: 1 patch recorded"):
        wide.patch(1)


def test_who_owns_a_place(maps):
    left = [word.text for word, _ in maps.at(0.55, 0.27)[:4]]
    assert set(left) == {"un", "gato", "rojo", "persigue"}
    ranked = maps.at(0.58, 0.76)
    assert ranked[0][0].text == "ratón"
    assert [mass for _, mass in ranked] == sorted((mass for _, mass in ranked), reverse=True)
    row, column = int(0.58 * 64), int(0.76 * 64)
    assert ranked[0][1] == pytest.approx(maps["ratón"].array[row, column])
    assert len(maps.at(1, 1)) == len(maps.words)
    with pytest.raises(CaptureError, match="between 0 and 1"):
        maps.at(12, 40)


def test_relations_between_words(maps):
    text = maps.text_attention[0]
    gato, rojo = (maps[name] for name in ("gato", "rojo"))
    assert gato.label == "gato"
    assert rojo.weight == 1.4
    assert maps.relation("rojo", "gato") == pytest.approx(text.mass[:, 3, 2].mean(), abs=1e-6)
    assert maps.relation("gato", "rojo") == 0
    persigue = [1 + i for i in maps.words[3].tokens]
    expected = text.mass.mean(axis=0)[np.ix_(persigue, [2])].sum(axis=1).mean()
    assert maps.relation("persigue", "gato") == pytest.approx(expected, abs=1e-6)
    matrix = text.word_matrix(maps.words)
    assert matrix[3, 1] == pytest.approx(expected, abs=1e-6)
    assert np.triu(matrix, 1).max() == 0
    apart = dataclasses.replace(text, columns=text.columns[:3], mass=text.mass[:, :3, :3].copy())
    assert [word.text for word in apart.reads(maps.words)] == ["un", "gato"]
    with pytest.raises(CaptureError, match="did not read 'rojo' and 'gato' together"):
        dataclasses.replace(maps, text_attention=(apart,)).relation("rojo", "gato")
    with pytest.raises(CaptureError, match=r"in 'text_encoder_2'\. Encoders: text_encoder"):
        maps.relation("rojo", "gato", encoder="text_encoder_2")


def test_an_empty_map_says_so(maps):
    silent = []
    for layer in maps.records:
        mass = layer.mass.copy()
        mass[..., 2] = 0
        silent.append(dataclasses.replace(layer, mass=mass))
    maps = dataclasses.replace(maps, records=tuple(silent))
    heat = maps["gato"]
    with pytest.warns(PromptAttnWarning, match="map of 'gato' is zero everywhere"):
        assert heat.share == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # said once
        assert heat.normalized.max() == 0
        assert heat.overlay(picture()).tobytes() == picture().tobytes()


def test_numbers_of_one_map(maps):
    heat = maps["gato"]
    assert heat.array.dtype == np.float32
    assert heat.normalized.max() == 1
    assert heat.share == pytest.approx(heat.array.mean(), abs=1e-7)
    with pytest.raises(ValueError, match="read-only"):
        heat.array[0, 0] = 1


def test_gray_picture_is_sixteen_bits(wide):
    gray = wide["gato"].image()
    assert gray.mode == "I;16"
    assert gray.size == (160, 96)
    values = np.asarray(gray)
    assert values.max() == 65535
    top = wide["gato"].array.max()
    np.testing.assert_allclose(values / 65535 * top, wide["gato"].array, atol=top / 65535)


def test_overlay(wide):
    heat, base = wide["gato"], picture((96, 160))
    over = heat.overlay(base)
    assert (over.size, over.mode) == ((160, 96), "RGB")
    assert heat.overlay(base, alpha=0).tobytes() == base.tobytes()
    assert heat.overlay(np.asarray(base)).tobytes() == over.tobytes()
    changed = np.abs(np.asarray(over, float) - np.asarray(base, float)).sum(axis=-1)
    assert changed[50, 43] > changed[5, 150]
    large = heat.overlay(base.resize((320, 192)))
    assert large.size == (320, 192)
    assert heat.overlay().size == (160, 96)
    with pytest.raises(ConfigError, match="alpha is an opacity"):
        heat.overlay(base, alpha=3)
    with pytest.raises(ConfigError, match="uint8 array"):
        heat.overlay(np.zeros((8, 8)))


def test_a_notebook_shows_a_map(maps):
    png = maps["gato"]._repr_png_()
    assert png.startswith(b"\x89PNG")


def test_a_map_that_does_not_fit_is_refused(maps):
    layer = maps.records[0]
    with pytest.raises(CaptureError, match=r"must have shape \[image, 8, 8, column\]; it has \[1, 16, 16, 13\]"):
        dataclasses.replace(layer, grid=(8, 8))
    with pytest.raises(CaptureError, match="must be float32; it is float64"):
        dataclasses.replace(layer, mass=layer.mass.astype(float))
    with pytest.raises(CaptureError, match="recorded 1 images, but the run had 2"):
        dataclasses.replace(maps, prompt_index=(0, 0))
    with pytest.raises(CaptureError, match="recorded 3 columns of 13"):
        dataclasses.replace(maps, records=(dataclasses.replace(layer, mass=layer.mass[..., :3]),))


def test_an_empty_prompt_has_maps_of_its_markers():
    maps = demo(text="")
    assert maps.words == ()
    assert maps.special("start").share > 0
    with pytest.raises(CaptureError, match="no words"):
        maps["cat"]


def test_a_run_that_recorded_nothing_says_so(maps):
    with pytest.raises(CaptureError, match="left out image->text"):
        dataclasses.replace(maps, records=())["gato"]
    with pytest.raises(CaptureError, match="No layer was recorded"):
        dataclasses.replace(maps, records=(), patches=(), text_attention=())["gato"]


def test_maps_load_no_torch_and_no_matplotlib():
    code = "import sys, promptattn.maps, promptattn.export; print(sorted({'torch', 'matplotlib'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_overlay_accepts_any_mode_of_image(maps):
    assert maps["gato"].overlay(Image.new("RGBA", (64, 64), (1, 2, 3, 255))).mode == "RGB"
