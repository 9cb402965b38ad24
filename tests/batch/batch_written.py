"""What a batch has written, to be compared."""

import json


def tree(folder):
    """Every file of a batch but the lock, by path: what must not depend on how it was made."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.relative_to(folder).as_posix() != ".batch/lock"
    }


def manifest(folder):
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]
