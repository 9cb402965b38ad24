"""All maps of a run: ask by word, phrase, occurrence, token, marker, patch, image, layer, step or head."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from promptattn.errors import CaptureError, ConfigError, PromptAttnWarning
from promptattn.maps.combination import RULES, Rule, layer_shares
from promptattn.maps.heatmap import HeatMap
from promptattn.maps.records import ColumnInfo, ColumnKind, LayerMaps, PatchMaps, PromptInfo, TextAttention
from promptattn.prompt import Token, Word

__all__ = ["HeatMaps", "State"]

State = Literal["recorded", "cut", "left out"]

_WHY = {
    "cut": "it was cut off, being beyond what the text encoder reads",
    "left out": "it was not captured, because Capture was told to watch other words",
}


@dataclass(frozen=True, eq=False)
class HeatMaps:
    """Where the model looked, for every word of the prompt and every image of the batch.

        maps["cat"]            the first "cat"; maps["a", 1] the second "a"; maps["red cat"] the phrase
        maps.image(1)["cat"]   in the second image of a batch
        maps.layer("mid_block.attentions.0.transformer_blocks.0.attn2")["cat"]
        maps.combine("mean")["cat"]      all layers alike, instead of by their coherence

    A batch of several images has several answers to `maps["cat"]`, so that raises until one is chosen with `image(i)`;
    `maps.images` lists them all.

    Of a prompt that was not one text at every step, `maps["cat"]` is a word of any of its texts, and `maps["red cat"]`
    a phrase of any. A mean over all recorded steps is what it says there too: a word has no mass in the steps in which
    it was not in force, so that the columns of a place still sum to 1. `step` shows single steps.
    """

    prompts: tuple[PromptInfo, ...]
    """The prompts of the batch, each once."""
    records: tuple[LayerMaps, ...]
    """What each layer recorded."""
    image_size: tuple[int, int]
    """(height, width) of the images in pixels."""
    prompt_index: tuple[int, ...] = (0,)
    """For each image, which of `prompts` it was made from."""
    patches: tuple[PatchMaps, ...] = ()
    """Image self-attention to picked patches, one entry per layer and patch."""
    sources: tuple[LayerMaps, ...] = ()
    """What each layer recorded of where the words themselves look, in joint attention (`text->image`)."""
    text_attention: tuple[TextAttention, ...] = ()
    """Attention between words: in the text encoders one entry per encoder and prompt, in joint attention per image."""
    averaged: bool = False
    """Whether a word's map is the mean of its tokens' maps, as for where words look, and not their sum."""
    meta: Mapping[str, Any] = field(default_factory=dict)
    """What else is known of the run (model, seed, settings, versions); values that JSON can hold."""
    rule: Rule = "coherence"
    """How layers become one map; chosen with `combine`."""

    def __post_init__(self) -> None:
        count = len(self.prompt_index)
        recorded = [(layer.name, len(layer.mass)) for layer in (*self.records, *self.sources)]
        recorded += [(patch.name, len(patch.mass)) for patch in self.patches]
        for name, images in recorded:
            if images != count:
                raise CaptureError(f"Layer {name} recorded {images} images, but the run had {count}.")
        wide = max((len(prompt.columns) for prompt in self.prompts), default=0)
        for layer in (*self.records, *self.sources):
            if layer.mass.shape[-1] < wide:
                raise CaptureError(f"Layer {layer.name} recorded {layer.mass.shape[-1]} columns of {wide}.")

    # Choosing a part of the run. Each gives another HeatMaps.

    def __len__(self) -> int:
        """Number of images."""
        return len(self.prompt_index)

    @property
    def images(self) -> tuple["HeatMaps", ...]:
        """One `HeatMaps` for each image of the batch."""
        return tuple(self.image(i) for i in range(len(self)))

    def image(self, index: int) -> "HeatMaps":
        """The maps of one image of the batch, counted from 0."""
        if not 0 <= index < len(self):
            raise CaptureError(f"There is no image {index}: the run made {_count(len(self), 'image')}, counted from 0.")
        prompt = self.prompt_index[index]
        columns = len(self.prompts[prompt].columns)
        return replace(
            self,
            # The settings are the whole batch's: its prompts, the seed of its first image.
            meta={**self.meta, "image": index} if len(self) > 1 else self.meta,
            prompts=(self.prompts[prompt],),
            prompt_index=(0,),
            records=tuple(_pick_image(layer, index, columns) for layer in self.records),
            sources=tuple(_pick_image(layer, index, columns) for layer in self.sources),
            patches=tuple(replace(patch, mass=patch.mass[index : index + 1]) for patch in self.patches),
            text_attention=tuple(
                replace(text, prompt=0, image=None if text.image is None else 0)
                for text in self.text_attention
                if text.prompt == prompt and text.image in (None, index)
            ),
        )

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the recorded cross-attention layers, in the order in which they run."""
        return tuple(layer.name for layer in self.records)

    def layer(self, pattern: str) -> "HeatMaps":
        """Only the layers whose name is, or matches, `pattern` (shell style: `up_blocks.*`)."""
        chosen = tuple(record for record in self.records if fnmatchcase(record.name, pattern))
        if not chosen:
            raise CaptureError(f"No recorded layer matches {pattern!r}. Recorded: {', '.join(self.layers) or 'none'}.")
        patches = tuple(patch for patch in self.patches if fnmatchcase(patch.name, pattern))
        sources = tuple(record for record in self.sources if fnmatchcase(record.name, pattern))
        return replace(self, records=chosen, patches=patches, sources=sources)

    @property
    def encoders(self) -> tuple[str, ...]:
        """The text encoders whose tokens the denoiser sees, each in rows of its own."""
        return tuple(reading.encoder for reading in self.prompts[0].readings) if self.prompts else ()

    def encoder(self, name: str) -> "HeatMaps":
        """The maps of one text encoder's copies of the words (`text_encoder_3`): its tokens, and its part of each word.

        Unless an encoder is chosen, a word's map is the sum of its copies in all of them.
        """
        if name not in self.encoders:
            raise CaptureError(
                f"There is no text encoder {name!r} in these maps. There is: {', '.join(self.encoders)}."
            )
        return replace(self, prompts=tuple(_read_by(prompt, name) for prompt in self.prompts))

    def looking(self) -> "HeatMaps":
        """Where the words themselves look, in joint attention.

        `maps.looking()["cat"]` is the share of its own attention that "cat" gives to each place of the image, a mean
        over its tokens; over all places together at most 1.

        Raises `CaptureError` unless `Capture(relations=...)` held `text->image`.
        """
        if not self.sources:
            raise CaptureError(
                "Where words themselves look was not recorded; it needs joint attention (Stable Diffusion 3, Flux) and"
                ' Capture(relations=["image->text", "text->image"]).'
            )
        return replace(self, records=self.sources, sources=(), patches=(), averaged=True)

    def combine(self, rule: Rule) -> "HeatMaps":
        """The same maps with layers combined by another rule; `HeatMap.array` and pictures follow it.

        `coherence`: a layer counts by how much of its maps is shape and not noise: the correlation `r` of neighbouring
        places, taken as the signal-to-noise ratio `r / (1 - r)`. This is the default: it grounds words about as well as
        a model's best layers do, without knowing their names (docs/maps.md has the figures). `finest`: the mean of the
        layers with the most places. `mean`: the mean of all. Maps of patches are always a mean.

        Raises `ConfigError` for any other rule.
        """
        if rule not in RULES:
            raise ConfigError(f"There is no rule {rule!r} to combine layers by; choose one of {', '.join(RULES)}.")
        return replace(self, rule=rule)

    @cached_property
    def shares(self) -> Mapping[str, float]:
        """Each layer's share of the combined maps of this image, by name, together 1; the same for all words.

        Under `coherence` they come from all columns that were recorded, so they depend a little on which those are.
        """
        self._single()
        return layer_shares(self.rule, {record.name: record.mass[0] for record in self.records})

    def step(self, number: int) -> "HeatMaps":
        """The maps of one denoising step, counted from 0; needs `Capture(per_step=True)`."""
        for record in self.records:
            if record.per_step is None:
                raise CaptureError("Steps were not kept apart in this run; ask for Capture(per_step=True) first.")
            if number not in record.step_numbers:
                kept = ", ".join(map(str, record.step_numbers))
                raise CaptureError(
                    f"Step {number} was not recorded in layer {record.name}. Recorded: {kept or 'none'}."
                )
        return self._recast(lambda layer: layer.per_step[layer.step_numbers.index(number)])

    def head(self, index: int) -> "HeatMaps":
        """The maps of one attention head, counted from 0; needs `Capture(per_head=True)`."""
        for record in self.records:
            if record.per_head is None:
                raise CaptureError("Heads were not kept apart in this run; ask for Capture(per_head=True) first.")
            if index not in record.head_numbers:
                kept = ", ".join(map(str, record.head_numbers))
                raise CaptureError(f"Head {index} was not recorded in layer {record.name}. Recorded: {kept or 'none'}.")
        return self._recast(lambda layer: layer.per_head[:, layer.head_numbers.index(index)])

    def _recast(self, mass: Any) -> "HeatMaps":
        records = tuple(replace(layer, mass=mass(layer), per_step=None, per_head=None) for layer in self.records)
        return replace(self, records=records, patches=(), sources=())

    # Asking for a map. These need a single image.

    @property
    def prompt(self) -> PromptInfo:
        """The prompt; raises `CaptureError` when the batch holds several and none was chosen with `image(i)`."""
        if len(self.prompts) != 1:
            raise CaptureError(f"The batch has {len(self.prompts)} prompts; choose an image first, with maps.image(i).")
        return self.prompts[0]

    @property
    def words(self) -> tuple[Word, ...]:
        """The words of the prompt, in order; runs of punctuation are among them, marked `is_punctuation`."""
        return self.prompt.words

    @property
    def tokens(self) -> tuple[Token, ...]:
        """The tokens of the prompt, in order."""
        return self.prompt.tokens

    @property
    def columns(self) -> tuple[ColumnInfo, ...]:
        """What each column of the masses is."""
        return self.prompt.columns

    def __iter__(self) -> Iterator[Word]:
        """The words; `maps[word]` is each one's map."""
        return iter(self.words)

    def __contains__(self, key: object) -> bool:
        try:
            self._words_of(key)
        except CaptureError:
            return False
        return True

    def __getitem__(self, key: Any) -> HeatMap:
        """The map of a word or phrase: `maps["cat"]`, `maps["a", 1]`, `maps["red cat"]`, or `maps[word]`.

        Raises `CaptureError` when the prompt has no such word (naming the nearest), when the word was cut off before
        the model saw it or was not captured, and when an image of the batch must be chosen first.
        """
        words = self._words_of(key)
        label = " ".join(word.text for word in words)
        columns = [column for word in words for column in self._columns_of(word)]
        for word in words:
            if all(word.index in reading.cut for reading in self.prompt.readings):
                warnings.warn(
                    f"{word.text!r} was cut in part: its map is that of the tokens which the text encoder reads.",
                    PromptAttnWarning,
                    stacklevel=2,
                )
        weights = {word.weight for word in words}
        return self._sum(label, columns, weights.pop() if len(weights) == 1 else None)

    def token(self, index: int) -> HeatMap:
        """The map of one token of the first text encoder, by its index in `tokens`; see `encoder` for others."""
        if not 0 <= index < len(self.tokens):
            raise CaptureError(
                f"There is no token {index}: the prompt has {_count(len(self.tokens), 'token')}, from 0."
            )
        token = self.tokens[index]
        return self._sum(token.text, self._columns_of(token), token.weight)

    def special(self, kind: ColumnKind) -> HeatMap:
        """The map of the `"start"` or `"end"` markers or the `"padding"`, summed over the encoder's windows."""
        picked = [i for i, column in enumerate(self.columns) if column.kind == kind]
        if not picked or kind == "token":
            there = sorted({column.kind for column in self.columns} - {"token"})
            raise CaptureError(f"No column of kind {kind!r} was recorded. There is: {', '.join(there) or 'none'}.")
        return self._sum(f"[{kind}]", picked, None)

    def patch(self, index: int) -> HeatMap:
        """How much each place attends to the picked patch `index`, in the order in which patches were picked."""
        self._single()
        places = list(dict.fromkeys(patch.patch for patch in self.patches))
        if not 0 <= index < len(places):
            raise CaptureError(
                f"There is no patch {index}: {_count(len(places), 'patch', 'patches')} recorded. "
                "Pick them with Capture(patches=...) before the run."
            )
        layers = {patch.name: patch.mass[0] for patch in self.patches if patch.patch == places[index]}
        row, column = places[index]
        return HeatMap(f"patch at ({row:.2f}, {column:.2f})", self.image_size, layers)

    def at(self, row: float, column: float) -> list[tuple[Word, float]]:
        """The words that own a place, most mass first; (row, column) relative to the image, in [0, 1]."""
        if not (0 <= row <= 1 and 0 <= column <= 1):
            raise CaptureError(
                f"A place is (row, column) between 0 and 1, from the top left; ({row}, {column}) is not."
            )
        height, width = self.image_size
        y, x = min(int(row * height), height - 1), min(int(column * width), width - 1)
        kept = [word for word in self.words if not word.is_punctuation and self.state(word) == "recorded"]
        found = [(word, float(self[word].resized(self.image_size)[y, x])) for word in kept]
        return sorted(found, key=lambda pair: -pair[1])

    def relation(self, query: Any, key: Any, *, encoder: str | None = None) -> float:
        """How much the word `query` attends to the word `key`, in [0, 1], mean over layers and over query tokens.

        `encoder` is one of `[text.encoder for text in maps.text_attention]`; without it, the first text encoder that
        read both. Text encoders of the CLIP kind are causal: a word attends only to itself and to words before it.
        """
        self._single()
        queries, keys = self._words_of(query), self._words_of(key)
        texts = [text for text in self.text_attention if encoder in (None, text.encoder)]
        if not texts:
            names = ", ".join(text.encoder for text in self.text_attention) or "none"
            raise CaptureError(
                f"No attention between words was recorded{f' in {encoder!r}' if encoder else ''}. Encoders: {names}. "
                "Capture(relations=...) must hold 'text->text'."
            )
        for text in texts:
            if text.reads(queries) and text.reads(keys):
                return text.between(queries, keys)
        raise CaptureError(f"The text encoder did not read {query!r} and {key!r} together, so neither saw the other.")

    def state(self, what: Word | Token) -> State:
        """Whether a word or token has a map, and if not why: `recorded`, `cut`, `left out`."""
        if self.records and self._places_of(what):
            return "recorded"
        read = isinstance(what, Token) or self.prompt.copies(what.index)
        return "left out" if read else "cut"

    # How a question becomes columns.

    def _single(self) -> None:
        if len(self) != 1:
            raise CaptureError(f"These are the maps of {len(self)} images; choose one first, with maps.image(i).")

    def _words_of(self, key: Any) -> tuple[Word, ...]:
        phrase, occurrence = key if isinstance(key, tuple) and len(key) == 2 else (key, 0)
        if isinstance(phrase, str) and isinstance(occurrence, int):
            return self.prompt.find(phrase, occurrence)
        if hasattr(phrase, "tokens") and phrase in self.words:
            return (phrase,)
        raise CaptureError(
            f'Ask for a word ("cat"), a phrase ("red cat"), an occurrence ("a", 1) or one of maps.words; not {key!r}. '
            "Tokens are under maps.token(i) and images under maps.image(i)."
        )

    def _columns_of(self, what: Word | Token) -> list[int]:
        if columns := self._places_of(what):
            return columns
        raise CaptureError(f"{what.text!r} has no map: {_WHY[self.state(what)]}.")

    def _places_of(self, what: Word | Token) -> list[int]:
        """The columns of a token, or of all copies of a word; empty where one of a copy's tokens was not kept."""
        prompt = self.prompt
        keys = [(prompt.encoder, what.index)] if isinstance(what, Token) else prompt.copies(what.index)
        at = {
            (column.encoder, column.token): index for index, column in enumerate(self.columns) if column.kind == "token"
        }
        return [at[key] for key in keys] if all(key in at for key in keys) else []

    def _sum(self, label: str, columns: Sequence[int], weight: float | None) -> HeatMap:
        self._single()
        if not self.records:
            if self.text_attention or self.sources or self.patches:
                raise CaptureError(
                    "Where words are looked at was not recorded: Capture(relations=...) left out image->text."
                )
            raise CaptureError("No layer was recorded, so there are no maps; was the pipeline run inside attend(...)?")
        count = len(columns) if self.averaged else 1
        layers = {layer.name: _sum_of(layer.mass[0], columns) / np.float32(count) for layer in self.records}
        return HeatMap(label, self.image_size, layers, weight, self.shares)

    # Files.

    def save(
        self,
        folder: str | PathLike[str],
        *,
        image: Any = None,
        force: bool = False,
        alpha: float = 0.9,
        colormap: str = "ember",
    ) -> Path:
        """Write pictures, arrays and the HTML viewer to a folder, whole or not at all; see `promptattn.export.save`."""
        from promptattn.export import save  # export draws maps, so it stands above them

        return save(self, folder, image=image, force=force, alpha=alpha, colormap=colormap)

    def plot(self, words: Sequence[Any] | str | None = None, **options: Any) -> Any:
        """The maps side by side as a matplotlib figure; see `promptattn.export.plot`. Needs the extra `[plot]`."""
        from promptattn.export import plot

        return plot(self, words, **options)

    def _repr_html_(self) -> str | None:
        """What a notebook shows: the viewer, on a plain ground, as the maps do not hold the images."""
        if not len(self):
            return None
        from promptattn.export.viewer import in_notebook, shown_images

        return in_notebook(shown_images(self))

    @classmethod
    def load(cls, path: str | PathLike[str]) -> "HeatMaps":
        """Read maps back from a folder that `save` wrote, or from its `maps.npz` or `maps.safetensors`."""
        from promptattn.export import load

        return load(path)


def _read_by(prompt: PromptInfo, encoder: str) -> PromptInfo:
    """The prompt as one of its encoders reads it; columns of other encoders keep their place, but nobody asks them."""
    reading = next(each for each in prompt.readings if each.encoder == encoder)
    return replace(prompt, tokens=reading.tokens, words=reading.words, cut=reading.cut, encoder=encoder, others=())


def _pick_image(layer: LayerMaps, index: int, columns: int) -> LayerMaps:
    """One image of a layer, without the columns that only longer prompts of the batch have."""
    one, own = slice(index, index + 1), slice(columns)
    return replace(
        layer,
        mass=layer.mass[one, ..., own],
        per_step=None if layer.per_step is None else layer.per_step[:, one, ..., own],
        per_head=None if layer.per_head is None else layer.per_head[one, ..., own],
    )


def _sum_of(mass: NDArray[np.float32], columns: Sequence[int]) -> NDArray[np.float32]:
    total: NDArray[np.float32] = mass[..., list(columns)].sum(axis=-1, dtype=np.float64).astype(np.float32)
    total.flags.writeable = False
    return total


def _count(number: int, noun: str, plural: str | None = None) -> str:
    return f"{number} {noun if number == 1 else plural or noun + 's'}"
