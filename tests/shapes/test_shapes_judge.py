"""The judge reads true scenes rightly and is not impressed by wrong prompts."""

from collections.abc import Callable

import numpy as np
import pytest

from promptattn.errors import UnsupportedModelError
from promptattn.shapes import Scene, SceneObject, Verdict, compare, look, render, sample_scene, weights_folder

CLAIMS = ("count", "colour", "shape", "relation", "background")
COUNT = 240


def share(verdicts: list[Verdict], claim: str) -> float:
    return float(np.mean([getattr(verdict, claim) for verdict in verdicts]))


def drawn() -> tuple[list[Scene], np.ndarray]:
    rng = np.random.default_rng(11)
    scenes = [sample_scene(rng, "any") for _ in range(COUNT)]
    return scenes, np.stack([render(scene)[0] for scene in scenes])


def through_the_autoencoder(images: np.ndarray) -> np.ndarray:
    torch = pytest.importorskip("torch")
    from diffusers import AutoencoderKL

    try:
        folder = weights_folder("unet")
    except UnsupportedModelError as error:
        pytest.skip(str(error))
    vae = AutoencoderKL.from_pretrained(folder / "vae", dtype=torch.float32)
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float().div(127.5).sub(1)
    with torch.no_grad():
        restored = torch.cat([vae.decode(vae.encode(p).latent_dist.mean).sample for p in pixels.split(40)])
    return restored.clamp(-1, 1).add(1).mul(127.5).round().byte().permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("camera", [lambda images: images, through_the_autoencoder], ids=["drawn", "autoencoder"])
def test_true_scenes_are_read_rightly_and_wrong_prompts_score_by_chance(
    camera: Callable[[np.ndarray], np.ndarray],
) -> None:
    scenes, images = drawn()
    views = [look(image) for image in camera(images)]
    true = [compare(scene, view) for scene, view in zip(scenes, views, strict=True)]
    for claim in CLAIMS:
        assert share(true, claim) >= 0.99, claim

    pairs = [index for index, scene in enumerate(scenes) if scene.relation is not None]
    wrong = [compare(scenes[b], views[a]) for a, b in zip(pairs, pairs[1:] + pairs[:1], strict=True)]
    # Of two objects in 8 colours and 8 shapes, unordered, one draw in about 30 agrees; of 5 relations one in 4 or so.
    assert share(wrong, "colour") < 0.10
    assert share(wrong, "shape") < 0.12
    assert 0.1 < share(wrong, "relation") < 0.4
    assert 0.2 < share(wrong, "background") < 0.5


def test_masks_found_are_the_masks_drawn() -> None:
    rng = np.random.default_rng(2)
    for _ in range(60):
        scene = sample_scene(rng, "any")
        image, masks = render(scene)
        for seen, mask in zip(compare(scene, look(image)).found, masks, strict=True):
            assert seen is not None
            np.testing.assert_array_equal(seen.mask, mask)


def test_each_claim_fails_alone() -> None:
    cat, mouse = SceneObject("cat", "red", 16, 32, 24), SceneObject("mouse", "gray", 48, 32, 24)
    view = look(render(Scene((cat, mouse), "white", "chases"))[0])

    def failing(scene: Scene) -> list[str]:
        return [claim for claim in CLAIMS if not getattr(compare(scene, view), claim)]

    def painted(thing: SceneObject, **changes: str) -> SceneObject:
        return SceneObject(**{**vars(thing), **changes})

    assert failing(Scene((cat, mouse), "white", "chases")) == []
    assert failing(Scene((cat, mouse), "white", "left")) == []
    assert failing(Scene((cat, mouse), "black", "chases")) == ["background"]
    assert failing(Scene((mouse, cat), "white", "chases")) == ["relation"]
    assert failing(Scene((cat, mouse), "white", "above")) == ["relation"]
    assert failing(Scene((cat, painted(mouse, colour="blue")), "white", "chases")) == ["colour"]
    assert failing(Scene((cat, painted(mouse, shape="star")), "white", "left")) == ["shape"]
    assert failing(Scene((cat,), "white")) == ["count"]


def test_colours_swapped_between_two_shapes_are_noticed() -> None:
    cat, star = SceneObject("cat", "red", 16, 32, 24), SceneObject("star", "blue", 48, 32, 24)
    view = look(render(Scene((cat, star), "black", "left"))[0])
    swapped = Scene((SceneObject("cat", "blue", 16, 32, 24), SceneObject("star", "red", 48, 32, 24)), "black", "left")
    verdict = compare(swapped, view)
    assert not (verdict.colour and verdict.shape and verdict.relation)


def test_touching_objects_of_two_colours_are_two_objects() -> None:
    image = np.full((64, 64, 3), 244, np.uint8)
    image[20:44, 8:32] = (222, 36, 36)
    image[20:44, 32:56] = (36, 84, 222)
    assert [(seen.shape, seen.colour) for seen in sorted(look(image).objects, key=lambda seen: seen.x)] == [
        ("square", "red"),
        ("square", "blue"),
    ]


def test_an_empty_picture_and_noise_are_judged_without_fuss() -> None:
    assert look(np.full((64, 64, 3), 16, np.uint8)).objects == ()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    scene = Scene((SceneObject("cat", "red", 16, 32, 24), SceneObject("star", "blue", 48, 32, 24)), "black", "left")
    compare(scene, look(noise))


def test_what_is_not_an_image_is_refused() -> None:
    with pytest.raises(ValueError, match=r"uint8 \[height, width, 3\], not float32 \[64, 64\]"):
        look(np.zeros((64, 64), np.float32))
