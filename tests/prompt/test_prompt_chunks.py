"""How long prompts are broken: A1111's rule step by step as an oracle, and the cases where it is deliberately left."""

from hypothesis import given, settings
from hypothesis import strategies as st

from promptattn.prompt.chunks import COMMA_REACH, fill_windows, frame_chunk, part_at_breaks
from promptattn.prompt.tokens import Frame

FRAME = Frame(before=(100,), after=(101,), padding=0, padding_side="right")


def one_word_per_token(commas: str, capacity: int) -> list[str]:
    """Windows of a prompt given as a string: "," a comma, "|" a break, anything else a word of one token."""
    tokens = commas.replace("|", "")
    starts, breaks = list(range(len(tokens))), []
    for position, letter in enumerate(commas):
        if letter == "|":
            breaks.append(position - len(breaks))
    parts = part_at_breaks(starts, breaks)
    windows = fill_windows(parts, starts, [letter == "," for letter in tokens], capacity)
    return ["".join(tokens[i] for i in window) for window in windows]


def a1111_windows(commas: str, capacity: int) -> list[str]:
    """The web UI's rule as it works: token by token, remembering the last comma of the window being filled."""
    done, window, comma = [], "", None
    for letter in commas:
        if letter == "|":
            done, window, comma = [*done, window], "", None
            continue
        overflows = len(window) == capacity
        if overflows and letter != "," and comma is not None and capacity - comma <= COMMA_REACH:
            done, window, comma = [*done, window[: comma + 1]], window[comma + 1 :], None
        if len(window) == capacity:
            done, window, comma = [*done, window], "", None
        elif letter == ",":
            comma = len(window)
        window += letter
    return [*done, window] if window or not done else done


@settings(deadline=None)
@given(st.text("aaaaa,|", max_size=400), st.integers(COMMA_REACH + 1, 75))
def test_windows_are_those_of_a1111(commas, capacity):
    assert one_word_per_token(commas, capacity) == a1111_windows(commas, capacity)


def test_breaks_after_the_last_comma_within_twenty_tokens():
    assert one_word_per_token("a" * 54 + "," + "a" * 30, 75) == ["a" * 54 + "," + "a" * 20, "a" * 10]
    assert one_word_per_token("a" * 55 + "," + "a" * 30, 75) == ["a" * 55 + ",", "a" * 30]
    assert one_word_per_token("a" * 60 + "," + "a" * 10 + "," + "a" * 9, 75) == [
        "a" * 60 + "," + "a" * 10 + ",",
        "a" * 9,
    ]


def test_a_comma_that_overflows_opens_the_next_window():
    assert one_word_per_token("a" * 70 + "," + "a" * 4 + ",a", 75) == ["a" * 70 + "," + "a" * 4, ",a"]


def test_break_closes_full_and_empty_windows_and_opens_nothing_at_the_end():
    assert one_word_per_token("a" * 75 + "|b", 75) == ["a" * 75, "b"]
    assert one_word_per_token("|b", 75) == ["", "b"]
    assert one_word_per_token("a||b", 75) == ["a", "", "b"]
    assert one_word_per_token("a|", 75) == ["a"]
    assert one_word_per_token("|", 75) == [""]
    assert one_word_per_token("", 75) == [""]


def test_a_word_is_not_broken_unless_it_fills_a_window():
    words = [0] * 3 + [1] * 4 + [2] * 12 + [None, None]
    windows = fill_windows([range(len(words))], words, [False] * len(words), 5)
    assert [(window.start, window.stop) for window in windows] == [(0, 3), (3, 7), (7, 12), (12, 17), (17, 21)]


def test_a_framed_chunk():
    chunk = frame_chunk([7, 8, 9], [1.0, 1.5, 2.0], range(1, 3), FRAME, 6)
    assert chunk.ids == (100, 8, 9, 101, 0, 0)
    assert chunk.weights == (1.0, 1.5, 2.0, 1.0, 1.0, 1.0)
    assert [slot.kind for slot in chunk.slots] == ["start", "token", "token", "end", "padding", "padding"]
    assert [slot.token for slot in chunk.slots] == [None, 1, 2, None, None, None]


def test_a_chunk_framed_by_a_tokenizer_that_pads_left():
    left = Frame(before=(), after=(101,), padding=5, padding_side="left")
    chunk = frame_chunk([7], [0.5], range(1), left, 4)
    assert chunk.ids == (5, 5, 7, 101)
    assert chunk.weights == (1.0, 1.0, 0.5, 1.0)
