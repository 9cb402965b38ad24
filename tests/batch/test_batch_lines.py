"""Files of prompts, good and bad."""

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptattn.batch import read_lines
from promptattn.errors import ConfigError


def written(tmp_path, name, data):
    file = tmp_path / name
    file.write_bytes(data if isinstance(data, bytes) else data.encode())
    return file


def test_text_is_a_prompt_a_line_without_blanks_and_comments(tmp_path):
    lines = read_lines(written(tmp_path, "p.txt", "\ufeffun ratón\r\n\n  # no prompt\n  (a:2) cat  \n"))
    assert [(line.number, line.settings, line.problem) for line in lines] == [
        (1, {"prompt": "un ratón"}, None),
        (4, {"prompt": "(a:2) cat"}, None),
    ]


def test_json_lines_have_settings_nested_or_dotted_or_short(tmp_path):
    text = """{"prompt": "a cat", "seed": 3, "weighting": {"method": "comfy"}}
"un gato"

{"prompt": "x", "size.height": 32, "width": 64, "negative": "y", "name": "uno"}
"""
    assert [(line.number, line.settings) for line in read_lines(written(tmp_path, "p.jsonl", text))] == [
        (1, {"prompt": "a cat", "seed": 3, "weighting": {"method": "comfy"}}),
        (2, {"prompt": "un gato"}),
        (4, {"prompt": "x", "size.height": 32, "size.width": 64, "negative_prompt": "y", "name": "uno"}),
    ]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_csv_of_any_country_with_quotes_line_breaks_and_empty_fields(tmp_path, separator):
    rows = [
        ["prompt", "seed", "height", "name"],
        ['"a ""red"" cat, small; really\t"', "3", "", "007"],
        ['"two\nlines"', "", "32", ""],
        ["[x]", "4", "64", "c"],
    ]
    file = written(tmp_path, "p.csv", "\r\n".join(separator.join(row) for row in rows))
    assert [(line.number, line.settings, line.problem) for line in read_lines(file)] == [
        (2, {"prompt": 'a "red" cat, small; really\t', "seed": 3, "name": "007"}, None),
        (3, {"prompt": "two\nlines", "size.height": 32}, None),
        (5, {"prompt": "[x]", "seed": 4, "size.height": 64, "name": "c"}, None),
    ]


@pytest.mark.parametrize(
    ("name", "data", "number", "problem"),
    [
        ("p.txt", b"a cat\na \xff cat\nb", 2, "character 3 is not UTF-8 (byte 0xff)"),
        ("p.txt", b"a\0b\nc", 1, "it holds a zero byte"),
        ("p.jsonl", b'"a"\n{"prompt": ', 2, "this is not JSON: Expecting value at character 12"),
        ("p.jsonl", b'[1]\n"a"', 1, "it must be an object with a prompt"),
        ("p.jsonl", b'{"seed": 1}\n"a"', 1, "it has no prompt"),
        ("p.jsonl", b'{"prompt": null}\n"a"', 1, "it has no prompt"),
        ("p.jsonl", b'{"prompt": "a", "prompt": "b"}\n"a"', 1, "prompt is given a second time"),
        ("p.jsonl", b'{"prompt": "a", "guidance": NaN}\n"a"', 1, "NaN is no number"),
        ("p.jsonl", b'{"prompt": "a", "guidance": 1e999}\n"a"', 1, "guidance is too large a number"),
        ("p.jsonl", b"[" * 100_000 + b'\n"a"', 1, "this cannot be read as JSON"),
        ("p.csv", b"prompt,seed\na\nb,1", 2, "it has 1 fields and the first line names 2 columns"),
        ("p.csv", b"prompt,seed\na, b,1\nb,1", 2, "it has 3 fields"),
        ("p.csv", b"prompt,seed\na,{x\nb,1", 2, "seed: '{x' is not YAML"),
        ("p.csv", b'prompt,seed\na,1\n"b,1\nc,2', 3, "a quote that is never closed, so that lines 3 to 4 are one"),
        ("p.csv", b"prompt,seed\n\xe9,1\nb,1", 2, "character 1 is not UTF-8 (byte 0xe9)"),
        ("p.csv", b'prompt,seed\n"a"x,1\nb,1', 2, "this is not CSV"),
        ("p.csv", b"prompt,seed\n" + b"a" * 200_000 + b",1\nb,1", 2, "a field has more than 131072 characters"),
        ("p.csv", b"prompt,seed\n ,1\nb,1", 2, "it has no prompt"),
        ("p.csv", b"prompt,\na,1\nb,", 2, "'1' is given without the name of a setting"),
        ("p.txt", b"a " * 60_000 + b"\nb", 1, "it has 119999 characters; 100000 are read at most"),
        ("p.txt", b'{"prompt": "a", "seed": 1}\n{a|b} cat', 1, "name the file .jsonl, or say --format jsonl"),
        ("p.jsonl", b'{"prompt": "a", "negative": "b", "negative_prompt": "c"}\n"a"', 1, "given a second time"),
        ("p.jsonl", b'{"prompt": "a", "": 1}\n"a"', 1, "without the name of a setting"),
    ],
)
def test_a_line_that_cannot_be_read_says_so_and_the_others_stay(tmp_path, name, data, number, problem):
    lines = read_lines(written(tmp_path, name, data))
    bad = [line for line in lines if line.problem is not None]
    assert [line.number for line in bad] == [number]
    assert problem in bad[0].problem
    assert len(lines) >= 2


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("p.txt", "", "holds no prompts"),
        ("p.txt", "# only this\n\n", "holds no prompts"),
        ("p.csv", "", "holds no prompts"),
        ("p.csv", "prompts,seed\na,1\n", "line 1: no column is called prompt"),
        ("p.csv", "\nprompt,seed,seed\na,1,2\n", "line 2: two columns are called seed"),
        ("p.txt", "a cat".encode("utf-16"), "UTF-16"),
        ("p.csv", b"\r\0", "line 2: no column is called prompt"),
        ("p.csv", 'prompt,"se"ed\na,1\n', "line 1: no column is called prompt"),
        ("p.yaml", "a cat", r"must end in .txt, .jsonl, .csv, or --format must say"),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path, name, data, message):
    with pytest.raises(ConfigError, match=message):
        read_lines(written(tmp_path, name, data))


@pytest.mark.parametrize("name", ["p.txt", "p.csv"])
def test_lines_may_end_as_on_an_old_macintosh(tmp_path, name):
    before = "prompt\r" if name == "p.csv" else ""
    lines = read_lines(written(tmp_path, name, f"{before}a cat\ra dog\r"))
    assert [line.settings for line in lines] == [{"prompt": "a cat"}, {"prompt": "a dog"}]


def test_a_kind_that_is_said_counts_for_more_than_the_name(tmp_path):
    file = written(tmp_path, "p.log", '{"prompt": "a cat", "seed": 3}\n')
    assert read_lines(file, "jsonl")[0].settings == {"prompt": "a cat", "seed": 3}
    with pytest.raises(ConfigError, match="--format yaml: it must be one of txt, jsonl, csv"):
        read_lines(file, "yaml")


@pytest.mark.parametrize(("kind", "data"), [(None, b"a cat\n"), ("jsonl", b'"a cat"'), ("csv", b"prompt\na cat")])
def test_prompts_may_be_piped_in(monkeypatch, kind, data):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert [line.settings for line in read_lines("-", kind)] == [{"prompt": "a cat"}]
    with pytest.raises(ConfigError, match="standard input holds no prompts"):
        read_lines("-", kind)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="there is no file of prompts"):
        read_lines(tmp_path / "p.txt")
    (tmp_path / "folder.txt").mkdir()
    with pytest.raises(ConfigError, match="cannot be read"):
        read_lines(tmp_path / "folder.txt")


@settings(deadline=None)
@given(data=st.binary(max_size=80), kind=st.sampled_from(["txt", "jsonl", "csv"]), header=st.booleans())
def test_whatever_a_file_holds_lines_are_read_or_told_of(tmp_path_factory, data, kind, header):
    before = b"prompt,seed\n" if kind == "csv" and header else b""
    file = written(tmp_path_factory.mktemp("any"), f"p.{kind}", before + data)
    try:
        lines = read_lines(file)
    except ConfigError:
        return
    numbers = [line.number for line in lines]
    assert numbers == sorted(set(numbers))
    assert 1 <= numbers[0] <= numbers[-1] <= ((before + data).count(b"\n") or data.count(b"\r")) + 1
    for line in lines:
        assert (line.problem is None) == ("prompt" in line.settings) or kind == "txt"
