"""What saves memory: offloading of whole models and of groups of layers, fp8 storage, VAE tiles and slices."""

import accelerate
import diffusers
import pytest
import tiny_pipelines as tiny
import torch
from alongside import LENGTH, NEGATIVE, attend, calling, unchanged, zeroed

ALL = tiny.PIPELINES | tiny.JOINT_PIPELINES
CPU = torch.device("cpu")
# Weights really leave only where there is an accelerator; the hooks that move them are the same on the CPU.
DEVICE = torch.device("cuda") if torch.cuda.is_available() else CPU


def denoiser(pipe):
    return pipe.unet if hasattr(pipe, "unet") else pipe.transformer


def whole_models(pipe):
    pipe.enable_model_cpu_offload(device=DEVICE)


def layer_by_layer(pipe):
    """What `enable_sequential_cpu_offload` does to a denoiser: its weights are meta tensors between two calls."""
    if DEVICE.type == "cuda":
        pipe.enable_sequential_cpu_offload(device=DEVICE)
    else:  # accelerate 1.15 fails on text encoders whose weights would go from the CPU to the CPU
        accelerate.cpu_offload(denoiser(pipe), execution_device=CPU)


def groups_of_blocks(pipe):
    pipe.enable_group_offload(
        onload_device=DEVICE, offload_device=CPU, offload_type="block_level", num_blocks_per_group=1
    )


def groups_of_leaves(pipe):
    pipe.enable_group_offload(onload_device=DEVICE, offload_device=CPU, offload_type="leaf_level")


def groups_of_the_denoiser(pipe):
    diffusers.hooks.apply_group_offloading(
        denoiser(pipe), onload_device=DEVICE, offload_device=CPU, offload_type="leaf_level"
    )
    for name, part in pipe.components.items():
        if isinstance(part, torch.nn.Module) and name not in ("unet", "transformer"):
            part.to(DEVICE)


def stored_in_fp8(pipe):
    denoiser(pipe).enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.float32)


def decoded_in_tiles(pipe):
    pipe.vae.enable_tiling()
    pipe.vae.enable_slicing()
    pipe.vae.tile_sample_min_size = pipe.vae.tile_latent_min_size = 8


SAVINGS = [
    whole_models,
    layer_by_layer,
    groups_of_blocks,
    groups_of_leaves,
    groups_of_the_denoiser,
    stored_in_fp8,
    decoded_in_tiles,
]


@pytest.mark.parametrize("kind", ["sd", "sdxl", "sd3", "flux"])
@pytest.mark.parametrize("saving", SAVINGS)
def test_savings_and_runs_do_not_touch_each_other(kind, saving):
    pipe = ALL[kind]()
    saving(pipe)
    call = calling(pipe, output_type="pt" if saving is decoded_in_tiles else "latent")
    unchanged(pipe, call, None if kind == "flux" else NEGATIVE)


@pytest.mark.parametrize("saving", [whole_models, layer_by_layer, groups_of_leaves, stored_in_fp8])
@pytest.mark.parametrize("kind", ["sd", "flux"])
def test_weight_0_is_the_word_deleted(kind, saving):
    pipe = ALL[kind]()
    saving(pipe)
    zeroed(pipe, calling(pipe), None if kind == "flux" else NEGATIVE)


def test_offload_switched_on_while_attached():
    pipe = tiny.flux()
    call = calling(pipe)
    with attend(pipe, "a red cat") as run:
        first = call(**run.inputs)
        groups_of_leaves(pipe)
        assert torch.equal(call(**run.inputs).cpu(), first)
    assert run.maps["cat"].array.max() > 0
    assert torch.equal(call(prompt="a red cat", max_sequence_length=LENGTH).cpu(), first)


def test_fp8_storage_switched_on_while_attached():
    pipe = tiny.sd()
    call = calling(pipe)
    with attend(pipe, "a red cat") as run:
        plain = call(**run.inputs)
        stored_in_fp8(pipe)
        coarse = call(**run.inputs)
    assert not torch.equal(coarse, plain)
    assert run.maps["cat"].array.max() > 0
    assert torch.equal(call(prompt="a red cat"), coarse)
