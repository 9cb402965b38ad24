"""What happens when a button is pressed: a run for one page, and what the page then shows."""

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from promptattn.app.controls import wish_of
from promptattn.app.messages import notes, problem, said
from promptattn.app.prompts import MOST_TEXT
from promptattn.app.runs import Pipelines, Stopped, Told, Wish, compared, heard, made, swept
from promptattn.app.session import Session
from promptattn.errors import ConfigError, PromptAttnError
from promptattn.export.viewer import in_notebook, shown_images
from promptattn.memory import readable
from promptattn.run.cost.estimate import Estimate
from promptattn.sweeps.viewing import shown_cells

__all__ = ["Answer", "Answers"]

Answer = tuple[Any, Any, Any]
"""The viewer, what there is to say, and the file to download."""


# What gradio knows by: an argument that has such a default is given the progress of its own call.
_PROGRESS = gr.Progress()


@dataclass(frozen=True)
class Answers:
    """The three kinds of runs, as functions of the page's values.

    Each takes the session, its own prompts, and the values of the controls; a run that fails leaves the last result
    where it is.
    """

    pipelines: Pipelines
    models: tuple[str, ...]

    def image(self, session: Session, prompt: str, *values: Any, progress: gr.Progress = _PROGRESS) -> Answer:
        """One image, in the viewer."""

        def work(wish: Wish, told: Told) -> tuple[str, Path]:
            result = made(self.pipelines, wish, _bounded(prompt), told)
            folder = session.fresh()
            result.save(folder)
            assert result.maps is not None
            return in_notebook(shown_images(result.maps, result.images)), folder / "image.png"

        return self._answer(session, values, work, progress)

    def grid(self, session: Session, template: str, *values: Any, progress: gr.Progress = _PROGRESS) -> Answer:
        """A sweep, in the viewer, all of it packed to be taken away."""

        def work(wish: Wish, told: Told) -> tuple[str, Path]:
            result = swept(self.pipelines, wish, _bounded(template), told)
            folder = session.fresh()
            result.save(folder / "sweep")
            return in_notebook(shown_cells(result), opened="compare"), _packed(folder / "sweep")

        return self._answer(session, values, work, progress)

    def pair(
        self, session: Session, before: str, after: str, *values: Any, progress: gr.Progress = _PROGRESS
    ) -> Answer:
        """Two prompts side by side."""

        def work(wish: Wish, told: Told) -> tuple[str, Path]:
            result = compared(self.pipelines, wish, _bounded(before), _bounded(after), told)
            folder = session.fresh()
            folder.mkdir()
            shown = in_notebook([result.before, result.after], opened="compare")
            return shown, result.save(folder / "compare.html")

        return self._answer(session, values, work, progress)

    def _answer(
        self,
        session: Session,
        values: Sequence[Any],
        work: Callable[[Wish, Told], tuple[str, Path]],
        progress: gr.Progress,
    ) -> Answer:
        began = time.monotonic()
        told = Told(_telling(progress), session.stopped, [])
        progress(0, desc="waiting for the model")
        try:
            wish = wish_of(values)
            if wish.model not in self.models:
                raise ConfigError(f"The model {wish.model!r:.60} is not offered here.")
            with heard(told):  # writing the files has things to say too
                page, file = work(wish, told)
        except Stopped:
            return gr.skip(), said("Stopped."), gr.skip()
        except PromptAttnError as error:
            return gr.skip(), problem(str(error)), gr.skip()
        took = said(f"Seed {wish.seed}, {time.monotonic() - began:.1f} s.")
        return page, took + notes(told.warnings), gr.DownloadButton(value=file, visible=True)


def _bounded(text: str) -> str:
    """The prompt; a browser keeps to the length that the box allows, and other clients need not."""
    if len(text or "") > MOST_TEXT:
        raise ConfigError(f"The prompt has {len(text)} characters; {MOST_TEXT} are read at most.")
    return text or ""


def _telling(progress: gr.Progress) -> Callable[[int, int, Estimate | None], None]:
    began = time.monotonic()

    def tell(done: int, total: int, expected: Estimate | None) -> None:
        left = (time.monotonic() - began) / done * (total - done)
        memory = f" · {readable(expected.memory)}" if expected else ""
        progress((done, total), desc=f"about {left:.0f} s left{memory}", unit="steps")

    return tell


def _packed(folder: Path) -> Path:
    return Path(shutil.make_archive(str(folder), "zip", folder))
