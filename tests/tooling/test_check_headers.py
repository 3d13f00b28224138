import check_headers
import pytest


@pytest.fixture
def tree(tmp_path):
    def outcome(**files):
        for name, text in files.items():
            file = tmp_path / "src" / "base" / f"{name}.h"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return check_headers.check(tmp_path, jobs=2)

    return outcome


def test_complete_header_passes(tree):
    assert tree(
        good="#pragma once\n#include <string>\ninline std::string name();\n"
        "inline std::string name() { return {}; }\n"
    ) == (1, [], [])


def test_header_that_leans_on_another_include_is_named(tree):
    count, complaints, _ = tree(bad="#pragma once\ninline std::string name() { return {}; }\n")
    assert count == 1
    assert "src/base/bad.h does not compile alone" in complaints[0]


def test_header_without_a_guard_is_named(tree):
    _, complaints, _ = tree(bad="inline int one() { return 1; }\n")
    assert "redefinition" in complaints[0]


def test_header_that_opens_its_own_source_is_left_to_the_build(tree, tmp_path):
    source = tmp_path / "src" / "base" / "bad.cpp"
    source.parent.mkdir(parents=True)
    source.write_text('#include "base/bad.h"\n#include <string>\n')
    leaning = "#pragma once\ninline std::string name() { return {}; }\n"
    assert tree(bad=leaning) == (1, [], [])
    source.write_text('#include <string>\n\n#include "base/bad.h"\n')
    assert len(tree(bad=leaning)[1]) == 1


def test_header_without_a_guard_is_compiled_though_its_source_opens_with_it(tree, tmp_path):
    source = tmp_path / "src" / "base" / "bad.cpp"
    source.parent.mkdir(parents=True)
    source.write_text('#include "base/bad.h"\n')
    assert "redefinition" in tree(bad="inline int one() { return 1; }\n")[1][0]


def test_warning_is_an_error(tree):
    _, complaints, _ = tree(bad="#pragma once\ninline int f(int a) { return 1; }\n")
    assert "unused parameter" in complaints[0]


def test_vendor_header_is_skipped_aloud_where_its_compiler_is_missing(tmp_path, monkeypatch):
    file = tmp_path / "src" / "device" / "cuda" / "queue.h"
    file.parent.mkdir(parents=True)
    file.write_text("#pragma once\n#include <cuda_runtime.h>\n")
    which = check_headers.shutil.which
    monkeypatch.setattr(check_headers.shutil, "which", lambda n: None if n == "nvcc" else which(n))
    assert check_headers.check(tmp_path, jobs=1) == (
        0,
        [],
        ["device/cuda/queue.h (nvcc not found)"],
    )
