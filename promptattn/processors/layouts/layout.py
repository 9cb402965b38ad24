"""What a layout says of one denoiser class, and what it tells of one forward call."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any, Literal

import torch

from promptattn.core import KeyWeights
from promptattn.errors import UnsupportedModelError
from promptattn.places import Grid, Places
from promptattn.processors.install import attention_layers

__all__ = ["READING", "DenoiserCall", "LayerKind", "Layout", "Seats"]

LayerKind = Literal["cross", "joint", "added", "image", "text", "linear"]
"""What a layer attends to: `cross`: image queries, text keys; `joint`: text and image are queries and keys together;
`added`: image queries, and text and image as the keys of one call; `image`: image queries and image keys; `text`: text
queries and text keys, as in the refiners that some denoisers put their text through first; `linear`: linear attention,
in which no key has a share."""

READING: tuple[LayerKind, ...] = ("cross", "joint", "added")
"""The kinds of layers in which the image looks at the text."""


@dataclass(frozen=True)
class Seats:
    """Where text and image sit among the keys of a layer that has both.

    text, image: the rows of the text argument, and those of the image that is made. keys: how many there are in all.
    queries: how many queries layers have that are the image's alone, where it is filled up to more rows than places.
    """

    text: slice
    image: slice
    keys: int
    queries: int | None = None

    def of(self, places: int) -> "Seats":
        """The same where the image has so many places."""
        more = places - (self.image.stop - self.image.start)
        behind = more if self.text.start > self.image.start else 0
        text = slice(self.text.start + behind, self.text.stop + behind)
        return Seats(text, slice(self.image.start, self.image.stop + more), self.keys + more)


@dataclass(frozen=True)
class Layout:
    """How one denoiser class takes its text and its image.

    Attributes:
        families: the models that have it, each with its text encoders, in words.
        size: from the arguments of a forward call, by name, to (height, width) of its latents in latent pixels.
        grids: from that size and the denoiser's config to every grid (height, width) that an attention layer may see,
            the finest first.
        kind: from a layer's module to its kind.
        refiners: from the beginning of a layer's name, or a pattern for the whole, to its kind, where that is another
            than its module tells.
        attention: how its image rows attend to the text.
        text: name of the forward argument that holds the text embeddings, `[batch, token, channel]`.
        further: from the arguments of a forward call by name to how many rows of text, from other text encoders,
            follow those of `text` among the keys; None for none.
        as_rows: from that argument, where it is no such tensor, to one; None where it is.
        seats: from the arguments of a forward call by name, how many rows of text there are, the finest grid and the
            denoiser's config, to where text and image sit among the keys of `joint` and `added` layers; None is told by
            the four attributes below.
        pooled: where the pooled embeddings `[batch, channel]` are among the arguments: the name of one, and for an
            argument that is a dict the key in it.
        sample: name of the forward argument that holds the latents.
        timestep: name of the forward argument that holds the timestep.
        text_first: whether the text's rows stand before the image's in joint attention.
        negative_first: whether guidance puts the rows of the negative prompt before those of the prompt.
        mask: name of the forward argument that says which rows of the text may be attended to, `[batch, row]`, or None.
            What follows the text's rows in it speaks of the image's.
        before_text: the number of rows that the denoiser puts before the text by itself, in joint attention.
        worsened: name of the forward argument that is given where a pipeline asks for a worse prediction, to be guided
            away from it: the image is not made of what such a call attends to.
        linear: whether what places of the image take from each other is linear attention, of which there are no maps.
        repeats_text: whether the pipelines repeat text embeddings that they are given `num_images_per_prompt` times.
        preset: the preset of a trained pipeline of the first of these families that ships with promptattn, or None.
    """

    families: Mapping[str, str]
    size: Callable[[Mapping[str, Any]], Grid]
    grids: Callable[[Grid, Any], list[Grid]]
    kind: Callable[[torch.nn.Module], LayerKind]
    attention: Literal["cross", "joint", "added"] = "joint"
    refiners: Mapping[str, LayerKind] = field(default_factory=dict)
    text: str = "encoder_hidden_states"
    further: Callable[[Mapping[str, Any]], int] | None = None
    as_rows: Callable[[Any], torch.Tensor] | None = None
    seats: Callable[[Mapping[str, Any], int, Grid, Any], Seats] | None = None
    pooled: tuple[str, ...] = ("pooled_projections",)
    sample: str = "hidden_states"
    timestep: str = "timestep"
    text_first: bool = True
    negative_first: bool = True
    mask: str | None = None
    before_text: int = 0
    worsened: str | None = None
    linear: bool = False
    repeats_text: bool = False
    preset: str | None = None

    def read(self, denoiser: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> "DenoiserCall":
        """The arguments of one forward call, wherever they stood."""
        bound = inspect.signature(denoiser.forward).bind_partial(*args, **kwargs).arguments
        text, sample = bound.get(self.text), bound.get(self.sample)
        if text is not None and self.as_rows is not None:
            text = self.as_rows(text)
        if not isinstance(text, torch.Tensor) or sample is None:
            raise UnsupportedModelError(
                f"{type(denoiser).__name__} was called without {self.text!r} or {self.sample!r}, so text rows and image"
                " grid cannot be told."
            )
        packed = isinstance(sample, torch.Tensor) and sample.ndim == 3
        return self.call(
            denoiser,
            text,
            self.size(bound),
            arguments=bound,
            timestep=bound.get(self.timestep),
            image_rows=int(sample.shape[1]) if packed else None,
            worsened=self.worsened is not None and bound.get(self.worsened) is not None,
        )

    def reworded(
        self,
        denoiser: torch.nn.Module,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        text: torch.Tensor,
        pooled: torch.Tensor | None,
        mask: torch.Tensor | None = None,
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of a forward call with other text, wherever they stood; what was given is left as it was.

        text: `[batch, token, channel]`; in cross-attention the number of tokens may be another.
        pooled: `[batch, channel]`, or None for models that take none.
        mask: `[batch, token]`, or None for models that take none.
        """
        signature = inspect.signature(denoiser.forward)
        names = list(signature.parameters)
        positional, named = list(args), dict(kwargs)

        def put(name: str, change: Callable[[Any], Any]) -> None:
            if name in named:
                named[name] = change(named[name])
            else:
                at = names.index(name)
                positional[at] = change(positional[at])

        def of_same_length(given: torch.Tensor) -> torch.Tensor:
            fixed = self.mask is None and named.get("encoder_attention_mask") is not None
            if fixed and given.shape[1] != text.shape[1]:
                raise UnsupportedModelError(
                    f"the text changes from {given.shape[1]} to {text.shape[1]} rows at this step, and"
                    " encoder_attention_mask is for the first length; leave the mask out, or make what is scheduled"
                    " about as long as what it replaces."
                )
            return text.to(given)

        if self.mask is not None and mask is not None:
            old = int(signature.bind_partial(*args, **kwargs).arguments[self.text].shape[1])
            put(self.mask, lambda given: torch.cat([mask.to(given), given[:, old:]], dim=1))
        put(self.text, of_same_length)
        if pooled is not None:
            name, *keys = self.pooled
            put(name, lambda given: {**given, keys[0]: pooled.to(given[keys[0]])} if keys else pooled.to(given))
        return tuple(positional), named

    def call(
        self,
        denoiser: torch.nn.Module,
        text: torch.Tensor,
        size: Grid,
        *,
        arguments: Mapping[str, Any] | None = None,
        timestep: Any = None,
        image_rows: int | None = None,
        worsened: bool = False,
    ) -> "DenoiserCall":
        """A call of `denoiser` with latents of this size, and an image row for each place of its grid unless said.

        arguments: of the forward call by name, where that is more than a supposed one.

        Raises:
            UnsupportedModelError: for a supposed call of a denoiser whose arguments must tell where its text sits.
        """
        grids = self.grids(size, denoiser.config)
        further = 0 if self.further is None or arguments is None else self.further(arguments)
        height, width = grids[0]
        if self.seats is None:
            seats = self._in_a_row(int(text.shape[1]) + further, height * width, image_rows)
        elif arguments is not None:
            seats = self.seats(arguments, int(text.shape[1]) + further, grids[0], denoiser.config)
        else:
            raise UnsupportedModelError(
                f"where the text of {type(denoiser).__name__} sits is known in a call only; use promptattn.attend."
            )
        return DenoiserCall(
            text=text,
            size=size,
            timestep=timestep,
            grids={height * width: (height, width) for height, width in grids},
            seats=seats,
            worsened=worsened,
            further=further,
        )

    def _in_a_row(self, tokens: int, places: int, image_rows: int | None) -> Seats:
        """Text and image side by side; more image rows than places where reference images follow."""
        rows = places if image_rows is None else image_rows
        text = self.before_text if self.text_first else rows
        image = self.before_text + tokens if self.text_first else 0
        return Seats(slice(text, text + tokens), slice(image, image + places), self.before_text + tokens + rows)

    def patch(self, denoiser: torch.nn.Module) -> int:
        """The side, in latent pixels, of the square that one place of the finest grid stands for."""
        side = 1 << 10  # whole patches, whatever power of two they are
        return side // self.grids((side, side), denoiser.config)[0][0]

    def layers(self, denoiser: torch.nn.Module) -> dict[str, LayerKind]:
        """The kind of every attention layer, by name, in the order in which the modules stand."""
        return {
            name: next((kind for each, kind in self.refiners.items() if _is_called(name, each)), self.kind(layer))
            for name, layer in attention_layers(denoiser).items()
        }


def _is_called(name: str, pattern: str) -> bool:
    return name.startswith(pattern) or fnmatchcase(name, pattern)


@dataclass(frozen=True)
class DenoiserCall:
    """One forward call of a denoiser.

    Attributes:
        text: the text embeddings, `[batch, token, channel]`.
        further: how many rows of text follow these, from other text encoders.
        size: (height, width) of the latents in latent pixels.
        timestep: as it was given.
        grids: from a number of image rows to the (height, width) it stands for; the first is the finest.
        seats: where text and image sit among the keys of joint and added layers.
        worsened: whether it is to predict worse than the model can; see :class:`Layout`.
    """

    text: torch.Tensor
    size: Grid
    timestep: Any
    grids: dict[int, Grid]
    seats: Seats
    worsened: bool = False
    further: int = 0

    @property
    def tokens(self) -> int:
        """The number of rows of text."""
        return int(self.text.shape[1]) + self.further

    def keys(self, kind: LayerKind) -> int | None:
        """The number of keys of a layer that sees text, by which its attention call is told from an adapter's."""
        if kind == "cross":
            return self.tokens
        # Every grid of a denoiser has its own number of keys where the image's are among them.
        own = kind == "joint" or (kind == "added" and len(self.grids) == 1)
        return self.seats.keys if own else None

    def places(self, kind: LayerKind, queries: int) -> Places | None:
        """Where text and image stand in an attention call with so many queries; None where its image has no known grid.

        In joint attention image rows beyond the grid (a reference image behind the one that is made) are left out.
        """
        if kind == "joint":
            grid = next(iter(self.grids.values()))
            return Places(grid, self.seats.image, self.seats.text) if queries == self.seats.keys else None
        if queries == self.seats.queries:
            queries = next(iter(self.grids))
        grid_of_queries = self.grids.get(queries)
        if grid_of_queries is None or kind in ("text", "linear"):
            return None
        if kind == "added":
            seats = self.seats.of(queries)
            return Places(grid_of_queries, slice(0, queries), seats.text, seats.image)
        text = slice(0, self.tokens) if kind == "cross" else None
        return Places(grid_of_queries, slice(0, queries), text)

    def place(self, kind: LayerKind, weights: KeyWeights, *, image_only: bool = True) -> KeyWeights:
        """Weights for the text's rows as weights for a layer's keys, for the image's queries alone or for all."""
        if kind == "cross":
            # The keys are few: merging copies next to nothing, and loses no bit.
            return replace(weights, floor=None)
        rows = self.seats.image if image_only and kind == "joint" else None
        return replace(weights, index=weights.index + self.seats.text.start, query_rows=rows)
