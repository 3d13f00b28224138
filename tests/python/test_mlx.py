"""Arrays of mlx.core and buffers of krserve."""

import ctypes
import gc

import krserve_native as native
import mlx.core as mx
import numpy as np
import pytest

pytestmark = pytest.mark.host_memory


def test_mlx_reads_a_buffer(pool: native.MetalMemoryPool) -> None:
    buffer = pool.empty([2, 4], "float32")
    np.asarray(buffer)[:] = np.arange(8).reshape(2, 4)
    for array in (mx.array(buffer), mx.from_dlpack(buffer), mx.asarray(buffer)):
        assert (array.dtype, array.shape) == (mx.float32, (2, 4))
        assert array.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert (mx.array(buffer) @ mx.ones([4])).tolist() == [6, 22]


def test_mlx_reads_bfloat16(pool: native.MetalMemoryPool) -> None:
    buffer = pool.empty([2], "bfloat16")
    np.asarray(buffer.view("uint16"))[:] = [0x3F80, 0x4040]  # 1.0 and 3.0
    array = mx.from_dlpack(buffer)
    assert array.dtype == mx.bfloat16
    assert array.tolist() == [1.0, 3.0]


def test_sharing_a_buffer_with_mlx_is_for_unified_memory(pool: native.MetalMemoryPool) -> None:
    """mlx adopts host memory on a Mac's GPU alone; its CPU build says so instead of copying."""
    buffer = pool.allocate(16384, alignment=16384)
    np.asarray(buffer)[:] = 1
    if mx.metal.is_available():
        array = mx.from_dlpack(buffer, copy=False)
        np.asarray(buffer)[:] = 2
        assert array[0].item() == 2
    else:
        with pytest.raises(ValueError, match="without a copy"):
            mx.from_dlpack(buffer, copy=False)


@pytest.mark.parametrize("dtype", [mx.float32, mx.float16, mx.bfloat16, mx.int32, mx.uint8])
def test_a_buffer_shares_mlxs_memory(
    device: native.Device,
    pool: native.MetalMemoryPool,
    ring: native.CommandBufferRing,
    dtype: mx.Dtype,
) -> None:
    array = mx.zeros([64], dtype)
    mx.eval(array)
    wrapped = native.wrap(array, device=device)
    assert wrapped.dtype == str(dtype).rsplit(".")[-1]
    # mlx's own memory changes: the device sees it without another call.
    address = np.asarray(memoryview(wrapped.view("uint8"))).ctypes.data
    ctypes.memset(address, 1, wrapped.nbytes)
    out = pool.empty([64], wrapped.dtype)
    with ring.acquire() as slot:
        slot.copy(out, wrapped)
    slot.step.wait()
    assert (np.asarray(out.view("uint8")) == 1).all()
    assert np.array(array.view(mx.uint8)).tolist() == [1] * wrapped.nbytes


def test_mlxs_memory_outlives_the_array(device: native.Device) -> None:
    array = mx.full([1000], 3.0)
    buffer = native.wrap(array, device=device)
    del array
    gc.collect()
    mx.clear_cache()
    junk = [mx.full([1000], 9.0) for _ in range(8)]
    mx.eval(junk)
    assert (np.asarray(memoryview(buffer)) == 3.0).all()


def test_an_mlx_array_is_uploaded(pool: native.MetalMemoryPool, blit: native.BlitQueue) -> None:
    array = mx.arange(100, dtype=mx.int32) * 2
    buffer = pool.empty([100], mx.int32)
    blit.upload(buffer, array).wait()
    assert np.asarray(buffer).tolist() == list(range(0, 200, 2))
    assert mx.array_equal(mx.array(buffer), array)
