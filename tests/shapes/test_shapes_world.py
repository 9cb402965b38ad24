"""Scenes, masks and splits of the shapes world."""

import subprocess
import sys

import numpy as np
import pytest

from promptattn.shapes import (
    BACKGROUNDS,
    COLOURS,
    HELD_OUT,
    RELATIONS,
    SHAPES,
    Scene,
    SceneObject,
    render,
    sample_scene,
)
from promptattn.shapes.draw import silhouette


def scenes(count: int, split: str = "any", seed: int = 0) -> list[Scene]:
    rng = np.random.default_rng(seed)
    return [sample_scene(rng, split) for _ in range(count)]


def test_a_seed_makes_the_same_scenes_and_pixels_again() -> None:
    first, again, other = scenes(50, seed=3), scenes(50, seed=3), scenes(50, seed=4)
    assert first == again
    assert first != other
    for scene, twin in zip(first, again, strict=True):
        np.testing.assert_array_equal(render(scene)[0], render(twin)[0])


def test_masks_are_exactly_the_pixels_of_their_colour_and_disjoint() -> None:
    for scene in scenes(300):
        image, masks = render(scene)
        assert image.shape == (64, 64, 3)
        assert image.dtype == np.uint8
        assert masks.shape == (len(scene.objects), 64, 64)
        assert masks.sum(axis=0).max() == 1
        for thing, mask in zip(scene.objects, masks, strict=True):
            np.testing.assert_array_equal(mask, (image == COLOURS[thing.colour]).all(axis=-1))
            assert mask.sum() > 80
        ground = (image == BACKGROUNDS[scene.background]).all(axis=-1)
        np.testing.assert_array_equal(ground, ~masks.any(axis=0))


def test_an_object_in_front_takes_pixels_from_the_one_behind() -> None:
    behind = SceneObject("square", "red", 30, 30, 24)
    scene = Scene((behind, SceneObject("circle", "blue", 38, 30, 20)), "white", "left")
    _, masks = render(scene)
    _, alone = render(Scene((behind,), "white"))
    assert not (masks[0] & masks[1]).any()
    assert masks[0].sum() < alone[0].sum()


def test_an_object_over_the_edge_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit into 64 x 64"):
        render(Scene((SceneObject("cat", "red", 5, 30, 24),), "white"))


def test_held_out_pairs_never_train_and_cover_every_colour_and_shape_once() -> None:
    assert sorted(colour for colour, _ in HELD_OUT) == sorted(COLOURS)
    assert sorted(shape for _, shape in HELD_OUT) == sorted(SHAPES)

    def looks(scene: Scene) -> set[tuple[str, str]]:
        return {(thing.colour, thing.shape) for thing in scene.objects}

    trained = set().union(*(looks(scene) for scene in scenes(4000, "train")))
    assert not trained & HELD_OUT
    assert len(trained) == len(COLOURS) * len(SHAPES) - len(HELD_OUT)
    assert {("red", "cat"), ("gray", "mouse")} <= trained
    assert all(looks(scene) & HELD_OUT for scene in scenes(200, "held_out"))


def test_every_relation_background_shape_and_colour_occurs() -> None:
    drawn = scenes(1000, "train")
    assert {scene.relation for scene in drawn} == {None, *RELATIONS}
    assert {scene.background for scene in drawn} == set(BACKGROUNDS)
    assert {thing.shape for scene in drawn for thing in scene.objects} == set(SHAPES)
    assert {thing.facing for scene in drawn for thing in scene.objects} == {-1, 1}


def test_relations_are_what_the_places_say() -> None:
    for scene in scenes(500):
        if scene.relation is None:
            assert len(scene.objects) == 1
            continue
        first, second = scene.objects
        dx, dy = second.x - first.x, second.y - first.y
        if scene.relation == "chases":
            assert {first.shape, second.shape} <= {"cat", "mouse"}
            assert first.facing == second.facing
            assert dx * first.facing > 3 * abs(dy)
        else:
            along, off = (dx, dy) if scene.relation in ("left", "right") else (dy, dx)
            assert (along > 0) == (scene.relation in ("left", "above"))
            assert abs(along) > abs(off)


def test_shapes_are_told_apart_and_animals_have_a_way_to_face() -> None:
    masks = {shape: silhouette(shape, 24) for shape in SHAPES}
    for shape, mask in masks.items():
        others = [(mask & other).sum() / (mask | other).sum() for name, other in masks.items() if name != shape]
        assert max(others) < 0.85
        mirrored = not np.array_equal(silhouette(shape, 24, -1), mask)
        assert mirrored == (shape in ("cat", "mouse"))


def test_an_unknown_split_is_named() -> None:
    with pytest.raises(ValueError, match=r"unknown split 'test'.*train, held_out, any"):
        sample_scene(np.random.default_rng(0), "test")


def test_the_world_needs_no_torch() -> None:
    code = "import sys, promptattn.shapes; print(sorted({'torch', 'diffusers', 'transformers'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
