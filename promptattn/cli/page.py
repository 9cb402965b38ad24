"""`promptattn app`: the page in the browser on which prompts are written, weighed, swept and compared."""

import socket
import sys
import time
from importlib.util import find_spec
from typing import Annotated

import typer
from rich.text import Text

from promptattn.cli import completing
from promptattn.cli.ending import terminable
from promptattn.cli.options import Device, Verbose
from promptattn.console import note, out, told
from promptattn.errors import ConfigError

__all__ = ["page"]

_LOOPBACK = ("127.0.0.1", "localhost")


def page(
    host: Annotated[
        str, typer.Option(help="Who can reach the page: this machine alone, or with 0.0.0.0 all of the network.")
    ] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port.  [default: the first free one from 7860 on]")
    ] = None,
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            autocompletion=completing.models,
            help="A preset, folder or hub id to offer, given as often as you like.  [default: every preset]",
        ),
    ] = None,
    queue: Annotated[int, typer.Option(min=1, help="How many runs may wait for their turn.")] = 16,
    max_upload_mb: Annotated[int, typer.Option(min=1, help="Megabytes of a dropped image.")] = 32,
    device: Device = None,
    verbose: Verbose = False,
) -> None:
    """Open a page on which prompts are written, weighed, swept and compared, in this machine's browser.

    **Examples:**

    `promptattn app`

    `promptattn app --model sdxl --model shapes --port 8080`

    The page has no password: with `--host 0.0.0.0` everybody who reaches the port can use it. Needs gradio:
    `pip install "promptattn[app]"`.
    """
    with told(verbose):
        if find_spec("gradio") is None:
            raise ConfigError('The app needs gradio, which is not installed: pip install "promptattn[app]".')
        _check_address(host, port)
        out.print(Text("Starting ..."), end="\r")
        from promptattn.app.serving import serving
        from promptattn.run.loading.load import check_model

        for model in models or ():
            check_model(model)
        served = serving(
            models or (), host=host, port=port, queue=queue, upload_mb=max_upload_mb, device=device or "auto"
        )
        # Ended otherwise, it would leave everybody's images in the folder for temporary files.
        with terminable("; what the page held is removed."), served as address:
            if host not in _LOOPBACK:
                note("warning", f"the page has no password, and everybody who reaches {host} can use it.")
            out.print(Text(f"The app is at {address}; Ctrl+C ends it."))
            sys.stdout.flush()
            _until_interrupted()


def _check_address(host: str, port: int | None) -> None:
    """Say that an address is none of this machine, or that its port is taken, before anything is loaded."""
    if ":" in host:
        raise ConfigError(f"{host} is an IPv6 address, which gradio does not serve on; choose one of IPv4 as --host.")
    try:
        with socket.socket() as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind((host, port or 0))
    except OSError as error:
        shown, other = (host, "--host") if port is None else (f"{host}:{port}", "--port, or another --host")
        raise ConfigError(f"{shown} cannot be served on: {error.strerror}; choose another {other}.") from error


def _until_interrupted() -> None:
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        out.print(Text("Ended."))
