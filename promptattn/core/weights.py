"""What to weigh: real weights on chosen keys."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast, get_args

import torch
from torch import Tensor

from promptattn.errors import WeightingError

__all__ = ["SAFE_FLOOR", "KeyWeights", "Rule"]

Rule = Literal["odds", "values", "scaling"]

# The correction path divides by at least min(|w|, 1), so it multiplies the kernel's rounding error by at most
# 1 / floor: with one half that is one bit. Below it the merge path, which has no such factor, takes over.
SAFE_FLOOR = 0.5


@dataclass(frozen=True)
class KeyWeights:
    """Real weights for a few keys, and the rule by which they act. Keys that are not listed keep weight 1.

    With `s_ij = scale * <q_i, k_j> + mask_ij`, and sums over all keys:

        rule        mass                                                        output
        "odds"      p_ij = |w_ij| e^{s_ij} / sum_j' |w_ij'| e^{s_ij'}           o_i = sum_j sign(w_ij) p_ij v_j
        "values"    p_ij = e^{s_ij} / sum_j' e^{s_ij'}                          o_i = sum_j w_ij p_ij v_j
        "scaling"   as "values", with |w_ij| scale * <q_i, k_j> + mask_ij       o_i = sum_j w_ij p_ij v_j

    "odds" (the default): 1 leaves a key alone, 0 deletes it, 2 counts it twice, -w gives it the mass of w and flips its
    value's sign. "values" is the re-weighting of Prompt-to-Prompt (Hertz et al. 2022, arXiv:2208.01626, section 3.2):
    the column of the map is multiplied after the softmax, and the rest is not told, so the output may grow without
    bound. "scaling" is what follows from a key of |w| times the length and a value of w times: a weight of 0 leaves
    the key a score of 0. By either a row whose weights are all 0 gives output 0, but its mass is there.

    index: int64 `[J]`, the keys to weigh, each at most once (only `of` checks that: here it would mean waiting for
        the device).
    weight: real `[J]`, `[batch, J]` or `[batch, query, J]` (where `query` is the number of rows the weights apply to);
        finite, any sign, 0 included. Gradients flow back to it.
    query_rows: the query rows that the weights apply to: a slice with step 1, an int64 tensor of row numbers, or a bool
        tensor `[query]`; None means all. Every other row sees weight 1.
    floor: a number the host knows to be <= every |weight|, or None. At `SAFE_FLOOR` and above it allows the cheaper
        correction path for odds. It is a promise: it is never compared with the weights on the device.
    neutral: the host knows that every weight is 1, so the library's own call runs untouched.
    rule: see above.
    """

    index: Tensor
    weight: Tensor
    query_rows: slice | Tensor | None = None
    floor: float | None = None
    neutral: bool = False
    rule: Rule = "odds"

    def __post_init__(self) -> None:
        if self.rule not in get_args(Rule):
            raise WeightingError(f"rule={self.rule!r} is none of {', '.join(get_args(Rule))}")
        if self.index.ndim != 1:
            raise WeightingError(f"key weights need an index of shape [J]; got {list(self.index.shape)}")
        if self.weight.ndim not in (1, 2, 3) or self.weight.shape[-1] != self.index.shape[0]:
            raise WeightingError(
                f"key weights for {self.index.shape[0]} keys need a weight of shape [J], [batch, J] or "
                f"[batch, query, J] with J = {self.index.shape[0]}; got {list(self.weight.shape)}"
            )
        if not self.weight.is_floating_point():
            raise WeightingError(f"key weights must be floating point; got {self.weight.dtype}")
        if isinstance(self.query_rows, slice) and self.query_rows.step not in (None, 1):
            raise WeightingError("query_rows as a slice must have step 1; pass a tensor of row numbers instead")

    @classmethod
    def of(
        cls,
        index: Sequence[int],
        weight: Sequence[float] | Sequence[Sequence[float]],
        *,
        query_rows: slice | Tensor | None = None,
        device: torch.device | str | None = None,
        rule: Rule = "odds",
    ) -> KeyWeights:
        """Weights from values on the host: `weight` is one number per key, or one list per batch row.

        Fills `neutral` and `floor` by looking at the numbers. `floor` is rounded down to `SAFE_FLOOR` or None, so that
        a compiled model is traced once for gentle weights and once for the others, never once per value.

        Raises WeightingError for a key listed twice, a negative key, a ragged table or a number that is not finite.
        """
        if len(set(index)) != len(index) or any(key < 0 for key in index):
            raise WeightingError(f"keys to weigh must be distinct and not negative; got {list(index)}")
        nested = bool(weight) and isinstance(weight[0], Sequence)
        rows = cast("Sequence[Sequence[float]]", weight if nested else [weight])
        for row in rows:
            if len(row) != len(index):
                raise WeightingError(f"{len(index)} keys need {len(index)} weights; got {len(row)}: {list(row)}")
            if not all(math.isfinite(value) for value in row):
                raise WeightingError(f"weights must be finite numbers; got {list(row)}")
        values = [value for row in rows for value in row]
        return cls(
            index=torch.tensor(list(index), dtype=torch.int64, device=device),
            weight=torch.tensor(
                [list(row) for row in rows] if nested else list(rows[0]), dtype=torch.float32, device=device
            ),
            query_rows=query_rows,
            floor=SAFE_FLOOR if all(abs(value) >= SAFE_FLOOR for value in values) else None,
            neutral=all(value == 1 for value in values),
            rule=rule,
        )

    @property
    def acts(self) -> bool:
        """Whether the weights may change anything, as far as the host knows."""
        return not self.neutral and self.index.shape[0] > 0

    @property
    def counts(self) -> bool:
        """Whether a key of weight w has |w| times its mass, so that the others have less."""
        return self.rule == "odds"

    @property
    def correctable(self) -> bool:
        """Whether the output of the unweighted kernel can be corrected without losing digits.

        Under "values" always: nothing is divided. For odds the host must know every |weight| to be at least
        `SAFE_FLOOR`. Scaled scores change the mass by no known factor.
        """
        return self.rule == "values" or (self.counts and self.floor is not None and self.floor >= SAFE_FLOOR)

    def gain(self, weight: Tensor) -> Tensor | None:
        """What `scale * <q, k>` of these keys is multiplied by, of `weight`'s shape; None for nothing."""
        return weight.abs() if self.rule == "scaling" else None

    def expand(self, query_length: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """The weights for every query row: `[batch or 1, 1, query or 1, J]`, to meet `[batch, head, query, J]`."""
        weight = self.weight.to(dtype)
        weight = weight[None, None] if weight.ndim == 1 else weight
        weight = weight.unsqueeze(1) if weight.ndim == 2 else weight
        rows = self.query_rows
        if rows is None:
            _check_rows(weight, query_length)
        elif isinstance(rows, slice):
            start, stop, _ = rows.indices(query_length)
            count = max(stop - start, 0)
            _check_rows(weight, count)
            pad = [weight.new_ones(weight.shape[0], n, weight.shape[2]) for n in (start, query_length - start - count)]
            weight = torch.cat([pad[0], weight.expand(-1, count, -1), pad[1]], dim=1)
        elif rows.dtype == torch.bool:
            _check_rows(weight, query_length)
            weight = torch.where(rows[None, :, None], weight, torch.ones_like(weight))
        else:
            _check_rows(weight, rows.shape[0])
            full = weight.new_ones(weight.shape[0], query_length, weight.shape[2])
            weight = full.index_copy(1, rows, weight.expand(-1, rows.shape[0], -1))
        return weight.unsqueeze(1)

    def at(self, keys: Tensor, weight: Tensor) -> Tensor:
        """The weights of other keys, `[..., C]` for int64 keys `[C]`, from `expand`'s result: 1 where not listed."""
        same = keys[:, None] == self.index[None, :]
        picked = weight.index_select(-1, same.to(torch.int8).argmax(dim=1))
        return torch.where(same.any(dim=1), picked, torch.ones_like(picked))


def _check_rows(weight: Tensor, rows: int) -> None:
    if weight.shape[1] not in (1, rows):
        raise WeightingError(
            f"weights for {weight.shape[1]} query rows meet {rows} rows; give one per row, or one for all"
        )
