"""A script: batches in child processes that are killed, or that the disk fails, at moments that a seed chooses.

    python killing.py FOLDER

Torch is loaded once, and every child is forked from there. Prints what happened, as JSON.
"""

import json
import os
import random
import resource
import signal
import sys
import time
from pathlib import Path

import torch

from promptattn.batch import run_batch
from promptattn.config import load_config
from promptattn.errors import ExportError

LINES = ["un gato (rojo:1.4)", "a blue star", "un ratón gris", "a green circle", "{bad", "a cat AND a mouse"]
SETS = ["steps=2", "size.height=32", "size.width=32"]


def child(work):
    """Fork a process that does `work` and nothing else; returns its number."""
    number = os.fork()
    if number:
        return number
    try:
        work()
        os._exit(0)
    except ExportError as error:
        sys.stderr.write(f"{error}\n")
        os._exit(3)
    except BaseException as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        os._exit(4)


def ended(number):
    """How a child ended: its exit code, or minus the signal."""
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])


def main(root):
    torch.set_num_threads(1)
    file = root / "p.jsonl"
    file.write_text("".join((line if "{" in line else json.dumps(line)) + "\n" for line in LINES))
    config = load_config(None, SETS)

    def make(folder):
        return lambda: run_batch(file, root / folder, config, batch=2)

    began = time.monotonic()
    codes = {"whole": ended(child(make("whole")))}
    length = time.monotonic() - began
    chance = random.Random(7)
    codes["killed"] = []
    for _ in range(40):
        number = child(make("killed"))
        time.sleep(chance.uniform(0.2, 0.8) * length)
        os.kill(number, signal.SIGKILL)
        codes["killed"].append(ended(number))
        if codes["killed"][-1] == 0 or len(codes["killed"]) == 4:
            break
    codes["after kills"] = ended(child(make("killed")))

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        make("limited")()

    codes["limited"] = ended(child(limited))
    left = root / "limited"
    codes["left"] = sorted(path.name for path in left.iterdir()) if left.is_dir() else []
    codes["after limit"] = ended(child(make("limited")))
    print(json.dumps(codes))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
