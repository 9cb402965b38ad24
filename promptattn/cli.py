"""The command line. Thin: every command calls the public API, and imports it only when it runs."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from promptattn.errors import ConfigError, PromptAttnError, PromptAttnWarning, PromptSyntaxError

if TYPE_CHECKING:
    from promptattn.prompt import EncoderPlan
    from promptattn.run import Generation

__all__ = ["app", "main"]

FAILURE, USAGE = 1, 2

# Read by transformers and diffusers when they are imported.
_QUIET = {"TRANSFORMERS_VERBOSITY": "error", "DIFFUSERS_VERBOSITY": "error"}

app = typer.Typer(
    help="Weigh the words of a text-to-image prompt inside the attention, and see where each of them went.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

Prompt = Annotated[str, typer.Argument(help='The prompt; `(word:1.4)` weighs a word, e.g. "a (red:1.4) cat".')]
Negative = Annotated[str | None, typer.Option("--negative", "-n", help="What to stay away from, weighted likewise.")]
Model = Annotated[str, typer.Option("--model", "-m", help="A preset (shapes), a folder, or a hub id.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show the libraries' own messages and full errors.")]


@app.callback()
def _root() -> None:
    """Keeps the commands named even while there are few."""


@app.command()
def generate(
    prompt: Prompt,
    negative: Negative = None,
    model: Model = "shapes",
    folder: Annotated[Path, typer.Option("--out", "-o", help="Folder for image, maps and viewer.")] = Path("out"),
    force: Annotated[bool, typer.Option("--force", help="Replace an existing output folder.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of the first image; the next ones count up.")] = 0,
    steps: Annotated[int | None, typer.Option(help="Denoising steps.  [default: the pipeline's]")] = None,
    guidance: Annotated[float | None, typer.Option(help="Guidance scale.  [default: the pipeline's]")] = None,
    height: Annotated[int | None, typer.Option(help="Height in pixels.  [default: the pipeline's]")] = None,
    width: Annotated[int | None, typer.Option(help="Width in pixels.  [default: the pipeline's]")] = None,
    images: Annotated[int, typer.Option(help="How many images.")] = 1,
    where: Annotated[str, typer.Option(help="Where weights act: auto, denoiser, text or both.")] = "auto",
    strength: Annotated[
        str | None, typer.Option(help='Exponent on weights, or "exact" for plain odds.  [default: 6]')
    ] = None,
    clip_skip: Annotated[int | None, typer.Option(help="Leave out so many last layers of the text encoder.")] = None,
    maps: Annotated[bool, typer.Option("--maps/--no-maps", help="Record and save the maps of every word.")] = True,
    verbose: Verbose = False,
) -> None:
    """Make an image from a weighted prompt, with a map of every word.

    **Example:** `promptattn generate "un gato (rojo:1.4) persigue a un ratón gris" --seed 7 --out out`
    """
    with _told(verbose):
        from promptattn.export import atomic_folder
        from promptattn.run.generate import MARKERS, check_numbers

        check_numbers(seed, steps, guidance, height, width, images)
        # Opened first: a folder that cannot be written is refused before the image is made, not after.
        with atomic_folder(folder, force=force, marker=MARKERS) as partial:
            from promptattn.run import generate, load

            with err.status(f"Loading {model} ..."):
                pipe = load(model)
            with _progress() as on_step:
                made = generate(
                    pipe,
                    prompt,
                    negative,
                    seed=seed,
                    num_inference_steps=steps,
                    guidance_scale=guidance,
                    height=height,
                    width=width,
                    num_images_per_prompt=images,
                    where=where,
                    strength=_strength(strength),
                    capture=maps,
                    clip_skip=clip_skip,
                    on_step=on_step,
                )
            made.write(partial)
        _summary(made, folder)


@app.command()
def tokens(
    prompt: Prompt,
    negative: Negative = None,
    model: Model = "shapes",
    verbose: Verbose = False,
) -> None:
    """Show how a prompt is cut into tokens: word, weight, chunk, and what is cut off, for every text encoder.

    **Example:** `promptattn tokens "un gato (rojo:1.4) persigue a un ratón gris"`
    """
    with _told(verbose):
        from promptattn.prompt import plan
        from promptattn.run.load import load_tokenizers

        planned = plan(load_tokenizers(model), prompt, negative)
        sides = [("prompt", planned.encoders)] + ([("negative prompt", planned.negative)] if negative else [])
        for side, encoders in sides:
            for encoder in encoders:
                out.print(_token_table(f"{side}, {encoder.name}", encoder))
                if encoder.cut:
                    out.print(Text("cut off: " + " ".join(word.text for word in encoder.cut), style="bold red"))
        for diagnostic in planned.diagnostics:
            _note(diagnostic.severity, str(diagnostic))


def main() -> None:
    """Entry point of the console command."""
    app()


def _token_table(title: str, encoder: "EncoderPlan") -> Table:
    chunks = len(encoder.chunks)
    used = f"{len(encoder.tokens)} tokens in {chunks} chunk{'s' if chunks > 1 else ''} of {encoder.window}"
    table = Table(title=Text(f"{title}: {used}"), title_justify="left")
    for name, justify in (("#", "right"), ("id", "right"), ("token", "left"), ("word", "left"), ("weight", "right")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    table.add_column("chunk", justify="right")
    for token in encoder.tokens:
        word = "" if token.word is None else encoder.words[token.word].text
        weight = f"{token.weight:g}"
        # Text, not markup: a prompt may well hold square brackets.
        cells = (str(token.index), str(token.id), token.text, word, weight, str(token.chunk + 1))
        table.add_row(*map(Text, cells), style="bold" if token.weight != 1 else None)
    return table


def _summary(made: "Generation", folder: Path) -> None:
    if made.maps is not None:
        first = made.maps.image(0)
        table = Table("word", "weight", "share")
        for word in first.words:
            heat = first[word.text, word.occurrence]
            table.add_row(Text(word.text), f"{word.weight:g}", f"{heat.share:.1%}")
        out.print(Text(f"Where the words went in the image of seed {made.seed}:"))
        out.print(table)
        out.print(Text(f"Open {folder / 'index.html'} in a browser; hover a word to see where it went."))
    else:
        out.print(Text(f"Wrote {len(made.images)} image{'s' if len(made.images) > 1 else ''} to {folder}."))


def _strength(text: str | None) -> Any:
    if text is None or text == "exact":
        return text
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f'--strength {text!r} must be "exact" or a positive number.') from None


@contextmanager
def _progress() -> Iterator[Any]:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total} steps"))
    with Progress(*columns, TimeRemainingColumn(), console=err, transient=True) as bar:
        task = bar.add_task("Generating", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def _told(verbose: bool) -> Iterator[None]:
    """Warnings as notes, and promptattn's errors as one sentence and an exit code: 2 for usage, 1 for failure."""
    if not verbose:
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
    show = warnings.showwarning

    def note(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:
        if issubclass(category, PromptAttnWarning):
            _note("warning", str(message))
        elif verbose:
            show(message, category, *rest, **more)

    with warnings.catch_warnings():
        warnings.simplefilter("always", PromptAttnWarning)
        warnings.showwarning = note
        try:
            yield
        except PromptAttnError as error:
            if verbose:
                raise
            _note("error", str(error))
            raise typer.Exit(USAGE if isinstance(error, ConfigError | PromptSyntaxError) else FAILURE) from None


def _note(severity: str, message: str) -> None:
    style = {"error": "bold red", "warning": "yellow"}.get(severity, "cyan")
    err.print(Text.assemble((f"{severity}: ", style), message), soft_wrap=True)


if __name__ == "__main__":
    main()
