"""What happens when a button is pressed: a run for one page, and what the page then shows."""

import logging
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import gradio as gr

from promptattn.app.bounds import bounded, settled
from promptattn.app.controls import wish_of
from promptattn.app.messages import notes, problem, said
from promptattn.app.runs import Pipelines, Told, Wish, compared, heard, made, swept
from promptattn.app.session import Session
from promptattn.app.turns import Stopped, Turns
from promptattn.errors import ConfigError, PromptAttnError
from promptattn.export.viewer import in_notebook, shown_images
from promptattn.memory import readable
from promptattn.run.cost.estimate import Estimate
from promptattn.sweeps.viewing import shown_cells

__all__ = ["Answer", "Answers"]

Answer = tuple[Any, Any, Any]
"""The viewer, what there is to say, and the file to download."""

_Work = Callable[[Session, Wish, Told], tuple[str, Path]]

# What gradio knows by: an argument that has such a default is given the progress of its own call.
_PROGRESS = gr.Progress()


@dataclass(frozen=True)
class Answers:
    """The three kinds of runs, as functions of the page's values.

    Each takes the session, its own prompts, and the values of the controls; a run that fails leaves the last result
    where it is.
    """

    pipelines: Pipelines
    turns: Turns
    models: tuple[str, ...]

    def image(self, session: Session | None, prompt: str, *values: Any, progress: gr.Progress = _PROGRESS) -> Answer:
        """One image, in the viewer."""

        def work(session: Session, wish: Wish, told: Told) -> tuple[str, Path]:
            result = made(self.pipelines, wish, bounded(prompt), told)
            folder = session.fresh()
            result.save(folder)
            assert result.maps is not None
            return in_notebook(shown_images(result.maps, result.images)), folder / "image.png"

        return self._answer(session, values, work, progress)

    def grid(self, session: Session | None, template: str, *values: Any, progress: gr.Progress = _PROGRESS) -> Answer:
        """A sweep, in the viewer, all of it packed to be taken away."""

        def work(session: Session, wish: Wish, told: Told) -> tuple[str, Path]:
            result = swept(self.pipelines, wish, bounded(template), told)
            folder = session.fresh()
            result.save(folder / "sweep")
            return in_notebook(shown_cells(result), opened="compare"), _packed(folder / "sweep")

        return self._answer(session, values, work, progress)

    def pair(
        self, session: Session | None, before: str, after: str, *values: Any, progress: gr.Progress = _PROGRESS
    ) -> Answer:
        """Two prompts side by side."""

        def work(session: Session, wish: Wish, told: Told) -> tuple[str, Path]:
            result = compared(self.pipelines, wish, bounded(before), bounded(after), told)
            folder = session.fresh()
            folder.mkdir()
            shown = in_notebook([result.before, result.after], opened="compare")
            return shown, result.save(folder / "compare.html")

        return self._answer(session, values, work, progress)

    def _answer(self, session: Session | None, values: Sequence[Any], work: _Work, progress: gr.Progress) -> Answer:
        try:
            if session is None:
                raise ConfigError("The page is not ready yet; try again in a moment.")
            wish = settled(wish_of(values))
            if wish.model not in self.models:
                raise ConfigError(f"The model {wish.model!r:.60} is not offered here.")
            with session.running() as stopped, self.turns.taken(stopped, _waiting(progress)):
                return self._result(session, wish, stopped, work, progress)
        except Stopped:
            return gr.skip(), said("Stopped."), gr.skip()
        except PromptAttnError as error:
            return gr.skip(), problem(str(error)), gr.skip()
        except Exception as error:
            # None of ours: whoever serves the page can look into it, and the person is told what is known.
            logging.getLogger(__name__).exception("a run of the app failed")
            failed = f"The run failed: {type(error).__name__}: {error}".rstrip(".: ")
            return gr.skip(), problem(f"{failed}. Where is told where the app was started."), gr.skip()

    def _result(self, session: Session, wish: Wish, stopped: Event, work: _Work, progress: gr.Progress) -> Answer:
        began = time.monotonic()
        told = Told(_telling(progress), stopped, [])
        progress(0, desc="starting" if self.pipelines.holds(wish.model) else f"loading {wish.model}")
        with heard(told):  # loading the model and writing the files have things to say too
            page, file = work(session, wish, told)
        took = said(f"Seed {wish.seed}, {time.monotonic() - began:.1f} s.")
        return page, took + notes(told.warnings), gr.DownloadButton(value=file, visible=True)


def _waiting(progress: gr.Progress) -> Callable[[int], None]:
    # Without a total gradio shows the number and its unit, and no percentage.
    return lambda before: progress((before, None), unit=f"{'run' if before == 1 else 'runs'} before yours")


def _telling(progress: gr.Progress) -> Callable[[int, int, Estimate | None], None]:
    began = time.monotonic()

    def tell(done: int, total: int, expected: Estimate | None) -> None:
        left = (time.monotonic() - began) / done * (total - done)
        memory = f" · {readable(expected.memory)} of memory" if expected else ""
        progress((done, total), desc=f"about {_duration(left)} left{memory}", unit="steps")

    return tell


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _packed(folder: Path) -> Path:
    return Path(shutil.make_archive(str(folder), "zip", folder))
