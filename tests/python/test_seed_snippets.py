"""The Python of the seed document, word for word; what it takes for granted comes before."""

import logging

import krserve_native as native
import pytest

# The seed forgets to import the Config classes and never says what `memory_pool` is.
VERIFY_INSTALLATION = """
from krserve_native import MetalMemoryPool, BlitQueue, CommandBufferRing

# Test memory pool
pool_config = MetalMemoryPoolConfig()
pool_config.heap_size_mb = 256
pool_config.num_heaps = 4
pool = MetalMemoryPool(pool_config)
print(f"Memory pool initialized: {pool.get_statistics().total_heaps} heaps")

# Test blit queue
blit_config = BlitQueueConfig()
blit_config.max_pending_ops = 8
blit_queue = BlitQueue(blit_config)
print(f"Blit queue ready: max {blit_config.max_pending_ops} pending ops")

# Test command ring
ring_config = CommandBufferRingConfig()
ring_config.ring_size = 3
ring = CommandBufferRing(ring_config)
print(f"Command ring initialized: {ring_config.ring_size} buffers")
"""

METRICS = """
from krserve_native import MetalMemoryPool, BlitQueue, CommandBufferRing

# Memory Pool metrics
pool_stats = memory_pool.get_statistics()
print(f"Pool hit rate: {pool_stats.hit_rate * 100:.1f}%")
print(f"Pool utilization: {pool_stats.utilization * 100:.1f}%")
print(f"Total allocations: {pool_stats.total_allocations}")
print(f"Fallback allocations: {pool_stats.fallback_allocations}")

# Blit Queue metrics
blit_metrics = blit_queue.get_metrics()
print(f"Total uploads: {blit_metrics.total_uploads}")
print(f"Avg upload time: {blit_metrics.avg_upload_ms:.2f}ms")
print(f"Overlap efficiency: {blit_metrics.overlap_ratio * 100:.1f}%")

# Command Ring metrics
ring_stats = command_ring.get_statistics()
print(f"Total acquisitions: {ring_stats.total_acquisitions}")
print(f"Reuse rate: {ring_stats.reuse_rate * 100:.1f}%")
print(f"Avg wait time: {ring_stats.avg_wait_ms:.2f}ms")
"""

EXHAUSTION = """
stats = pool.get_statistics()
print(f"Fallback rate: {stats.fallback_allocations / stats.total_allocations * 100:.1f}%")
print(f"Largest allocation: {stats.largest_allocation_mb:.1f}MB")
print(f"Active heaps: {stats.active_heaps}/{stats.total_heaps}")
"""

STALLS = """
metrics = blit_queue.get_metrics()
print(f"Sync wait count: {metrics.sync_wait_count}")
print(f"Avg sync wait: {metrics.avg_sync_wait_ms:.2f}ms")
print(f"Overlap ratio: {metrics.overlap_ratio * 100:.1f}%")
"""

WAIT_EVENTS = """
stats = ring.get_statistics()
print(f"Wait events: {stats.wait_events}")
print(f"Avg wait: {stats.avg_wait_ms:.2f}ms")
print(f"Reuse rate: {stats.reuse_rate * 100:.1f}%")
"""

ENABLED = """
print(f"Memory pool enabled: {pool_config.enabled}")
print(f"Blit queue enabled: {blit_config.enabled}")
print(f"Command ring enabled: {ring_config.enabled}")
"""

FALLBACK_RATE = """
pool_stats = pool.get_statistics()
print(f"Fallback rate: {pool_stats.fallback_allocations / pool_stats.total_allocations * 100:.1f}%")
"""

GRACEFUL_FALLBACK = """
# Initialization attempt
try:
    pool = MetalMemoryPool(config)
except RuntimeError as e:
    logger.warning(f"Memory pool initialization failed: {e}")
    logger.info("Falling back to standard MLX allocation")
    pool = None  # Fallback mode
"""

REPORT = """
pool_stats = pool.get_statistics()
blit_metrics = blit_queue.get_metrics()
ring_stats = ring.get_statistics()
"""


def everything() -> dict:
    return {name: getattr(native, name) for name in native.__all__}


def run(code: str, **names: object) -> dict:
    scope = everything() | names
    exec(code, scope)
    return scope


@pytest.fixture(scope="module")
def verified() -> dict:
    """Pool, queue and ring of "Verify Installation", with an allocation, an upload and a step."""
    scope = run(VERIFY_INSTALLATION)
    buffer = scope["pool"].allocate(3 * 1024 * 1024)
    scope["blit_queue"].upload(buffer, bytes(buffer.nbytes)).wait()
    with scope["ring"].acquire() as slot:
        slot.fill(buffer, 1)
    slot.step.wait()
    return scope | {"kept": buffer}


def test_verify_installation_prints_what_the_seed_expects(capsys: pytest.CaptureFixture) -> None:
    run(VERIFY_INSTALLATION)
    assert capsys.readouterr().out == (
        "Memory pool initialized: 4 heaps\n"
        "Blit queue ready: max 8 pending ops\n"
        "Command ring initialized: 3 buffers\n"
    )


def test_metrics_of_each_component_are_printed(
    verified: dict, capsys: pytest.CaptureFixture
) -> None:
    run(
        METRICS,
        memory_pool=verified["pool"],
        blit_queue=verified["blit_queue"],
        command_ring=verified["ring"],
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Pool hit rate: 100.0%"
    assert "Total allocations: 1" in lines
    assert "Total uploads: 1" in lines
    assert "Total acquisitions: 1" in lines


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (EXHAUSTION, ["Fallback rate: 0.0%", "Largest allocation: 3.0MB", "Active heaps: 1/4"]),
        (STALLS, ["Sync wait count: "]),
        (WAIT_EVENTS, ["Wait events: 0", "Avg wait: 0.00ms", "Reuse rate: 0.0%"]),
        (FALLBACK_RATE, ["Fallback rate: 0.0%"]),
        (
            ENABLED,
            [
                "Memory pool enabled: False",
                "Blit queue enabled: False",
                "Command ring enabled: False",
            ],
        ),
    ],
)
def test_diagnosis_snippets_answer(
    verified: dict, capsys: pytest.CaptureFixture, code: str, expected: list[str]
) -> None:
    run(code, **verified)
    out = capsys.readouterr().out
    assert all(line in out for line in expected), out


def test_report_snippet_takes_all_three_snapshots(verified: dict) -> None:
    scope = run(REPORT, **verified)
    assert scope["pool_stats"].total_allocations == 1
    assert scope["blit_metrics"].total_uploads == 1
    assert scope["ring_stats"].total_acquisitions == 1


def test_graceful_fallback_catches_a_pool_that_cannot_be_had(
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = {"heap_size_mb": 1048576, "num_heaps": 256, "warmup_sizes": []}
    with caplog.at_level(logging.INFO):
        scope = run(GRACEFUL_FALLBACK, config=config, logger=logging.getLogger("seed"))
    assert scope["pool"] is None
    assert "Memory pool initialization failed" in caplog.text
    assert "Failed to create MTLHeap (out of memory)" in caplog.text
