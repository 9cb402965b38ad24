"""Where the records of single steps, layers and heads go while a run makes them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from os import PathLike
from typing import TYPE_CHECKING, Literal, get_args

from promptattn.errors import ConfigError

if TYPE_CHECKING:
    from promptattn.records import RecordsSize

__all__ = ["RECORD_DTYPES", "RecordDtype", "Stream"]

RecordDtype = Literal["float32", "float16"]
RECORD_DTYPES: tuple[RecordDtype, ...] = get_args(RecordDtype)


@dataclass(frozen=True)
class Stream:
    """A folder that records are streamed to: safetensors shards and an index; see :mod:`promptattn.records`.

    Attributes:
        folder: made when the pipeline is called. A further call inside the same run makes `folder-2`, and so on.
        shard_mib: the size of a shard in MiB. So much memory is used for records that are not written yet; a record
            that is larger has a shard of its own.
        dtype: `float32` is exact. `float16` is half the size: 11 significant bits, and what is below 6e-8 becomes 0.
        force: replace records that stand in the folder.
        on_size: called with how much will be written, before the first step.

    Raises:
        ConfigError: for a size or a dtype that cannot be.
    """

    folder: str | PathLike[str]
    shard_mib: float = 256.0
    dtype: RecordDtype = "float32"
    force: bool = False
    on_size: "Callable[[RecordsSize], None] | None" = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not 0 < self.shard_mib < float("inf"):
            raise ConfigError(f"Stream(shard_mib={self.shard_mib!r}) must be a positive number of MiB, such as 256.")
        if self.dtype not in RECORD_DTYPES:
            raise ConfigError(f"Stream(dtype={self.dtype!r}) is none of {', '.join(RECORD_DTYPES)}.")
