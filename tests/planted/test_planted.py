"""Maps recover attention that was set by hand: the grid the right way up, the right image, the right words."""

import pytest
import tiny_pipelines as tiny
import torch
from planting import expected, ids_read, plant, planted, planted_layers, rows_of

import promptattn
from promptattn import Capture

LENGTH = 24
GRIDS = {"sd": [(16, 12), (8, 6)], "sd3": [(8, 6)], "flux": [(8, 6)]}
MAKE = {"sd": tiny.sd, **tiny.JOINT_PIPELINES}
# The encoder, its tokenizer, and the first of its rows among those of the text.
COPIES = {
    "sd": [("text_encoder", "tokenizer", 0)],
    "sd3": [("text_encoder", "tokenizer", 0), ("text_encoder_3", "tokenizer_3", 77)],
    "flux": [("text_encoder_2", "tokenizer_2", 0)],
}


@pytest.fixture(scope="module")
def pipes():
    """Planting overwrites their projections; that each time in the same way."""
    return {kind: MAKE[kind]() for kind in GRIDS}


@pytest.fixture(params=GRIDS)
def kind(request):
    return request.param


class Planted:
    """A run over a planted pipeline. `wanted`: for each prompt, from (word, occurrence) to a region."""

    def __init__(self, pipe, kind, prompts, wanted, negative=None, negative_wanted=None, guidance=1.0, **options):
        self.kind, self.wanted = kind, wanted
        extra = {} if kind == "sd" else dict(max_sequence_length=LENGTH)
        self.denoiser = pipe.unet if kind == "sd" else pipe.transformer
        readers = [(getattr(pipe, e), getattr(pipe, t), first) for e, t, first in COPIES[kind]]
        watches = [ids_read(encoder) for encoder, *_ in readers]
        found = [watch.__enter__() for watch in watches]
        scale = dict(true_cfg_scale=guidance) if kind == "flux" else dict(guidance_scale=guidance)
        with (
            planted(self.denoiser, GRIDS[kind]),
            promptattn.attend(pipe, prompts, negative, **extra, **options) as run,
            torch.no_grad(),
        ):
            for watch in watches:
                watch.__exit__(None, None, None)
            embeds = run.inputs["prompt_embeds"]
            self.texts = embeds.shape[1]
            chunks = self.texts // 77 if kind == "sd" else 1
            self.rows = [
                {
                    key: [
                        first + row
                        for (_, tokenizer, first), calls in zip(readers, found, strict=True)
                        for row in rows_of(torch.cat(calls[:chunks], dim=1)[prompt], tokenizer, *key)
                    ]
                    for key in words
                }
                for prompt, words in enumerate(wanted)
            ]
            self.codes = [self.codes_of(*each) for each in zip(wanted, self.rows, strict=True)]
            for prompt, codes in enumerate(self.codes):
                plant(embeds[prompt], codes)
            if negative is not None:
                plant(run.inputs["negative_prompt_embeds"][0], negative_wanted)
            size = dict(height=32, width=24, output_type="latent", num_inference_steps=2)
            pipe(**run.inputs, **size, **extra, **scale, generator=torch.Generator().manual_seed(0))
        self.maps = run.maps

    @staticmethod
    def codes_of(wanted, rows):
        codes = {}
        for key, region in wanted.items():
            codes.setdefault(region, []).extend(rows[key])
        return codes

    def check(self, image=0, prompt=0):
        maps = self.maps.image(image)
        assert set(maps.layers) == set(planted_layers(self.denoiser))
        for record in maps.records:
            assert record.grid in GRIDS[self.kind]
            images = 0 if self.kind == "sd" else record.grid[0] * record.grid[1]
            for key in self.wanted[prompt]:
                truth = expected(self.codes[prompt], self.rows[prompt][key], record.grid, self.texts, images)
                ours = torch.tensor(maps[key].at_layer(record.name)).double()
                torch.testing.assert_close(ours, truth, rtol=1e-5, atol=1e-7)


WORDS = {("red", 0): 0, ("cat", 0): 1, ("gray", 0): 2, ("mouse", 0): 3}


def test_words_are_found_where_they_were_planted(pipes, kind):
    run = Planted(pipes[kind], kind, "a red cat and a gray mouse", [WORDS])
    run.check()
    assert {record.grid for record in run.maps.records} == set(GRIDS[kind])
    # In the combined map of the image as well, each word is strongest in its own region.
    red, mouse = (run.maps[word].array for word in ("red", "mouse"))
    assert red[2, 2] > 3 * red[-3, -3]
    assert mouse[-3, -3] > 3 * mouse[2, 2]


def test_each_image_of_a_batch_has_its_own_words(pipes, kind):
    words = [WORDS, {("gato", 0): 3, ("ratón", 0): 0, ("rojo", 0): 2}]
    run = Planted(pipes[kind], kind, ["a red cat and a gray mouse", "un gato rojo y un ratón"], words)
    run.check(0, 0)
    run.check(1, 1)


def test_maps_are_those_of_the_prompt_and_not_of_the_negative_prompt(pipes, kind):
    every = {region: list(range(3 * region, 3 * region + 3)) for region in range(4)}
    options = dict(negative="a house", negative_wanted=every, guidance=4.0)
    Planted(pipes[kind], kind, "a red cat and a gray mouse", [WORDS], **options).check()


def test_an_occurrence_of_a_word_is_its_own(pipes, kind):
    Planted(pipes[kind], kind, "a cat and a dog and a house", [{("a", 0): 0, ("a", 1): 3, ("a", 2): 1}]).check()


def test_all_pieces_of_a_word_with_accents(pipes, kind):
    words = {("corazón", 0): 2, ("canción", 0): 1, ("gris", 0): 0}
    run = Planted(pipes[kind], kind, "un corazón gris, y una canción", [words])
    assert all(len(run.rows[0][key]) > 1 for key in words if key[0] != "gris")
    run.check()


def test_words_in_the_later_chunks_of_a_long_prompt(pipes):
    prompt = "a red cat, " + "a blue table, " * 40 + "a castle, " + "a dog, " * 20 + "the green hills"
    words = {("red", 0): 0, ("castle", 0): 1, ("hills", 0): 3}
    run = Planted(pipes["sd"], "sd", prompt, [words])
    assert {rows[0] // 77 for rows in run.rows[0].values()} == {0, 2, 3}
    run.check()


def test_chosen_words_alone(pipes, kind):
    """The others' columns go, and nothing moves."""
    run = Planted(pipes[kind], kind, "a red cat and a gray mouse", [WORDS], capture=Capture(words=["red", "mouse"]))
    run.wanted = [{key: run.wanted[0][key] for key in (("red", 0), ("mouse", 0))}]
    run.check()
