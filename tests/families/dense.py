"""What the layers of a stock pipeline attend to, worked out densely in float64: the oracle for weights and maps.

Where the text stands is taken from `facts.json`, which was found by changing tokens, and never from the tables of
promptattn.
"""

import contextlib
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from families.denoising import conditional_row
from torch.overrides import TorchFunctionMode


@dataclass(frozen=True)
class Seats:
    """Where the text stands, by the table of facts.

    Attributes:
        part: name of the denoiser in the pipeline.
        layers: names of the attention layers whose keys hold text.
        first, stop: key rows of the first row of the text, and behind its last.
        image: row of the image's first place among the queries, in joint attention; None where all are the image's.
        places: how many rows the image has then.
        calls: calls of the denoiser in a step.
        call, row: which of them, and which row of its batch, is the prompt's.
        negative: likewise of the negative prompt; None where there is none.
        image_alone: whether the layers are those in which places of the image attend to each other alone.
    """

    part: str
    layers: tuple[str, ...]
    first: int
    stop: int
    image: int | None
    places: int
    calls: int
    call: int
    row: int
    negative: tuple[int, int] | None
    image_alone: bool = False

    def key(self, row: int) -> int:
        """The key row of a row of the text; a negative one counts from the text's end."""
        return row + (self.first if row >= 0 else self.stop)


def seats(pipe: Any, facts: dict[str, Any]) -> Seats:
    """The seats of a family with one denoiser whose text is one run of rows, or several that follow one another."""
    ((part, found),) = facts["denoisers"].items()
    texts = {
        name: each for name, each in found["text_places"].items() if "pooled" not in name and "text_embeds" not in name
    }
    # Rows of other layers of the same encoder stand in the same places, and those of other encoders behind them.
    main = next((name for name in ("encoder_hidden_states", "encoder_hidden_states_t5") if name in texts), None)
    places = next(iter(texts.values())) if main is None else texts[main]
    seen = {
        group["layer"]: (_first(group["places"]), group) for shown in found["image_places"].values() for group in shown
    }
    groups = [group for group in places if group["places"]["runs"] and not _text_alone(seen, group)]
    # Layers that put the text in order before any layer sees both are not asked.
    if any(_joint(seen, group) for group in groups):
        groups = [group for group in groups if _joint(seen, group)]
    # Of a prompt with texts in quotes, what another encoder read of them stands before the others' first row, and what
    # they are filled up with behind: without quotes the text begins where the image ends.
    in_pieces = any(len({run[2] - run[0] for run in group["places"]["runs"]}) > 1 for group in groups)
    if in_pieces and "encoder_hidden_states_2" in texts:
        first = _last(seen[groups[0]["layer"]][1]["places"]) + 1
    else:
        (first,) = {_offset(group["places"]["runs"]) for group in groups}
    stop = first + 1 + max(token for group in groups for _, token, *_ in group["places"]["runs"])
    modules = [name for name, module in getattr(pipe, part).named_modules() if hasattr(module, "set_processor")]
    patterns = {re.escape(group["layer"]).replace(r"\*", r"\d+") for group in groups}
    layers = tuple(name for name in modules if any(re.fullmatch(pattern, name) for pattern in patterns))
    blind = {group["layer"] for group in places if not group["places"]["runs"]} & {group["layer"] for group in groups}
    if blind:
        # Of layers that are called alike those see text whose keys are made of embeddings of another width.
        blocks = {name: getattr(pipe, part).get_submodule(name) for name in layers}
        layers = tuple(name for name, each in blocks.items() if each.to_k.in_features != each.to_q.in_features)
    roles = found["rows_of_first_step"]
    negative = next(((at, rows.index("negative")) for at, rows in enumerate(roles) if "negative" in rows), None)
    starts = {
        (first, _last(at["places"]) - first + 1) for first, at in (seen[g["layer"]] for g in groups if _joint(seen, g))
    }
    image, count = starts.pop() if starts else (None, 0)
    return Seats(part, layers, first, stop, image, count, len(roles), *conditional_row(roles), negative)


def _offset(runs: list[list[int]]) -> int:
    """How far behind their token most key rows stand. Where a text is also pooled, one may seem to stand elsewhere."""
    offsets: Counter[int] = Counter()
    for token, last, *seats in runs:
        for seat in seats:
            offsets[seat - token] += last - token + 1
    return offsets.most_common(1)[0][0]


def _first(places: dict[str, Any]) -> int | None:
    return places.get("0,0", places.get("first"))


def _last(places: dict[str, Any]) -> int:
    return places.get("-1,-1", places.get("last"))


def _text_alone(seen: dict[str, tuple[int | None, dict[str, Any]]], group: dict[str, Any]) -> bool:
    """Whether the queries of a layer that reads text are not the image's: they are the text's, or one that pools it."""
    first, at = seen.get(group["layer"], (None, {}))
    return group["queries"] == 1 or (bool(at) and first is None and group["queries"] == group["keys"])


def _joint(seen: dict[str, tuple[int | None, dict[str, Any]]], group: dict[str, Any]) -> bool:
    """Whether a layer that reads text has queries of both text and image."""
    first, at = seen.get(group["layer"], (None, {}))
    return first is not None and at["queries"] == at["keys"]


@dataclass
class Weighed:
    """Odds on keys of the text: rows of the text, by the prompt and by the negative prompt."""

    positive: dict[int, float] = field(default_factory=dict)
    negative: dict[int, float] = field(default_factory=dict)


class _Dense(TorchFunctionMode):
    def __init__(self, seats: Seats, running: list[str], odds: Weighed | None) -> None:
        super().__init__()
        self.seats, self.running, self.odds = seats, running, odds
        self.denoised = -1
        self.seen: list[dict[str, torch.Tensor]] = []

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        layer = self.running[-1] if self.running else ""
        if function is not F.scaled_dot_product_attention or layer not in self.seats.layers:
            return function(*args, **kwargs)
        names = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal", "scale")
        given = dict(zip(names, args, strict=False)) | kwargs
        among_itself = given["query"].shape[-2] == given["key"].shape[-2]
        if self.seats.image is None and among_itself and not self.seats.image_alone:
            return function(*args, **kwargs)  # the text by itself, in a layer where only the image reads it
        output = self.attend(layer, **given)
        # Random denoisers blow rounding up from layer to layer, so what is only looked at stays as it is.
        return function(*args, **kwargs) if self.odds is None else output

    def attend(
        self,
        layer: str,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attn_mask: torch.Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> torch.Tensor:
        assert not is_causal
        assert not enable_gqa
        assert not dropout_p
        scores = query.double() @ key.double().mT * (scale or query.shape[-1] ** -0.5)
        if attn_mask is not None:
            if attn_mask.dtype == torch.bool:
                scores = scores.masked_fill(~attn_mask, -math.inf)
            else:
                scores = scores + attn_mask.double()
        if self.odds is not None:
            scores = scores + self.bias(scores)
        mass = scores.softmax(-1)
        self.seen[-1][layer] = mass.mean(1)
        return (mass @ value.double()).to(query.dtype)

    def bias(self, scores: torch.Tensor) -> torch.Tensor:
        """Logarithms of the odds, `[batch, 1, query, key]`, for the image's queries."""
        assert self.odds is not None
        bias = torch.zeros(scores.shape[0], 1, *scores.shape[2:], dtype=torch.float64)
        at = self.denoised % self.seats.calls
        for place, odds in (
            ((self.seats.call, self.seats.row), self.odds.positive),
            (self.seats.negative, self.odds.negative),
        ):
            if place is not None and place[0] == at:
                for row, weight in odds.items():
                    bias[place[1], 0, self.image(scores), self.seats.key(row)] = (
                        math.log(weight) if weight else -math.inf
                    )
        return bias

    def image(self, scores: torch.Tensor) -> torch.Tensor:
        """The query rows of the image."""
        return image_rows(self.seats, scores.shape[-2])


def image_rows(seats: Seats, queries: int) -> torch.Tensor:
    """The query rows of the image: all of them in cross-attention. Behind the text they are the last ones, whatever the
    number of tokens."""
    rows = torch.arange(queries)
    if seats.image is None:
        return rows
    if seats.image < seats.first:
        return rows[seats.image : seats.image + seats.places]
    return rows[queries - seats.places :]


@contextlib.contextmanager
def dense(pipe: Any, where: Seats, odds: Weighed | None = None) -> Iterator[list[dict[str, torch.Tensor]]]:
    """Collects for each call of the denoiser what its layers that read text attend to, by name: float64 `[batch, query,
    key]`, mean over heads. With odds on keys of the text the layers also attend so, densely in float64.
    """
    running: list[str] = []
    denoiser = getattr(pipe, where.part)
    mode = _Dense(where, running, odds)

    def begin(*_: Any) -> None:
        mode.denoised += 1
        mode.seen.append({})

    with contextlib.ExitStack() as stack:
        stack.callback(denoiser.register_forward_pre_hook(begin).remove)
        for name in where.layers:
            layer = denoiser.get_submodule(name)
            stack.callback(layer.register_forward_pre_hook(lambda *_, name=name: running.append(name)).remove)
            stack.callback(layer.register_forward_hook(lambda *_: running.pop() and None, always_call=True).remove)
        stack.enter_context(mode)
        yield mode.seen
