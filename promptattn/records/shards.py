"""Safetensors files of bounded size, each written whole under another name and then renamed."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from promptattn.errors import ExportError
from promptattn.export.atomic import reason

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

__all__ = ["Shard", "Shards", "replace_file"]

_DTYPES = {"float32": "F32", "float16": "F16"}


@dataclass(frozen=True)
class Shard:
    """A file that is complete: its name, the names of its tensors, and how many bytes those are."""

    file: str
    tensors: tuple[str, ...]
    bytes: int


class Shards:
    """Gathers tensors, and writes them to the next file when they have grown to the size of a shard.

    Attributes:
        folder: where the files stand; it exists.
        limit: bytes of tensors in a shard; one that is larger stands alone.
        held: bytes of the tensors that are not written yet, at most `limit` between two calls.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder = folder
        self.limit = limit
        self.held = 0
        self._written = 0
        self._tensors: dict[str, NDArray[Any]] = {}

    def add(self, name: str, tensor: NDArray[Any]) -> list[Shard]:
        """Take a tensor, which nobody writes to any more; returns the shards that became complete by it."""
        written = self.flush() if self.held + tensor.nbytes > self.limit else []
        self._tensors[name] = tensor
        self.held += tensor.nbytes
        return written + (self.flush() if self.held >= self.limit else [])

    def flush(self) -> list[Shard]:
        """Write what is held, if anything, to a file.

        Raises:
            ExportError: when it cannot be written; nothing of it is left then, and no other shard is touched.
        """
        if not self._tensors:
            return []
        shard = Shard(f"shard-{self._written + 1:05}.safetensors", tuple(self._tensors), self.held)
        replace_file(
            self.folder / shard.file, _header(self._tensors), *(tensor.data for tensor in self._tensors.values())
        )
        self._written += 1
        self._tensors, self.held = {}, 0
        return [shard]


def replace_file(file: Path, *parts: "Buffer") -> None:
    """Write the parts one after the other to a file that has them all or is not changed.

    Raises:
        ExportError: when it cannot be written.
    """
    partial = file.with_name(f".{file.name}.partial")
    try:
        with partial.open("wb") as stream:
            for part in parts:
                stream.write(part)
        partial.replace(file)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise ExportError(f"{reason(error, file)} The shards before it can be read.") from error
        raise


def _header(tensors: Mapping[str, NDArray[Any]]) -> bytes:
    """The beginning of a safetensors file: the header's length (8 bytes, little-endian), and the header in JSON.

    Not `safetensors.numpy.save`, which makes a second copy of all tensors in memory.
    https://huggingface.co/docs/safetensors/index#format
    """
    header: dict[str, Any] = {}
    end = 0
    for name, tensor in tensors.items():
        start, end = end, end + tensor.nbytes
        header[name] = {"dtype": _DTYPES[tensor.dtype.name], "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text
