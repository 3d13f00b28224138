"""Fixtures for the tests of the installed package: scripts/python_package.sh, then pytest.

KRSERVE_TEST_DEVICE=cuda runs them on that device; the markers say which memory a test is for.
"""

import faulthandler
import itertools
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import krserve_native as native
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
HANG_LIMIT_S = 120
DEVICE = os.environ.get("KRSERVE_TEST_DEVICE", "cpu")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "host_memory: for devices whose memory the host reaches")
    config.addinivalue_line("markers", "device_memory: for devices whose memory it does not reach")


@pytest.fixture(autouse=True)
def hang_ends_the_run() -> Iterator[None]:
    """A wait that keeps Python's lock would stop every thread: the run ends with a traceback."""
    faulthandler.dump_traceback_later(HANG_LIMIT_S, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture(scope="session")
def device() -> native.Device:
    return native.Device(DEVICE, threads=2)


@pytest.fixture(autouse=True)
def the_memory_it_is_for(request: pytest.FixtureRequest, device: native.Device) -> None:
    if request.node.get_closest_marker("host_memory") and not device.unified_memory:
        pytest.skip(f"the host does not reach the memory of {device.name}")
    if request.node.get_closest_marker("device_memory") and device.unified_memory:
        pytest.skip(f"the host reaches the memory of {device.name}")


@pytest.fixture
def pool(device: native.Device) -> native.MetalMemoryPool:
    return native.MetalMemoryPool(heap_size_mb=8, num_heaps=2, warmup_sizes=[1], device=device)


@pytest.fixture
def blit(device: native.Device) -> native.BlitQueue:
    return native.BlitQueue(staging_buffer_size_mb=1, device=device)


@pytest.fixture
def ring(device: native.Device) -> native.CommandBufferRing:
    return native.CommandBufferRing(ring_size=2, device=device)


def read(buffer: native.Buffer) -> np.ndarray:
    """A copy of what is in the buffer, on any device."""
    array = np.empty(buffer.shape, buffer.dtype)
    native.BlitQueue(staging_buffer_size_mb=1, device=buffer.device).download(buffer, array).wait()
    return array


def write(buffer: native.Buffer, values: object) -> None:
    """Puts `values`, broadcast to its shape, into the buffer, on any device."""
    array = np.empty(buffer.shape, buffer.dtype)
    array[...] = values
    native.BlitQueue(staging_buffer_size_mb=1, device=buffer.device).upload(buffer, array).wait()


def steps_of_another_thread(wait: Callable[[], Any]) -> int:
    """How often another Python thread came round while `wait` ran: 0 if it kept Python's lock."""
    counter = itertools.count()
    running, stop = threading.Event(), threading.Event()

    def count() -> None:
        running.set()
        while not stop.is_set():
            next(counter)
            time.sleep(0)

    thread = threading.Thread(target=count)
    thread.start()
    running.wait()
    interval = sys.getswitchinterval()
    # From here on the lock changes hands where it is given up, and nowhere else.
    sys.setswitchinterval(1e6)
    try:
        before = next(counter)
        wait()
        after = next(counter)
    finally:
        sys.setswitchinterval(interval)
        stop.set()
        thread.join()
    return after - before - 1


def run_threads(count: int, work: Callable[[int], None]) -> None:
    """Runs work(0) ... work(count - 1) at the same time; raises the first failure."""
    failures: list[BaseException] = []

    def guarded(index: int) -> None:
        try:
            work(index)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
