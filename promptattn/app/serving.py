"""Serving the page: to this machine alone unless asked, with bounds on what may wait and on what may be sent."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import gradio as gr

from promptattn.app.page import page_of
from promptattn.app.runs import Pipelines
from promptattn.app.turns import Turns
from promptattn.config import preset_names

__all__ = ["LOOPBACK", "serving"]

LOOPBACK = "127.0.0.1"

_THREADS = 40  # for all that is quick


@contextmanager
def serving(
    models: Sequence[str] = (),
    *,
    host: str = LOOPBACK,
    port: int | None = None,
    queue: int = 16,
    upload_mb: int = 32,
    device: str = "auto",
) -> Iterator[str]:
    """Serve the page until the context is left; gives its address.

    Args:
        models: presets, folders or hub ids to offer, the first of which is chosen; every preset if none are named.
        host: who can reach it: this machine alone, or with 0.0.0.0 everybody in the network.
        port: None is the first free one from 7860 on.
        queue: how many runs may wait.
        upload_mb: megabytes of a dropped image.
        device: as for :func:`promptattn.load`.

    Raises:
        OSError: when the port is taken.
    """
    # Everything that is sent or made lies here, and goes when the context is left.
    with tempfile.TemporaryDirectory(prefix="promptattn-") as folder, _environment(GRADIO_TEMP_DIR=folder):
        offered = models or _shipped_first(preset_names())
        page = page_of(offered, Pipelines(device), Turns(queue), Path(folder), most_bytes=upload_mb * 2**20)
        page.queue()
        _, address, _ = page.launch(
            server_name=host,
            server_port=port,
            max_file_size=upload_mb * 2**20,
            max_threads=_THREADS + queue,  # a run that waits has one
            prevent_thread_lock=True,
            inbrowser=False,
            share=False,
            quiet=True,
            ssr_mode=False,
            pwa=False,
            mcp_server=False,
            run_history=False,
            enable_monitoring=False,
            footer_links=[],
            **_look(upload_mb),
        )
        try:
            yield address
        finally:
            page.close(verbose=False)


def _shipped_first(names: Sequence[str]) -> list[str]:
    """Those first that are here already."""
    return sorted(names, key=lambda name: (not name.startswith("shapes"), name))


def _look(upload_mb: int) -> dict[str, Any]:
    """Fonts of the system, our colours and our scripts: nothing comes from the network."""
    here = files("promptattn.app")
    scripts = [(here / name).read_text(encoding="utf-8") for name in ("weights.js", "keys.js", "drop.js")]
    script = "\n".join([*scripts, f"listenToKeys(document); listenToDrops(document, {upload_mb});"])
    system = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "sans-serif")
    mono = ("ui-monospace", "SF Mono", "Menlo", "Consolas", "monospace")
    return {
        "theme": gr.themes.Base(font=system, font_mono=mono),
        "css": (here / "app.css").read_text(encoding="utf-8"),
        "head": f'<script type="module">{script}</script>',
    }


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
