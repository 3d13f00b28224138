"""Log lines of the seed document, word for word and at its levels. The blit queue's failure needs a
device without queues: ComponentFailure/blit in engine_tests."""

import subprocess

from conftest import BINARY, MODEL, ROOT

COMPONENTS = "metal_optimizations"


def log_of(*settings, code=0):
    command = [str(BINARY), "generate", "--model", str(MODEL), "--preset", "all-on"]
    command += ["--chat", "What is 17 + 25?", "--temperature", "0", "--max-tokens", "64"]
    for setting in settings:
        command += ["--set", setting]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done.stderr
    if code == 0:
        assert "42" in done.stdout
    return done.stderr


def test_a_pool_without_room_is_an_error_and_the_fallback_a_warning():
    log = log_of("memory.limit_mb=100", f"{COMPONENTS}.blit_queue.staging_buffer_size_mb=1")
    assert "[ERROR] MetalMemoryPool: Failed to create MTLHeap (out of memory): heap 1 of 4" in log
    assert "[WARN] [engine.start] Failed to initialize Metal optimizations: memory pool off" in log
    assert "; falling back to on-demand allocation" in log


def test_fallbacks_follow_fallback_log_level():
    limit = ("memory.limit_mb=100", f"{COMPONENTS}.blit_queue.staging_buffer_size_mb=1")
    assert "[ERROR] [engine.start] Failed to initialize Metal optimizations" in log_of(
        *limit, f"{COMPONENTS}.fallback_log_level=error"
    )
    quiet = log_of(*limit, f"{COMPONENTS}.fallback_log_level=debug")
    assert "Failed to initialize Metal optimizations" not in quiet
    assert "[ERROR] MetalMemoryPool: Failed to create MTLHeap (out of memory)" in quiet


def test_without_graceful_fallback_it_is_the_end():
    log = log_of("memory.limit_mb=100", f"{COMPONENTS}.graceful_fallback=false", code=1)
    assert "[ERROR] " in log


def test_a_ring_of_one_is_refused():
    log = log_of(f"{COMPONENTS}.command_buffer_ring.ring_size=1", code=78)
    assert "[ERROR] CommandBufferRing: Invalid ring_size (must be >= 2)" in log


def test_an_exhausted_pool_warns_unless_told_not_to():
    small = (f"{COMPONENTS}.memory_pool.heap_size_mb=1", f"{COMPONENTS}.memory_pool.num_heaps=1")
    line = "MetalMemoryPool exhausted, falling back to on-demand allocation"
    assert f"[WARN] [memory_pool.allocate] {line}: " in log_of(*small)
    assert line not in log_of(*small, f"{COMPONENTS}.memory_pool.log_exhaustion=false")


def test_waits_for_a_slot_are_logged_on_demand():
    line = "Waiting for command buffer completion..."
    key = f"{COMPONENTS}.command_buffer_ring"
    assert line in log_of(f"{key}.log_wait_events=true", f"{key}.ring_size=2")
    assert line not in log_of(f"{key}.ring_size=2")


def test_verbose_logging_tells_every_blit():
    verbose = log_of(f"{COMPONENTS}.blit_queue.verbose_logging=true")
    uploads = [line for line in verbose.splitlines() if "[blit_queue.no_copy] upload: " in line]
    assert len(uploads) > 2, "one a step at least"
    assert "[blit_queue." not in log_of()
