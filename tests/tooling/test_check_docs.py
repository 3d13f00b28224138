import check_docs
import pytest


@pytest.fixture
def tree(tmp_path):
    for folder in ["base", "device/cpu"]:
        (tmp_path / "src" / folder).mkdir(parents=True)
        (tmp_path / "src" / folder / "a.h").write_text("")
    (tmp_path / "docs").mkdir()

    def problems(text):
        (tmp_path / "docs" / "architecture.md").write_text(text)
        return check_docs.check(tmp_path)

    return problems


GOOD = (
    "# Architecture\n\nEverything is below `src/base/` or not.\n\n"
    "- `src/base/`: errors, logging and units\n"
    "- `src/device/`: the seam to the hardware\n"
    "  - `src/device/cpu/`: the asynchronous CPU device\n"
)


def test_one_line_for_each_folder_passes(tree):
    assert tree(GOOD) == []


def test_table_rows_count_as_lines(tree):
    assert tree(GOOD.replace("- `src/base/`:", "| `src/base` |")) == []


def test_missing_document_is_named(tmp_path):
    assert check_docs.check(tmp_path) == ["docs/architecture.md is missing"]


def test_folder_without_a_line_is_named(tree):
    (problem,) = tree("\n".join(GOOD.splitlines()[:-1]))
    assert "src/device/cpu/ has 0 lines" in problem


def test_folder_with_two_lines_is_named(tree):
    (problem,) = tree(GOOD + "- `src/base/`: errors, once more\n")
    assert "src/base/ has 2 lines" in problem


def test_folder_that_does_not_exist_is_named(tree):
    (problem,) = tree(GOOD + "- `src/gone/`: what used to be here\n")
    assert "docs/architecture.md:8: src/gone/ does not exist" in problem


def test_line_that_says_nothing_is_named(tree):
    (problem,) = tree(GOOD.replace("errors, logging and units", "base"))
    assert "src/base has no sentence" in problem
