"""Records of single steps, layers and heads on disk: written while a run makes them, read one at a time."""

from promptattn.records.index import INDEX, Record, Subject
from promptattn.records.plan import LayerPlan, RecordsPlan, RecordsSize
from promptattn.records.reader import Records, open_records
from promptattn.records.writer import RecordsWriter

__all__ = [
    "INDEX",
    "LayerPlan",
    "Record",
    "Records",
    "RecordsPlan",
    "RecordsSize",
    "RecordsWriter",
    "Subject",
    "open_records",
]
