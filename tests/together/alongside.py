"""The stock pipeline with some feature of diffusers switched on, beside the same under a run."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode

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
    denoiser = getattr(pipe, "unet", None) or pipe.transformer
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


def zeroed(pipe: Any, call: Call, negative: str | None = NEGATIVE, **options: Any) -> torch.Tensor:
    """The image without `red`, after asserting that no map has any of it, and that it is another image."""
    plain = call(prompt=PROMPT, **({} if negative is None else dict(negative_prompt=negative)))
    with attend(pipe, WEIGHTED, negative, where="denoiser", **options) as run:
        image = call(**run.inputs)
    assert not torch.allclose(image, plain, rtol=1e-3, atol=1e-4)
    with pytest.warns(PromptAttnWarning, match="'red' is zero everywhere"):
        assert not run.maps["red"].array.any()
    assert run.maps["cat"].array.max() > 0
    return image


class Deleted(TorchFunctionMode):
    """Every attention call with so many keys loses some of them, in some batch rows and for some queries.

    The stock pipeline under this mode is what weight 0 must give: `F.scaled_dot_product_attention` gets a mask.
    """

    def __init__(self, keys: int, columns: list[int], *, rows: slice, queries: slice = slice(None)) -> None:
        super().__init__()
        self.keys, self.columns, self.rows, self.queries = keys, columns, rows, queries
        self.calls = 0

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if function is torch.nn.functional.scaled_dot_product_attention:
            query, key, value = (
                args[at] if at < len(args) else kwargs.pop(name) for at, name in enumerate(("query", "key", "value"))
            )
            if key.shape[-2] == self.keys:
                self.calls += 1
                mask = query.new_zeros(query.shape[0], 1, query.shape[-2], self.keys)
                rows = torch.arange(len(mask))[self.rows]
                places = torch.arange(query.shape[-2])[self.queries]
                mask[rows[:, None, None], 0, places[None, :, None], torch.tensor(self.columns)] = -torch.inf
                given = kwargs.get("attn_mask")
                kwargs["attn_mask"] = mask if given is None else mask + given
            return function(query, key, value, **kwargs)
        return function(*args, **kwargs)
