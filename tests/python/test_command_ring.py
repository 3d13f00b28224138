"""CommandBufferRing: slots, recordings, order, threads."""

import gc
import threading

import krserve_native as native
import numpy as np
import pytest
from conftest import read, run_threads, steps_of_another_thread, write

MIB = 1024 * 1024


def test_a_step_copies_and_fills(
    pool: native.MetalMemoryPool, ring: native.CommandBufferRing
) -> None:
    source, target = pool.allocate(100), pool.allocate(100)
    slot = ring.acquire()
    slot.fill(source, 0xAB)
    slot.barrier()
    slot.copy(target, source)
    step = slot.commit()
    assert step.wait()
    assert step.done
    assert (read(target) == 0xAB).all()
    start, end = step.times_ns
    assert 0 < start <= end


def test_slots_come_round_in_order(ring: native.CommandBufferRing) -> None:
    indices = []
    for _ in range(5):
        slot = ring.acquire()
        indices.append(slot.index)
        slot.commit().wait()
    assert indices == [0, 1, 0, 1, 0]
    assert ring.get_statistics().total_acquisitions == 5


def test_a_recording_is_replayed(
    pool: native.MetalMemoryPool, ring: native.CommandBufferRing
) -> None:
    source, target = pool.allocate(8), pool.allocate(8)
    replayed = []
    for value in range(6):
        write(source, value)
        slot = ring.acquire()
        replayed.append(slot.replay(7))
        if not replayed[-1]:
            slot.record(7)
            slot.copy(target, source)
        slot.commit().wait()
        assert (read(target) == value).all()
    assert replayed == [False, False, True, True, True, True]
    statistics = ring.get_statistics()
    assert statistics.reuse_rate == pytest.approx(4 / 6)
    assert statistics.recordings == 2


def test_a_recording_keeps_its_buffers(
    pool: native.MetalMemoryPool, ring: native.CommandBufferRing
) -> None:
    source, target = pool.allocate(8), pool.allocate(8)
    slot = ring.acquire()
    slot.record(1)
    slot.copy(target, source)
    slot.commit().wait()
    pool.free(source)
    pool.free(target)
    del slot
    gc.collect()
    assert pool.get_statistics().live_objects == 2
    ring.acquire().commit().wait()
    ring.drop_recordings()
    ring.acquire().commit().wait()
    ring.acquire().abandon()
    assert pool.get_statistics().live_objects == 0


def test_buffers_of_a_step_that_is_over_go_back(
    pool: native.MetalMemoryPool, ring: native.CommandBufferRing
) -> None:
    with ring.acquire() as slot:
        slot.fill(pool.allocate(64), 1)
    slot.step.wait()
    del slot
    ring.acquire().abandon()
    assert pool.get_statistics().live_objects == 0


def test_with_commits_or_abandons(
    pool: native.MetalMemoryPool, ring: native.CommandBufferRing
) -> None:
    buffer = pool.allocate(8)
    write(buffer, 0)
    with pytest.raises(KeyError), ring.acquire() as slot:
        slot.fill(buffer, 1)
        raise KeyError
    assert slot.step is None
    with ring.acquire() as again:
        again.fill(buffer, 2)
    assert again.index == slot.index
    again.step.wait()
    assert (read(buffer) == 2).all()


def test_a_slot_is_good_for_one_step(
    pool: native.MetalMemoryPool, ring: native.CommandBufferRing
) -> None:
    slot = ring.acquire()
    slot.commit().wait()
    for use in (slot.commit, slot.abandon, slot.barrier, lambda: slot.replay(1)):
        with pytest.raises(ValueError, match="committed or abandoned"):
            use()
    fresh = ring.acquire()
    fresh.fill(pool.allocate(8), 1)
    with pytest.raises(ValueError, match="before the slot's first command"):
        fresh.record(1)


def test_a_slot_that_is_dropped_is_given_back(ring: native.CommandBufferRing) -> None:
    for _ in range(5):
        slot = ring.acquire()
        del slot
        gc.collect()
    assert ring.in_flight == 0


def test_commands_that_make_no_sense_are_value_errors(
    pool: native.MetalMemoryPool, ring: native.CommandBufferRing
) -> None:
    buffer = pool.allocate(64)
    slot = ring.acquire()
    with pytest.raises(ValueError, match="32 bytes to 64 bytes"):
        slot.copy(buffer, pool.allocate(32))
    with pytest.raises(ValueError, match="overlap"):
        slot.copy(buffer.view(shape=[32]), buffer.view(shape=[32], offset=16))
    with pytest.raises(ValueError, match="0..255"):
        slot.fill(buffer, 256)
    other = native.MetalMemoryPool(
        heap_size_mb=1, num_heaps=1, warmup_sizes=[], device=native.Device("cpu", threads=1)
    )
    with pytest.raises(ValueError, match="another Device"):
        slot.fill(other.allocate(8), 1)
    slot.commit().wait()


@pytest.mark.host_memory
def test_a_wrapped_buffer_is_not_filled(
    ring: native.CommandBufferRing, device: native.Device
) -> None:
    wrapped = native.wrap(np.zeros(64, np.uint8), device=device)
    with ring.acquire() as slot, pytest.raises(ValueError, match="read-only"):
        slot.fill(wrapped, 1)


def test_a_step_waits_for_what_it_is_told(
    pool: native.MetalMemoryPool, ring: native.CommandBufferRing, device: native.Device
) -> None:
    other = native.CommandBufferRing(ring_size=2, device=device)
    source, target = pool.allocate(6 * MIB), pool.allocate(6 * MIB)
    for value in range(1, 6):
        first = ring.acquire()
        first.fill(source, value)
        step = first.commit()
        second = other.acquire()
        second.copy(target, source)
        last = second.commit(wait_for=step if value % 2 else [step])
        last.wait()
        assert (read(target) == value).all()
    with pytest.raises(TypeError, match="Step"):
        other.acquire().commit(wait_for=3)


def test_an_acquire_past_its_time_is_a_timeout_error(device: native.Device) -> None:
    ring = native.CommandBufferRing(ring_size=2, timeout_ms=20, device=device)
    held = [ring.acquire(), ring.acquire()]
    with pytest.raises(TimeoutError, match="20 ms") as caught:
        ring.acquire()
    assert isinstance(caught.value, RuntimeError)
    assert ring.get_statistics().timeouts == 1
    assert len(held) == 2


def test_acquire_lets_the_thread_run_that_gives_a_slot_back(
    ring: native.CommandBufferRing,
) -> None:
    held = [ring.acquire(), ring.acquire()]
    waiting, got = threading.Event(), threading.Event()

    def acquire() -> None:
        waiting.set()
        ring.acquire().commit().wait()
        got.set()

    thread = threading.Thread(target=acquire)
    thread.start()
    waiting.wait()
    assert not got.wait(0.05)
    for slot in held:
        slot.commit()
    thread.join()
    assert got.is_set()


def test_waiting_for_a_step_lets_other_threads_run(device: native.Device) -> None:
    pool = native.MetalMemoryPool(heap_size_mb=256, num_heaps=1, warmup_sizes=[256], device=device)
    ring = native.CommandBufferRing(device=device)
    buffer = pool.allocate(256 * MIB)
    slot = ring.acquire()
    for value in range(8):
        slot.fill(buffer, value)
        slot.barrier()
    step = slot.commit()
    assert steps_of_another_thread(step.wait) > 0
    assert (read(buffer)[::MIB] == 7).all()


def test_a_wait_that_is_too_short_says_so(device: native.Device) -> None:
    pool = native.MetalMemoryPool(heap_size_mb=256, num_heaps=1, warmup_sizes=[256], device=device)
    ring = native.CommandBufferRing(device=device)
    buffer = pool.allocate(256 * MIB)
    slot = ring.acquire()
    for value in range(16):
        slot.fill(buffer, value)
        slot.barrier()
    step = slot.commit()
    assert step.wait(timeout=0) is False
    with pytest.raises(ValueError, match="not over"):
        step.times_ns  # noqa: B018
    assert step.wait(timeout=60) is True


def test_threads_share_a_ring(pool: native.MetalMemoryPool, ring: native.CommandBufferRing) -> None:
    def work(index: int) -> None:
        buffer = pool.allocate(10_000)
        for step in range(25):
            with ring.acquire() as slot:
                slot.fill(buffer, (index * 25 + step) % 256)
            slot.step.wait()
            assert (read(buffer) == (index * 25 + step) % 256).all()

    run_threads(5, work)
    assert ring.get_statistics().total_acquisitions == 125


@pytest.mark.parametrize("reset", ["reset", "reset_statistics"])
def test_reset_forgets_the_counters(ring: native.CommandBufferRing, reset: str) -> None:
    ring.acquire().commit().wait()
    getattr(ring, reset)()
    statistics = ring.get_statistics()
    assert (statistics.total_acquisitions, statistics.reuse_rate) == (0, 0)
    assert statistics.ring_size == 2


def test_rebuild_starts_afresh(ring: native.CommandBufferRing) -> None:
    held = ring.acquire()
    ring.rebuild()
    with pytest.raises(native.DeviceError, match="lost"):
        held.commit()
    ring.acquire().commit().wait()
    assert ring.get_statistics().rebuilds == 1
    assert "slot 0" in ring.describe()
