"""The page: prompts and what came of them in three tabs, and beside these the settings that the tabs share."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from promptattn.app.answering import Answers
from promptattn.app.boxes import prompt_box
from promptattn.app.controls import Controls, Settings, settings_column, shown_wish, wish_of
from promptattn.app.dropped import read_dropped
from promptattn.app.messages import notes, problem, said
from promptattn.app.prompts import show_while_typed
from promptattn.app.runs import Pipelines
from promptattn.app.session import Session, Sessions
from promptattn.app.turns import Turns
from promptattn.errors import PromptAttnError

__all__ = ["page_of"]

_BRAND = '<h1 class="pa-brand">promptattn</h1><p class="pa-line">weigh the words of a prompt, see where each went</p>'
_KEYS = (
    '<p class="pa-keys"><kbd>Ctrl</kbd> <kbd>↑</kbd> <kbd>↓</kbd> weigh the selected words · '
    "<kbd>Ctrl</kbd> <kbd>Enter</kbd> make</p>"
)
_PROMPT = "un gato (rojo:1.4) persigue a un ratón gris"
_PLAIN = "un gato rojo persigue a un ratón gris"
_TEMPLATE = "un gato (rojo:{0.5,1,1.5,2}) persigue a un ratón gris"
_EXAMPLE = "a (red:1.4) cat left of a [blue] star"
_IMAGES = [".png", ".jpg", ".jpeg", ".webp"]
_QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


def page_of(models: Sequence[str], pipelines: Pipelines, turns: Turns, folder: Path, *, most_bytes: int) -> gr.Blocks:
    """The page as gradio's blocks, to be served by :func:`promptattn.app.serving.serve`.

    Args:
        models: what is offered; the first is chosen.
        folder: where the files of open pages lie.
        most_bytes: of a dropped image.
    """
    answers = Answers(pipelines, turns, tuple(models))
    with gr.Blocks(title="promptattn", analytics_enabled=False, fill_width=True, delete_cache=(600, 3600)) as page:
        session = gr.State(None, delete_callback=_closed)
        _following(page, session, Sessions(folder))
        gr.HTML(f'<header class="pa-top">{_BRAND}{_KEYS}</header>', elem_classes="pa-head", apply_default_css=False)
        with gr.Row(elem_classes="pa-columns"):
            with gr.Column(scale=3, min_width=340, elem_classes="pa-main"):
                tabs = gr.Tabs()
            with gr.Column(scale=1, min_width=260, elem_classes="pa-settings"):
                settings = settings_column(models)
                image, of_image = _dropping_place()
        controls = settings.controls
        with tabs:
            with gr.Tab("Image", id="image"):
                prompt = prompt_box("Prompt", _PROMPT, "prompt", placeholder=_EXAMPLE)
                _running("make", "Make the image", "Save the image", answers.image, session, [prompt.box], controls)
            with gr.Tab("Sweep", id="sweep"):
                label = "Prompt with values in braces, such as {0.5..2:0.5} or {red,blue}"
                template = prompt_box(label, _TEMPLATE, "template", placeholder=_TEMPLATE)
                _running("sweep", "Make all images", "Save all of it", answers.grid, session, [template.box], controls)
            with gr.Tab("Compare", id="compare"):
                with gr.Row():
                    with gr.Column():
                        before = prompt_box("Before", _PLAIN, "before", placeholder=_EXAMPLE)
                    with gr.Column():
                        after = prompt_box("After", _PROMPT, "after", placeholder=_EXAMPLE)
                pair = [before.box, after.box]
                _running("compare", "Compare", "Save the page", answers.pair, session, pair, controls)
        for written in (prompt, template, before, after, settings.negative):
            show_while_typed(page, written, controls, is_template=written is template)
        _dropping(image, of_image, tabs, prompt.box, settings, tuple(models), most_bytes)
    return page


def _following(page: gr.Blocks, session: gr.State, sessions: Sessions) -> None:
    """Give a page its session when it is opened, and end that when it is closed.

    The state's own end comes an hour later: it is there for pages whose closing was missed.
    """

    def opened(request: gr.Request) -> Session:
        return sessions.open(str(request.session_hash))

    def closed(request: gr.Request) -> None:
        sessions.close(str(request.session_hash))

    page.load(opened, outputs=session, **_QUIET)
    page.unload(closed)


def _running(
    name: str, label: str, saving: str, run: Callable[..., Any], session: gr.State, boxes: list[Any], controls: Controls
) -> None:
    """The button of a tab and what it brings: progress and notes, the viewer, and a file to take away."""
    with gr.Row(elem_classes="pa-buttons"):
        start = gr.Button(label, variant="primary", scale=0, min_width=170, elem_id=f"pa-{name}")
        stop = gr.Button("Stop", scale=0, min_width=80, elem_id=f"pa-{name}-stop")
        save = gr.DownloadButton(saving, visible=False, scale=0, min_width=150, elem_id=f"pa-{name}-save")
    told = gr.HTML(elem_id=f"pa-{name}-told", elem_classes="pa-told", apply_default_css=False)
    viewer = gr.HTML(elem_id=f"pa-{name}-viewer", elem_classes="pa-viewer", apply_default_css=False)
    start.click(
        run,
        [session, *boxes, *controls.all],
        [viewer, told, save],
        show_progress="full",
        show_progress_on=told,
        api_visibility="private",
        concurrency_limit=None,  # turns are our own: they can be given up while waiting, and have words of their own
    )
    stop.click(_unwanted, session, told, **_QUIET)


def _unwanted(session: Session | None) -> Any:
    stopped = session is not None and session.stop()
    return gr.skip() if stopped else said("Nothing is running.")


def _closed(session: Session | None) -> None:
    if session is not None:
        session.close()


def _dropping_place() -> tuple[gr.File, gr.HTML]:
    """Where an image is dropped, and what was taken from it or why not; see `drop.js`."""
    image = gr.File(label="An image whose prompt to take over", file_types=_IMAGES, height=150, elem_id="pa-drop")
    gr.HTML('<p id="pa-refused" class="pa-problem" role="alert"></p>', apply_default_css=False)
    return image, gr.HTML(elem_id="pa-dropped", apply_default_css=False)


def _dropping(
    image: gr.File,
    told: gr.HTML,
    tabs: gr.Tabs,
    prompt: gr.Textbox,
    settings: Settings,
    models: tuple[str, ...],
    most_bytes: int,
) -> None:
    controls = settings.controls
    filled = [tabs, prompt, settings.suited, *controls.all]

    def take(file: str | None, *values: Any) -> list[Any]:
        unchanged = [gr.skip() for _ in filled]
        if file is None:
            return [gr.skip(), *unchanged]
        path = Path(file)
        try:
            found = read_dropped(path, models, wish_of(values), most_bytes=most_bytes)
        except PromptAttnError as error:
            return [problem(str(error)), *unchanged]
        finally:
            path.unlink(missing_ok=True)
        words = said(f"Taken over from {path.name}.") + notes(found.notes)
        return [words, gr.Tabs(selected="image"), found.prompt, found.wish.model, *shown_wish(found.wish)]

    image.upload(take, [image, *controls.all], [told, *filled], **_QUIET).then(lambda: None, outputs=image, **_QUIET)
