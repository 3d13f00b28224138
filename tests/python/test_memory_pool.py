"""MetalMemoryPool: allocation, refusal, statistics, threads."""

import gc

import krserve_native as native
import numpy as np
import pytest
from conftest import run_threads, steps_of_another_thread

MIB = 1024 * 1024


def test_an_allocation_has_the_bytes_asked_for(pool: native.MetalMemoryPool) -> None:
    buffer = pool.allocate(1000)
    assert (buffer.nbytes, buffer.shape, buffer.dtype, len(buffer)) == (
        1000,
        (1000,),
        "uint8",
        1000,
    )
    assert buffer.device == pool.device
    assert pool.get_statistics().live_objects == 1


def test_empty_takes_shape_and_type(pool: native.MetalMemoryPool) -> None:
    buffer = pool.empty([3, 5], "float16")
    assert (buffer.nbytes, buffer.shape, buffer.dtype) == (30, (3, 5), "float16")


@pytest.mark.parametrize("how", ["pool", "buffer", "del"])
def test_memory_goes_back_to_the_pool(pool: native.MetalMemoryPool, how: str) -> None:
    buffer = pool.allocate(2 * MIB)
    if how == "pool":
        pool.free(buffer)
    elif how == "buffer":
        buffer.free()
    else:
        del buffer
        gc.collect()
    statistics = pool.get_statistics()
    assert (statistics.live_objects, statistics.total_allocations) == (0, 1)
    assert pool.check_integrity()


def test_a_freed_buffer_is_refused_everywhere(pool: native.MetalMemoryPool) -> None:
    buffer = pool.allocate(64)
    pool.free(buffer)
    assert buffer.freed and repr(buffer) == "Buffer(freed)"
    with pytest.raises(ValueError, match="was freed"):
        pool.free(buffer)
    with pytest.raises(ValueError, match="was freed"):
        buffer.view("int8")
    with pytest.raises(BufferError, match="was freed"):
        memoryview(buffer)
    with pytest.raises(BufferError, match="was freed"):
        np.asarray(buffer)


@pytest.mark.device_memory
def test_what_numpy_cannot_reach_is_refused_with_the_remedy(pool: native.MetalMemoryPool) -> None:
    buffer = pool.allocate(64)
    assert not buffer.host_accessible
    for share in (np.asarray, np.array, memoryview, bytes):
        with pytest.raises(BufferError, match="download"):
            share(buffer)
    with pytest.raises((BufferError, RuntimeError)):
        np.from_dlpack(buffer)


def test_another_pools_buffer_is_refused(
    pool: native.MetalMemoryPool, device: native.Device
) -> None:
    other = native.MetalMemoryPool(heap_size_mb=1, num_heaps=1, warmup_sizes=[], device=device)
    buffer = other.allocate(64)
    with pytest.raises(ValueError, match="not from this pool"):
        pool.free(buffer)
    assert not buffer.freed


def test_exhaustion_falls_back_to_the_device_and_is_counted(pool: native.MetalMemoryPool) -> None:
    buffers = [pool.allocate(6 * MIB) for _ in range(3)]
    statistics = pool.get_statistics()
    assert statistics.total_allocations == 3
    assert statistics.fallback_allocations == 1
    assert statistics.hit_rate == pytest.approx(2 / 3)
    assert statistics.active_heaps == statistics.total_heaps == 2
    assert statistics.largest_allocation_mb == 6
    assert statistics.utilization == pytest.approx(12 / 16)
    assert statistics.tags["other"].objects == len(buffers)


def test_refusal_is_a_memory_error_with_the_numbers(device: native.Device) -> None:
    live_mb = device.memory()["live_bytes"] // MIB
    pool = native.MetalMemoryPool(
        heap_size_mb=2, num_heaps=1, warmup_sizes=[], device=device, limit_mb=live_mb + 8
    )
    with pytest.raises(MemoryError, match="64.0 MiB"):
        pool.allocate(64 * MIB)
    assert pool.allocate(MIB).nbytes == MIB
    assert pool.check_integrity()


def test_heaps_beyond_the_limit_are_a_runtime_error_at_once(device: native.Device) -> None:
    with pytest.raises(RuntimeError, match="Failed to create MTLHeap"):
        native.MetalMemoryPool(heap_size_mb=64, num_heaps=4, device=device, limit_mb=1)


@pytest.mark.parametrize("bad", [{"bytes": 0}, {"bytes": 8, "alignment": 3}])
def test_sizes_that_make_no_sense_are_value_errors(
    pool: native.MetalMemoryPool, bad: dict[str, int]
) -> None:
    with pytest.raises(ValueError):
        pool.allocate(**bad)


@pytest.mark.parametrize("alignment", [1, 1 << 20, 1 << 63])
def test_sizes_beyond_all_memory_are_memory_errors(
    pool: native.MetalMemoryPool, alignment: int
) -> None:
    with pytest.raises(MemoryError):
        pool.allocate((1 << 64) - 1, alignment=alignment)
    assert pool.check_integrity()


@pytest.mark.parametrize("alignment", [1, 64, 4096, 16384])
def test_alignment_holds(pool: native.MetalMemoryPool, alignment: int) -> None:
    kept = pool.allocate(80)
    for _ in range(3):
        buffer = pool.allocate(100, alignment=alignment)
        assert buffer.address % alignment == 0
        assert buffer.nbytes == 100
    del kept


@pytest.mark.parametrize("reset", ["reset", "reset_statistics"])
def test_reset_forgets_the_counters_and_keeps_the_memory(
    pool: native.MetalMemoryPool, reset: str
) -> None:
    buffer = pool.allocate(64)
    getattr(pool, reset)()
    statistics = pool.get_statistics()
    assert (statistics.total_allocations, statistics.live_objects) == (0, 1)
    assert statistics.total_heaps == 2
    del buffer


def test_statistics_are_a_snapshot_that_becomes_a_dict(pool: native.MetalMemoryPool) -> None:
    before = pool.get_statistics()
    buffer = pool.allocate(64)
    assert before.total_allocations == 0
    values = pool.get_statistics().as_dict()
    assert values["total_allocations"] == 1
    assert values["tags"]["other"]["bytes"] >= buffer.nbytes
    with pytest.raises(AttributeError):
        before.total_allocations = 3


def test_a_buffer_outlives_the_names_of_pool_and_device() -> None:
    own = native.Device("cpu", threads=1)
    pool = native.MetalMemoryPool(heap_size_mb=1, num_heaps=1, warmup_sizes=[], device=own)
    array = np.asarray(pool.allocate(256))
    del pool, own
    gc.collect()
    array[:] = 7
    assert array.sum() == 7 * 256


def test_threads_allocate_and_free_at_once(pool: native.MetalMemoryPool) -> None:
    def work(index: int) -> None:
        held = []
        for step in range(300):
            held.append(pool.allocate(64 + 997 * ((index + step) % 13)))
            if step % 3 == 2:
                pool.free(held.pop(index % len(held)))

    run_threads(6, work)
    gc.collect()
    statistics = pool.get_statistics()
    assert (statistics.total_allocations, statistics.live_objects) == (6 * 300, 0)
    assert pool.check_integrity()


def test_making_a_pool_lets_other_threads_run(device: native.Device) -> None:
    def make() -> None:
        # Warming up touches half a gigabyte.
        native.MetalMemoryPool(heap_size_mb=512, num_heaps=1, warmup_sizes=[512], device=device)

    assert steps_of_another_thread(make) > 0
