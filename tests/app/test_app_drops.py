"""Images dropped in a real browser: prompts come back, and what is refused is told in a sentence."""

import base64

import pytest
from app_walking import run, said, set_steps, shaded, tab, write
from PIL import Image
from PIL.PngImagePlugin import PngInfo


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    """An image that says how it was made."""
    import promptattn

    made = promptattn.generate(
        "shapes",
        "un [gato] (rojo:1.3)",
        "azul",
        seed=41,
        num_inference_steps=2,
        guidance_scale=3.5,
        clip_skip=1,
        capture=False,
    )
    return made.save_image(tmp_path_factory.mktemp("dropped") / "gato.png")


def test_a_dropped_image_brings_its_prompt_and_settings_back(page_of, picture):
    page = page_of()
    page.locator("#pa-drop input[type=file]").set_input_files(picture)
    said(page, "#pa-dropped", "Taken over from gato.png.")
    said(page, "#pa-dropped", "the page has no control for clip_skip, which was 1")
    assert page.locator("#pa-prompt textarea").input_value() == "un [gato] (rojo:1.3)"
    assert page.locator("#pa-negative textarea").input_value() == "azul"
    values = [page.locator(f"#pa-{name} input").input_value() for name in ("seed", "steps", "guidance")]
    assert values == ["41", "2", "3.5"]
    shaded(page, "prompt", "un [gato] (rojo:1.3)")


def test_an_image_that_says_nothing_is_told_in_a_sentence(page_of, tmp_path):
    page = page_of()
    Image.new("RGB", (8, 8)).save(tmp_path / "plain.png")
    page.locator("#pa-drop input[type=file]").set_input_files(tmp_path / "plain.png")
    said(page, "#pa-dropped", "'plain.png' says nothing of how it was made.")


def choose_file(page, path):
    page.locator("#pa-drop input[type=file]").set_input_files(path)


def refused(page):
    page.locator("#pa-refused:not(:empty)").wait_for()
    assert page.locator(".toast-body").count() == 0
    assert page.locator("#pa-dropped:visible").count() == 0
    return page.locator("#pa-refused").inner_text()


def test_what_is_not_sent_is_told_by_name_with_the_bound_and_the_option(page_of, picture, tmp_path):
    page = page_of()
    choose_file(page, picture)
    said(page, "#pa-dropped", "Taken over from gato.png.")
    large, other = tmp_path / "large.png", tmp_path / "notes.txt"
    large.write_bytes(bytes(1_500_000))
    choose_file(page, large)
    assert refused(page) == (
        "large.png has 1.4 MB, and 1 MB are taken at most. Whoever starts the app can take more: "
        "promptattn app --max-upload-mb 2"
    )
    other.write_text("a cat")
    choose_file(page, other)
    page.get_by_text("notes.txt is no PNG, JPEG or WebP").wait_for()
    assert "notes.txt" in refused(page)
    choose_file(page, picture)  # and what is taken after that is said again
    page.locator("#pa-refused:empty").wait_for(state="attached")
    page.locator("#pa-dropped:visible").wait_for()


DROP = """([target, name, content]) => {
    const carried = new DataTransfer();
    const bytes = Uint8Array.from(atob(content), (each) => each.charCodeAt(0));
    carried.items.add(new File([bytes], name, { type: "image/png" }));
    const options = { dataTransfer: carried, bubbles: true, cancelable: true };
    const events = ["dragover", "drop"].map((kind) => new DragEvent(kind, options));
    const on = document.querySelector(target);
    return events.map((event) => !on.dispatchEvent(event));
}"""


@pytest.mark.parametrize("target", ["#pa-drop button", "#pa-template textarea", "body"])
def test_an_image_can_be_dropped_anywhere(page_of, picture, target):
    page = page_of()
    tab(page, "Sweep")
    content = base64.b64encode(picture.read_bytes()).decode()
    assert page.evaluate(DROP, [target, "gato.png", content]) == [True, True]  # the browser does not leave for it
    said(page, "#pa-dropped", "Taken over from gato.png.")
    page.locator("#pa-prompt textarea:visible").wait_for()  # the tab that the prompt is in
    assert page.locator("#pa-prompt textarea").input_value() == "un [gato] (rojo:1.3)"


def test_what_cannot_be_read_is_told_by_name_and_changes_nothing(page_of, picture, tmp_path):
    page = page_of()
    write(page, "prompt", "a cat")
    whole = picture.read_bytes()
    for name, content in (("half.png", whole[: len(whole) // 2]), ("empty.png", b""), ("text.webp", b"a cat")):
        (tmp_path / name).write_bytes(content)
        choose_file(page, tmp_path / name)
        problem = page.locator("#pa-dropped .pa-problem").filter(has_text=name)
        problem.wait_for()
        assert str(tmp_path) not in problem.inner_text()
    assert page.locator("#pa-prompt textarea").input_value() == "a cat"


def test_an_image_of_a1111_is_taken_over_with_a_word_on_what_is_not(page_of, tmp_path):
    texts = PngInfo()
    texts.add_text(
        "parameters",
        "a (red:1.2) cat\nNegative prompt: (blue:1.3)\nSteps: 9, Sampler: DPM++ 2M Karras, CFG scale: 7.5, Seed: 5, "
        "Size: 512x768, Model: dreamshaper_8",
    )
    Image.new("RGB", (512, 768)).save(tmp_path / "theirs.png", pnginfo=texts)
    page = page_of()
    choose_file(page, tmp_path / "theirs.png")
    said(page, "#pa-dropped", "Taken over from theirs.png.")
    said(page, "#pa-dropped", "'dreamshaper_8', which is not offered here; the model stays shapes")
    said(page, "#pa-dropped", "512 x 768 pixels are more than shapes makes here, 256 a side; the size stays")
    assert page.locator("#pa-sampler input").input_value() == "DPM++ 2M Karras"
    set_steps(page, 1)
    run(page, "make")  # what was taken over can be made


def test_the_server_itself_takes_no_larger_upload(page_of, address):
    large = {"name": "large.png", "mimeType": "image/png", "buffer": bytes(1_500_000)}
    answer = page_of().request.post(f"{address}gradio_api/upload", multipart={"files": large})
    assert answer.status == 413
