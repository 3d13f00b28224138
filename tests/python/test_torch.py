"""Tensors of torch and buffers of krserve, on the device of both."""

import gc

import krserve_native as native
import pytest
from conftest import read, write

torch = pytest.importorskip(
    "torch", reason="torch (a gigabyte) is not installed for the tests; docs/PYTHON.md"
)


def test_torch_shares_a_buffer(pool: native.MetalMemoryPool) -> None:
    buffer = pool.empty([2, 3], "float32")
    write(buffer, [[0, 1, 2], [3, 4, 5]])
    tensor = torch.from_dlpack(buffer)
    assert tensor.device.type == ("cpu" if buffer.host_accessible else "cuda")
    assert (tensor.dtype, tensor.data_ptr()) == (torch.float32, buffer.address)
    assert tensor.tolist() == [[0, 1, 2], [3, 4, 5]]
    tensor.add_(1)
    if tensor.is_cuda:
        torch.cuda.synchronize()
    assert read(buffer).tolist() == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64", "int32", "uint8", "bool"])
def test_torch_takes_every_type(pool: native.MetalMemoryPool, dtype: str) -> None:
    buffer = pool.empty([4], dtype)
    write(buffer.view("uint8"), 0)
    tensor = torch.from_dlpack(buffer)
    assert tensor.dtype == getattr(torch, dtype)
    assert tensor.tolist() == [0, 0, 0, 0]
    assert buffer.view(tensor.dtype).dtype == dtype


def test_a_step_writes_what_the_tensor_reads(
    pool: native.MetalMemoryPool, ring: native.CommandBufferRing
) -> None:
    source, target = pool.allocate(4096), pool.allocate(4096)
    tensor = torch.from_dlpack(target)
    for value in (3, 200):
        with ring.acquire() as slot:
            slot.fill(source, value)
            slot.barrier()
            slot.copy(target, source)
        slot.step.wait()
        assert (tensor == value).all().item()


def test_a_tensor_keeps_the_memory(pool: native.MetalMemoryPool) -> None:
    buffer = pool.allocate(4096)
    tensor = torch.from_dlpack(buffer)
    pool.free(buffer)
    others = [pool.allocate(4096) for _ in range(16)]
    tensor.fill_(5)
    for other in others:
        write(other, 9)
    assert (tensor == 5).all().item()
    del others, other
    gc.collect()
    assert pool.get_statistics().live_objects == 1
    del tensor
    gc.collect()
    assert pool.get_statistics().live_objects == 0


def test_a_tensor_of_the_host_is_uploaded(
    pool: native.MetalMemoryPool, blit: native.BlitQueue
) -> None:
    buffer = pool.empty([100], torch.int32)
    blit.upload(buffer, torch.arange(100, dtype=torch.int32)).wait()
    target = torch.zeros(100, dtype=torch.int32)
    blit.download(buffer, target).wait()
    assert target.tolist() == list(range(100))


@pytest.mark.host_memory
def test_wrap_shares_a_tensor(device: native.Device) -> None:
    tensor = torch.arange(6, dtype=torch.bfloat16).reshape(2, 3)
    buffer = native.wrap(tensor, device=device)
    assert (buffer.shape, buffer.dtype, buffer.address) == ((2, 3), "bfloat16", tensor.data_ptr())
