import check_text
import pytest


def problems(tmp_path, data, name="file.py"):
    (tmp_path / name).write_bytes(data if isinstance(data, bytes) else data.encode())
    return check_text.check(tmp_path, [name])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "one\n",
        "a\n\nb\n",
        "https://example.org/work/x\n",
        "src/tmp/a\n",
        "t=$(mktemp -p /tmp/)\n",
    ],
)
def test_clean_text_passes(tmp_path, text):
    assert problems(tmp_path, text) == []


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("a \n", "white space"),
        ("a\t\n", "white space"),
        ("a\r\n", "white space"),
        ("a", "no line break"),
        ("a\n\n", "empty lines"),
        ("// TODO later\n", "TODO"),
        ("# FIXME\n", "FIXME"),
        ("open('/tmp/x')\n", "/tmp/"),
        ("cd /root/x\n", "/root/"),
        ("cd /home/somebody/x\n", "/home/somebody/"),
        (b"\xff\n", "not UTF-8"),
    ],
)
def test_each_fault_is_named_with_its_line(tmp_path, text, word):
    (problem,) = problems(tmp_path, text)
    assert problem.startswith("file.py:") and word in problem


def test_binary_generated_and_missing_files_are_left_alone(tmp_path):
    assert problems(tmp_path, b"\0 \n") == []
    assert problems(tmp_path, "a \n", "package-lock.json") == []
    assert check_text.check(tmp_path, ["gone.py"]) == []


def test_words_that_contain_a_mark_are_not_one(tmp_path):
    assert problems(tmp_path, "TODOS = MASTODON\n") == []
