import check_includes
import pytest


@pytest.fixture
def tree(tmp_path):
    """A function that writes files below src/ and returns the problems of the tree."""
    for name in [
        "base/error.h",
        "config/loader.h",
        "text/tokenizer.h",
        "kernels/ops/ops.h",
        "device/device.h",
        "device/cpu/cpu_queue.h",
        "device/cuda/cuda_queue.h",
        "runtime/memory_pool/memory_pool.h",
        "runtime/blit_queue/blit_queue.h",
        "model/decoder.h",
        "engine/engine.h",
        "server/server.h",
        "cli/options.h",
    ]:
        file = tmp_path / "src" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("#pragma once\n")

    def problems(path, text):
        file = tmp_path / "src" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return check_includes.check(tmp_path)

    return problems


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("cli/main.cpp", "server/server.h"),
        ("server/routes.cpp", "engine/engine.h"),
        ("engine/step.cpp", "text/tokenizer.h"),
        ("engine/step.cpp", "config/loader.h"),
        ("model/qwen.cpp", "runtime/memory_pool/memory_pool.h"),
        ("runtime/memory_pool/tlsf.cpp", "config/loader.h"),
        ("runtime/memory_pool/tlsf.cpp", "runtime/memory_pool/memory_pool.h"),
        ("device/cpu/queue.cpp", "kernels/ops/ops.h"),
        ("device/make_device.cpp", "device/cpu/cpu_queue.h"),
        ("device/fake/fake_queue.cpp", "device/cpu/cpu_queue.h"),
        ("text/stop.cpp", "base/error.h"),
    ],
)
def test_include_along_the_arrow_is_taken(tree, path, target):
    assert tree(path, f'#include "{target}"\n') == []


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("base/log.cpp", "config/loader.h"),
        ("kernels/ops/rope.h", "base/error.h"),
        ("config/schema.cpp", "text/tokenizer.h"),
        ("text/stop.cpp", "config/loader.h"),
        ("device/cpu/queue.cpp", "config/loader.h"),
        ("device/cpu/queue.cpp", "runtime/memory_pool/memory_pool.h"),
        ("runtime/memory_pool/tlsf.cpp", "model/decoder.h"),
        ("model/qwen.cpp", "engine/engine.h"),
        ("model/qwen.cpp", "config/loader.h"),
        ("engine/step.cpp", "server/server.h"),
        ("server/routes.cpp", "cli/options.h"),
    ],
)
def test_include_against_the_arrow_is_refused(tree, path, target):
    (problem,) = tree(path, f'\n#include "{target}"\n')
    assert problem.startswith(f"src/{path}:2: ")
    assert target in problem and "may include" in problem


def test_runtime_parts_do_not_include_each_other(tree):
    (problem,) = tree(
        "runtime/blit_queue/staging.cpp", '#include "runtime/memory_pool/memory_pool.h"\n'
    )
    assert "meet only through device/" in problem


def test_inside_of_a_back_end_is_hidden_from_everybody_else(tree):
    (problem,) = tree("runtime/memory_pool/tlsf.cpp", '#include "device/cpu/cpu_queue.h"\n')
    assert "is the seam" in problem


def test_back_ends_do_not_include_each_other(tree):
    (problem,) = tree("device/cpu/cpu_queue.cpp", '#include "device/cuda/cuda_queue.h"\n')
    assert "one back end includes another" in problem


@pytest.mark.parametrize("target", ["../base/error.h", "error.h", "base/nothing.h"])
def test_path_that_does_not_start_at_src_is_refused(tree, target):
    assert len(tree("base/log.cpp", f'#include "{target}"\n')) == 1


@pytest.mark.parametrize("target", ["cuda_runtime.h", "cublas_v2.h", "cuda.h", "nccl.h"])
def test_cuda_header_is_for_its_back_end_alone(tree, target):
    assert tree("device/cuda/cuda_queue.cpp", f"#include <{target}>\n") == []
    (problem,) = tree("engine/step.cpp", f"#include <{target}>\n")
    assert "belongs in src/device/cuda/ alone" in problem


def test_metal_header_is_for_its_back_end_alone(tree):
    assert tree("device/metal/metal_queue.mm", "#import <Metal/Metal.h>\n") == []
    for path in ["device/cuda/cuda_queue.cpp", "device/device.cpp", "runtime/x.cpp"]:
        assert any(path in problem for problem in tree(path, "#import <Metal/Metal.hpp>\n"))


def test_language_headers_belong_to_device_code(tree):
    assert tree("kernels/tuned/cuda/matmul.cuh", "#include <cuda_fp16.h>\n") == []
    assert tree("kernels/dialect/metal.h", "#include <metal_stdlib>\n") == []
    assert len(tree("model/qwen.cpp", "#include <cuda_fp16.h>\n")) == 1


@pytest.mark.parametrize(
    "line",
    ["#ifdef KRSERVE_CUDA", "#if defined(__APPLE__)", "# elif KR_METAL", "#ifndef __CUDACC__"],
)
def test_back_end_condition_above_the_seam_is_refused(tree, line):
    assert tree("device/make_device.cpp", f"{line}\n#endif\n") == []
    assert tree("kernels/entry/entry.h", f"{line}\n#endif\n") == []
    (problem,) = tree("server/server.cpp", f"{line}\n#endif\n")
    assert "#if on a back end" in problem


def test_other_conditions_are_taken(tree):
    assert tree("engine/step.cpp", "#ifdef NDEBUG\n#endif\n") == []


def test_unknown_folder_is_refused(tree):
    (problem,) = tree("utils/helpers.h", "#pragma once\n")
    assert "utils/ is not in the arrow" in problem


def test_spaces_in_the_directive_do_not_hide_an_include(tree):
    assert len(tree("base/log.cpp", '  #  include "engine/engine.h"\n')) == 1
