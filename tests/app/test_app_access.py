"""Who the page is for: people without a mouse, with a screen reader, on a phone, and without a network."""

import re
import socket
from ipaddress import ip_address

import pytest
from app_walking import choose, run, said, set_steps, tab

# What a person acts on. The snapshot gives each with its accessible name; one without a name has nothing behind it.
CONTROLS = "button|textbox|combobox|spinbutton|tab|checkbox|link|slider|listbox"
NAMELESS = re.compile(rf"^\s*- (?:{CONTROLS})(?: \[[^\]]*\])*:?\s*$", re.MULTILINE)


def test_every_control_has_a_name(page_of):
    page = page_of()
    page.get_by_role("button", name="More settings").click()
    page.get_by_label("Where weights act").wait_for()
    set_steps(page, 1)
    run(page, "make")
    for each in ("Image", "Sweep", "Compare"):
        tab(page, each)
        snapshot = page.locator("body").aria_snapshot()
        assert "More weight" in snapshot
        assert NAMELESS.findall(snapshot) == []
    assert page.locator("iframe").evaluate_all("(all) => all.map((each) => each.title)") == ["promptattn viewer"]
    assert NAMELESS.findall('- main:\n  - button\n  - textbox [disabled]:\n  - button "Stop"') != []


def focused(page):
    return page.evaluate("() => document.activeElement.closest('[id^=pa-]')?.id ?? document.activeElement.innerText")


def tab_to(page, wanted, most=40):
    for _ in range(most):
        if focused(page) == wanted:
            return
        page.keyboard.press("Tab")
    pytest.fail(f"{wanted} is not reached by Tab")


def test_an_image_is_weighed_made_and_stopped_with_the_keyboard_alone(page_of):
    page = page_of()
    page.evaluate("() => document.activeElement.blur()")
    tab_to(page, "pa-prompt")
    page.keyboard.press("Control+a")
    page.keyboard.type("a red cat")
    page.keyboard.press("Control+ArrowUp")
    assert page.locator("#pa-prompt textarea").input_value() == "a red (cat:1.05)"
    page.keyboard.press("Shift+Tab")  # the buttons stand before the box
    page.keyboard.press("Enter")
    assert page.locator("#pa-prompt textarea").input_value() == "a red (cat:1.1)"
    tab_to(page, "pa-steps")
    page.keyboard.press("Control+a")
    page.keyboard.type("900")
    tab_to(page, "pa-make", most=80)
    page.keyboard.press("Enter")
    page.locator("#pa-make-told").get_by_text("/900").first.wait_for()
    page.keyboard.press("Tab")
    assert focused(page) == "pa-make-stop"
    page.keyboard.press("Enter")
    said(page, "#pa-make-told", "Stopped.")
    tab_to(page, "pa-prompt", most=80)
    page.keyboard.press("Control+Enter")
    page.locator("#pa-make-told").get_by_text("/900").first.wait_for()
    assert page.locator("#pa-prompt textarea").input_value() == "a red (cat:1.1)"
    page.locator("#pa-make-stop").press("Enter")
    said(page, "#pa-make-told", "Stopped.")


def test_a_model_is_chosen_with_the_keyboard_and_passing_it_by_changes_nothing(page_of):
    page = page_of()
    steps = page.locator("#pa-steps input")
    set_steps(page, 7)
    for _ in range(2):
        page.locator("#pa-model input").focus()
        page.keyboard.press("Tab")
    page.wait_for_timeout(500)
    assert steps.input_value() == "7"
    page.locator("#pa-model input").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.querySelector('#pa-steps input').value === '20'")
    assert page.locator("#pa-model input").input_value() == "shapes-dit"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_all_of_it_in_its_width(page_of, scheme):
    page = page_of(viewport={"width": 390, "height": 844}, color_scheme=scheme, has_touch=True, is_mobile=True)
    set_steps(page, 1)
    for each, name in (("Image", "make"), ("Compare", "compare")):
        tab(page, each)
        run(page, name)
        assert page.evaluate("() => document.documentElement.scrollWidth") <= 390
    assert page.locator(".pa-keys:visible").count() == 0  # there are no keys
    ground = page.evaluate("() => getComputedStyle(document.body).getPropertyValue('--pa-ground').trim()")
    assert ground == {"light": "#f8f6f2", "dark": "#121116"}[scheme]


def test_the_page_asks_for_nothing_that_is_not_on_this_machine(page_of, address):
    asked = []
    page = page_of(heard=asked.append)
    set_steps(page, 1)
    run(page, "make")
    choose(page, "model", "shapes-dit")
    page.locator("#pa-make").hover()
    hosts = {re.match(r"\w+://([^:/]+)", url)[1] for url in asked if not url.startswith(("data:", "blob:", "about:"))}
    assert len(asked) > 10
    assert hosts == {"127.0.0.1"}
    html = page.request.get(address).text()
    assert re.findall(r"<(?:link|script|img|iframe)[^>]+(?:href|src)=\"(?:https?:)?//[^\"]+", html) == []


def test_the_server_connects_to_nothing_that_is_not_on_this_machine(page_of, address, monkeypatch):
    """In the threads that answer, a run included; a name would be looked up before anything is connected to."""
    reached = []
    connect, look_up = socket.socket.connect, socket.getaddrinfo

    def connecting(self, where):
        reached.append(where)
        return connect(self, where)

    def looking_up(host, *args, **options):
        reached.append((host,))
        return look_up(host, *args, **options)

    monkeypatch.setattr(socket.socket, "connect", connecting)
    monkeypatch.setattr(socket, "getaddrinfo", looking_up)
    page = page_of()
    set_steps(page, 1)
    run(page, "make")
    socket.create_connection(("127.0.0.1", int(address.rstrip("/").rpartition(":")[2]))).close()
    assert reached  # by this one at least
    hosts = {str(where[0]) for where in reached if isinstance(where, tuple)}
    assert [each for each in hosts if each not in ("localhost", "None") and not ip_address(each).is_loopback] == []
