"""The stock pipeline with some feature of diffusers switched on, beside the same under a run: what must be equal."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from deleting import deleting

import promptattn
from promptattn.errors import PromptAttnWarning
from promptattn.processors import attention_layers

PROMPT, NEGATIVE = "a red cat and a gray mouse", "ugly, blurry"
WEIGHTED = "a (red:0) cat and a gray mouse"
LENGTH = 24  # rows of T5

Call = Callable[..., torch.Tensor]


def calling(pipe: Any, *, steps: int = 2, height: int = 16, width: int = 24, **given: Any) -> Call:
    """The pipeline's own call with a fixed seed and size (not square), as a function of what is asked about the text.

    Sizes are left out with `height=None`, for pipelines that take them from a picture.
    """
    options = dict(num_inference_steps=steps, output_type="latent") | given
    if height is not None:
        options |= dict(height=height, width=width)
    if hasattr(pipe, "transformer"):
        options = dict(max_sequence_length=LENGTH) | options

    def call(**text: Any) -> torch.Tensor:
        torch.manual_seed(0)  # some pipelines encode pictures with noise that no generator of theirs reaches
        return pipe(**{**options, **text}, generator=torch.Generator().manual_seed(0)).images

    return call


def attend(pipe: Any, *texts: Any, **options: Any) -> promptattn.AttentionRun:
    if hasattr(pipe, "transformer"):
        options = dict(max_sequence_length=LENGTH) | options
    return promptattn.attend(pipe, *texts, **options)


def reading_text(denoiser: torch.nn.Module) -> set[str]:
    """The attention layers that see text, by the names that diffusers gives its modules."""
    names = set(attention_layers(denoiser))
    if any(name.endswith(".attn1") for name in names):  # a UNet: attn1 is self-attention, attn2 cross-attention
        return {name for name in names if name.endswith(".attn2")}
    return {name for name in names if name.endswith(".attn")}  # joint; attn2 of SD3.5's dual blocks is among the image


def modules(pipe: Any) -> dict[str, torch.nn.Module]:
    return {name: part for name, part in pipe.components.items() if isinstance(part, torch.nn.Module)}


def state(pipe: Any) -> dict[str, Any]:
    """All that a run might touch, to compare by identity."""
    found: dict[str, Any] = {"step": pipe.scheduler.__dict__.get("step")}
    for component, module in modules(pipe).items():
        found[component] = module
        found[component, "attention"] = getattr(module.config, "_attn_implementation", None)
        for name, part in module.named_modules():
            found[component, name] = (
                dict(part._forward_pre_hooks),
                dict(part._forward_hooks),
                # Model offload makes its hooks anew after every call of a pipeline.
                type(part.__dict__.get("_hf_hook")),
                "forward" in part.__dict__,
                part._compiled_call_impl,
                part.__dict__.get("processor", part._modules.get("processor")),
            )
    return found


def unchanged(
    pipe: Any, call: Call, negative: str | None = NEGATIVE, *, layers: set[str] | None = None, **options: Any
) -> promptattn.AttentionRun:
    """Assert that runs leave the image and the pipeline as they are, and that every layer that sees text recorded.

    layers: those layers' names, where the denoiser's own names do not tell.
    Returns the run that captured.
    """
    text = dict(prompt=PROMPT) | ({} if negative is None else dict(negative_prompt=negative))
    expected = call(**text)
    before = state(pipe)
    with attend(pipe, PROMPT, negative, capture=False, **options) as run:
        assert torch.equal(call(**run.inputs), expected)
    with attend(pipe, PROMPT, negative, **options) as run:
        assert torch.equal(call(**run.inputs), expected)
    assert state(pipe) == before
    denoiser = pipe.unet if hasattr(pipe, "unet") else pipe.transformer
    assert set(run.maps.layers) == (layers or reading_text(denoiser))
    whole(run)
    assert torch.equal(call(**text), expected)
    return run


def whole(run: promptattn.AttentionRun, tolerance: float = 1e-5) -> None:
    """Assert that nothing of the attention to the text was lost: of cross-attention the columns add up to 1.

    In joint attention some of it goes to the image, so that they add up to less.
    """
    for record in run.maps.records:
        total = torch.from_numpy(record.mass).sum(-1)
        if record.name.endswith(".attn2"):
            torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=tolerance)
        assert total.min() > 0
        assert total.max() < 1 + tolerance


def zeroed(
    pipe: Any, call: Call, negative: str | None = NEGATIVE, *, exact: bool = True, **options: Any
) -> torch.Tensor:
    """Assert that `(red:0)` is the stock pipeline whose denoiser cannot see that word, and that no map has any of it.

    exact: compare with the stock pipeline, within ten times what rounding does to its image; False where a single
        step cannot be made. A second step of a random denoiser would blow rounding up.
    Returns the image.
    """
    text = dict(prompt=PROMPT) | ({} if negative is None else dict(negative_prompt=negative))
    once = dict(num_inference_steps=1) if exact else {}
    plain = call(**text, **once)
    with attend(pipe, WEIGHTED, negative, where="denoiser", **options) as run:
        image = call(**run.inputs, **once)
    apart = (image - plain).abs().max()
    assert apart > 1e-3
    with pytest.warns(PromptAttnWarning, match="'red' is zero everywhere"):
        assert not run.maps["red"].array.any()
    assert run.maps["cat"].array.max() > 0
    if exact:
        with deleting(pipe, run, "red") as deleted:
            expected = call(**text, **once)
        assert deleted.calls >= len(run.maps.layers)
        with deleting(pipe, run) as deleted:
            rounding = (call(**text, **once) - plain).abs().max()
        off = (image - expected).abs().max()
        assert off < max(1e-5, 10 * rounding), (off, rounding)
        assert apart > 5 * off
    return image
