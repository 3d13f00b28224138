"""BlitQueue: copies between arrays and buffers, waits, metrics, threads."""

import gc

import krserve_native as native
import numpy as np
import pytest
from conftest import read, run_threads, steps_of_another_thread, write

MIB = 1024 * 1024


def test_bytes_go_up_and_come_back(pool: native.MetalMemoryPool, blit: native.BlitQueue) -> None:
    buffer = pool.empty([3, 1000], "int32")
    source = np.arange(3000, dtype=np.int32).reshape(3, 1000)
    blit.upload(buffer, source).wait()
    target = np.zeros_like(source)
    assert blit.wait(blit.download(buffer, target))
    assert (target == source).all()
    metrics = blit.get_metrics()
    assert (metrics.total_uploads, metrics.total_downloads) == (1, 1)
    assert metrics.upload_bytes == metrics.download_bytes == 12000


@pytest.mark.parametrize(
    "source",
    [
        b"12345678",
        bytearray(b"12345678"),
        memoryview(b"12345678"),
        np.frombuffer(b"12345678", "u1"),
    ],
)
def test_anything_with_the_buffer_protocol_is_uploaded(
    pool: native.MetalMemoryPool, blit: native.BlitQueue, source: object
) -> None:
    buffer = pool.allocate(8)
    blit.upload(buffer, source).wait()
    target = bytearray(8)
    blit.download(buffer, target).wait()
    assert bytes(target) == b"12345678"


def test_the_source_may_change_on_return(
    pool: native.MetalMemoryPool, blit: native.BlitQueue
) -> None:
    buffer = pool.allocate(4 * MIB)
    source = np.full(4 * MIB, 1, np.uint8)
    transfer = blit.upload(buffer, source)
    source[:] = 2
    transfer.wait()
    assert (read(buffer) == 1).all()


def test_a_part_is_copied_through_a_view(
    pool: native.MetalMemoryPool, blit: native.BlitQueue
) -> None:
    buffer = pool.allocate(16)
    write(buffer, 0)
    blit.upload(buffer.view(shape=[4], offset=8), b"abcd").wait()
    assert read(buffer).tobytes() == b"\0" * 8 + b"abcd" + b"\0" * 4


@pytest.mark.parametrize("size", [7, 9])
def test_a_size_that_differs_is_a_value_error(
    pool: native.MetalMemoryPool, blit: native.BlitQueue, size: int
) -> None:
    buffer = pool.allocate(8)
    with pytest.raises(ValueError, match=f"the array has {size} bytes and the buffer 8"):
        blit.upload(buffer, bytes(size))
    with pytest.raises(ValueError, match=f"the array has {size} bytes and the buffer 8"):
        blit.download(buffer, bytearray(size))
    assert blit.get_metrics().total_uploads == 0


def test_arrays_that_cannot_take_the_bytes_are_refused(
    pool: native.MetalMemoryPool, blit: native.BlitQueue
) -> None:
    buffer = pool.allocate(8)
    with pytest.raises(TypeError):
        blit.download(buffer, b"12345678")  # read-only
    with pytest.raises(TypeError):
        blit.download(buffer, np.zeros(16, np.uint8)[::2])
    with pytest.raises(TypeError):
        blit.upload(buffer, "12345678")
    with pytest.raises(ValueError, match="step, kv or weights"):
        blit.upload(buffer, bytes(8), priority="soon")


def test_a_buffer_of_another_device_is_refused(blit: native.BlitQueue) -> None:
    other = native.MetalMemoryPool(
        heap_size_mb=1, num_heaps=1, warmup_sizes=[], device=native.Device("cpu", threads=1)
    )
    with pytest.raises(ValueError, match="another Device"):
        blit.upload(other.allocate(8), bytes(8))


@pytest.mark.host_memory
def test_a_wrapped_buffer_is_not_written(blit: native.BlitQueue, device: native.Device) -> None:
    with pytest.raises(ValueError, match="read-only"):
        blit.upload(native.wrap(np.zeros(8, np.uint8), device=device), bytes(8))


def test_a_download_follows_the_step_it_waits_for(
    pool: native.MetalMemoryPool, blit: native.BlitQueue, ring: native.CommandBufferRing
) -> None:
    buffer = pool.allocate(6 * MIB)
    for value in (1, 2, 3):
        with ring.acquire() as slot:
            slot.fill(buffer, value)
        target = np.zeros(6 * MIB, np.uint8)
        blit.download(buffer, target, after=slot.step).wait()
        assert (target == value).all()


def test_an_upload_waits_for_the_readers_of_the_old_bytes(
    pool: native.MetalMemoryPool, blit: native.BlitQueue, ring: native.CommandBufferRing
) -> None:
    source, copy = pool.allocate(3 * MIB), pool.allocate(3 * MIB)
    write(source, 1)
    with ring.acquire() as slot:
        slot.copy(copy, source)
    blit.upload(source, np.full(3 * MIB, 2, np.uint8), after=slot.step).wait()
    slot.step.wait()
    assert (read(copy) == 1).all()
    assert (read(source) == 2).all()


def test_wait_all_lands_every_download(
    pool: native.MetalMemoryPool, blit: native.BlitQueue
) -> None:
    targets = [np.zeros(1000, np.uint8) for _ in range(100)]
    for value, target in enumerate(targets):
        buffer = pool.allocate(1000)
        write(buffer, value)
        blit.download(buffer, target)
    assert blit.wait_all()
    assert [int(target[999]) for target in targets] == list(range(100))
    del buffer
    gc.collect()
    assert pool.get_statistics().live_objects == 0


def test_a_pending_download_keeps_buffer_and_array(
    pool: native.MetalMemoryPool, blit: native.BlitQueue
) -> None:
    buffer = pool.allocate(1000)
    write(buffer, 4)
    transfer = blit.download(buffer, bytearray(1000))
    pool.free(buffer)
    gc.collect()
    assert pool.get_statistics().live_objects == 1
    transfer.wait()
    assert transfer.done
    assert pool.get_statistics().live_objects == 0


def test_a_cancelled_download_is_not_written(
    pool: native.MetalMemoryPool, blit: native.BlitQueue
) -> None:
    buffer = pool.allocate(100)
    write(buffer, 4)
    target = bytearray(100)
    transfer = blit.download(buffer, target)
    blit.cancel(transfer)
    assert transfer.done
    with pytest.raises(native.DeviceError, match="cancelled"):
        transfer.wait()
    blit.wait_all()
    assert target == bytearray(100)
    assert blit.get_metrics().cancelled_count == 1


@pytest.mark.parametrize("timeout", [-1, float("nan")])
def test_a_time_out_below_zero_is_a_value_error(blit: native.BlitQueue, timeout: float) -> None:
    with pytest.raises(ValueError, match="timeout"):
        blit.wait_all(timeout)


@pytest.mark.parametrize("reset", ["reset", "reset_metrics"])
def test_reset_forgets_the_metrics(
    pool: native.MetalMemoryPool, blit: native.BlitQueue, reset: str
) -> None:
    blit.upload(pool.allocate(8), bytes(8)).wait()
    getattr(blit, reset)()
    metrics = blit.get_metrics()
    assert (metrics.total_uploads, metrics.upload_bytes) == (0, 0)
    assert metrics.enabled


def test_overlap_is_measured_against_the_steps_that_are_told(
    pool: native.MetalMemoryPool, blit: native.BlitQueue, ring: native.CommandBufferRing
) -> None:
    buffer, target = pool.allocate(6 * MIB), pool.allocate(MIB)
    with ring.acquire() as slot:
        for _ in range(8):
            slot.fill(buffer, 1)
            slot.barrier()
    blit.upload(target, bytes(MIB)).wait()
    slot.step.wait()
    blit.add_compute(slot.step)
    assert 0 <= blit.get_metrics().overlap_ratio <= 1


def test_threads_share_a_queue(pool: native.MetalMemoryPool, blit: native.BlitQueue) -> None:
    def work(index: int) -> None:
        buffer = pool.allocate(50_000)
        for step in range(20):
            value = (index * 20 + step) % 256
            blit.upload(buffer, np.full(50_000, value, np.uint8)).wait()
            target = np.zeros(50_000, np.uint8)
            blit.download(buffer, target).wait()
            assert (target == value).all()

    run_threads(6, work)
    assert blit.get_metrics().total_uploads == 120


@pytest.mark.parametrize("what", ["upload", "download"])
def test_a_long_copy_lets_other_threads_run(device: native.Device, what: str) -> None:
    pool = native.MetalMemoryPool(heap_size_mb=256, num_heaps=1, warmup_sizes=[256], device=device)
    blit = native.BlitQueue(device=device)
    buffer = pool.allocate(256 * MIB)
    array = np.ones(256 * MIB, np.uint8)

    def copy() -> None:
        if what == "upload":
            blit.upload(buffer, array).wait()
        else:
            blit.download(buffer, array).wait()

    assert steps_of_another_thread(copy) > 0
