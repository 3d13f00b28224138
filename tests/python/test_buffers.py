"""Buffers as arrays: the buffer protocol and DLPack share the memory and keep it alive."""

import gc

import krserve_native as native
import numpy as np
import pytest

pytestmark = pytest.mark.host_memory

DTYPES = [
    "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64",
    "float16", "float32", "float64", "bool",
]  # fmt: skip


def share(buffer: native.Buffer, how: str) -> np.ndarray:
    return np.asarray(memoryview(buffer)) if how == "buffer" else np.from_dlpack(buffer)


@pytest.mark.parametrize("how", ["buffer", "dlpack"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_numpy_shares_every_type(pool: native.MetalMemoryPool, how: str, dtype: str) -> None:
    buffer = pool.empty([2, 3], dtype)
    array = share(buffer, how)
    assert (array.shape, array.dtype) == ((2, 3), np.dtype(dtype))
    array[:] = [[1, 0, 1], [0, 1, 1]]
    other = share(buffer, "dlpack" if how == "buffer" else "buffer")
    assert other.ctypes.data == array.ctypes.data == buffer.address
    assert other.tolist() == array.tolist()


@pytest.mark.parametrize("how", ["buffer", "dlpack"])
@pytest.mark.parametrize("end", ["free", "del"])
def test_an_array_keeps_the_memory_until_it_goes(
    pool: native.MetalMemoryPool, how: str, end: str
) -> None:
    buffer = pool.allocate(4096)
    array = share(buffer, how)
    if end == "free":
        pool.free(buffer)
    else:
        del buffer
    gc.collect()
    # Deferred: the pool must not hand the memory out again.
    assert pool.get_statistics().live_objects == 1
    others = [np.asarray(pool.allocate(4096)) for _ in range(16)]
    array[:] = 5
    for other in others:
        other[:] = 9
    assert (array == 5).all()
    del array, others, other
    gc.collect()
    assert pool.get_statistics().live_objects == 0


def test_a_view_is_the_same_memory_with_another_type(pool: native.MetalMemoryPool) -> None:
    buffer = pool.allocate(32)
    floats = buffer.view("float32", shape=[2, 2], offset=16)
    np.asarray(floats)[:] = 1.5
    assert np.asarray(buffer)[16:].tobytes() == np.full(4, 1.5, np.float32).tobytes()
    assert buffer.view(np.float32).shape == (8,)
    assert buffer.view(np.dtype("int64")).dtype == "int64"
    assert floats.view().shape == (4,)


def test_a_view_keeps_the_memory(pool: native.MetalMemoryPool) -> None:
    buffer = pool.allocate(64)
    view = buffer.view("int32")
    pool.free(buffer)
    np.asarray(view)[:] = 3
    assert pool.get_statistics().live_objects == 1
    view.free()
    assert pool.get_statistics().live_objects == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"dtype": "float32", "shape": [9]}, "36 bytes; the buffer has 32"),
        ({"dtype": "float32", "offset": 2}, "no whole number"),
        ({"dtype": "float32", "shape": [1], "offset": 2}, "no multiple"),
        ({"offset": 33}, "past the end"),
        ({"shape": [-1]}, "extents are >= 0"),
        ({"shape": [2**40, 2**40]}, "at most 2^62"),
        ({"dtype": "complex64"}, "unknown element type 'complex64'"),
    ],
)
def test_views_that_do_not_fit_are_value_errors(
    pool: native.MetalMemoryPool, arguments: dict, words: str
) -> None:
    with pytest.raises(ValueError) as caught:
        pool.allocate(32).view(**arguments)
    assert words in str(caught.value)


def test_bfloat16_goes_by_dlpack_alone(pool: native.MetalMemoryPool) -> None:
    buffer = pool.empty([4], "bfloat16")
    for share in (memoryview, np.asarray, np.array):
        with pytest.raises(BufferError, match="bfloat16"):
            share(buffer)
    assert buffer.__dlpack__() is not None
    assert memoryview(buffer.view("uint16")).nbytes == 8


def test_array_shares_as_the_buffer_protocol_does(pool: native.MetalMemoryPool) -> None:
    buffer = pool.empty([4], "int32")
    assert buffer.__array__().ctypes.data == buffer.address
    buffer.__array__()[:] = 3
    assert buffer.__array__(np.float64).tolist() == [3, 3, 3, 3]
    with pytest.raises(ValueError, match="copy"):
        buffer.__array__(np.float64, copy=False)


def test_dlpack_follows_the_array_api(pool: native.MetalMemoryPool) -> None:
    buffer = pool.empty([4], "int32")
    assert buffer.__dlpack_device__() == (1, 0)
    assert "dltensor" in repr(buffer.__dlpack__())
    assert "dltensor_versioned" in repr(buffer.__dlpack__(max_version=(1, 0), copy=False))
    with pytest.raises(BufferError):
        buffer.__dlpack__(dl_device=(2, 0))


def test_an_unused_dlpack_capsule_gives_its_hold_back(pool: native.MetalMemoryPool) -> None:
    capsule = pool.allocate(64).__dlpack__()
    gc.collect()
    assert pool.get_statistics().live_objects == 1
    del capsule
    gc.collect()
    assert pool.get_statistics().live_objects == 0


def test_memoryview_has_format_and_strides(pool: native.MetalMemoryPool) -> None:
    view = memoryview(pool.empty([2, 3], "float64"))
    assert (view.format, view.shape, view.strides, view.itemsize) == ("d", (2, 3), (24, 8), 8)
    assert view.c_contiguous and not view.readonly
    view[1, 2] = 4.5
    assert view.tolist()[1][2] == 4.5


def test_an_empty_shape_and_a_scalar_are_arrays(pool: native.MetalMemoryPool) -> None:
    buffer = pool.allocate(8)
    scalar = buffer.view("float64", shape=[])
    np.asarray(scalar)[()] = 2.5
    assert np.from_dlpack(scalar).item() == 2.5
    with pytest.raises(TypeError):
        len(scalar)
    assert np.asarray(buffer.view("int8", shape=[0])).shape == (0,)


def test_wrap_lays_a_buffer_over_numpys_memory(device: native.Device) -> None:
    array = np.arange(6, dtype=np.int32).reshape(2, 3)
    buffer = native.wrap(array, device=device)
    assert (buffer.shape, buffer.dtype, buffer.read_only) == ((2, 3), "int32", True)
    array[1, 2] = 77
    seen = np.asarray(memoryview(buffer))
    assert seen.ctypes.data == array.ctypes.data
    assert seen[1, 2] == 77
    assert not seen.flags.writeable
    assert not np.from_dlpack(buffer).flags.writeable


def test_wrap_keeps_the_array_and_lets_it_go(device: native.Device) -> None:
    import weakref

    array = np.ones(100)
    alive = weakref.ref(array)
    buffer = native.wrap(array, device=device)
    del array
    gc.collect()
    assert alive() is not None
    assert np.asarray(memoryview(buffer)).sum() == 100
    buffer.free()
    gc.collect()
    assert alive() is None


def test_wrap_refuses_what_is_not_contiguous(device: native.Device) -> None:
    with pytest.raises(TypeError):
        native.wrap(np.ones((4, 4))[:, ::2], device=device)
