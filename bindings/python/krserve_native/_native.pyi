"""krserve's memory pool, blit queue, command ring and engine."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self, TypeAlias


class Error(RuntimeError):
    """Base of krserve's errors. `where` is the "component.operation"."""

    where: str = ''

class ConfigError(Error, ValueError):
    """A setting that is unknown or out of range."""

class ModelError(Error):
    """A model directory that is missing, damaged or of an unknown kind."""

class TextError(Error):
    """Tokenizer or chat template trouble."""

class OutOfMemoryError(Error, MemoryError):
    """A memory request that was refused; nothing else is affected."""

class DeviceError(Error):
    """A device that is not there, was lost, or whose work failed."""

class WaitTimeoutError(Error, TimeoutError):
    """A wait ran past its limit."""

class RequestError(Error, ValueError):
    """A request whose fields are invalid. `param` names the field."""

    param: str = ''

    code: str = ''

class OverloadError(Error):
    """No room now; the same request may succeed later."""

class MetalMemoryPoolConfig:
    """
    Settings of a MetalMemoryPool. Sizes in MB are MiB. `enabled` is for engines; a pool of its own is there when it is made.
    """

    def __init__(self, values: Mapping[str, Any] | None = None, /, *, enabled: bool = False, heap_size_mb: int = 256, num_heaps: int = 4, warmup_sizes: list[int] = [32, 128, 512], track_statistics: bool = True, log_exhaustion: bool = True, allow_growth: bool = False, allocation_log: str = '') -> None: ...

    @property
    def enabled(self) -> bool:
        """Requires master enabled: true (true or false)"""

    @enabled.setter
    def enabled(self, value: bool, /) -> None: ...

    @property
    def heap_size_mb(self) -> int:
        """Size of each pre-allocated heap (an integer in 1..1048576)"""

    @heap_size_mb.setter
    def heap_size_mb(self, value: int, /) -> None: ...

    @property
    def num_heaps(self) -> int:
        """Total memory = heap_size_mb × num_heaps (an integer in 1..256)"""

    @num_heaps.setter
    def num_heaps(self, value: int, /) -> None: ...

    @property
    def warmup_sizes(self) -> list[int]:
        """Buffer sizes (MB) to warmup (a list of integers in 1..1048576)"""

    @warmup_sizes.setter
    def warmup_sizes(self, value: list[int], /) -> None: ...

    @property
    def track_statistics(self) -> bool:
        """Enable metrics tracking (true or false)"""

    @track_statistics.setter
    def track_statistics(self, value: bool, /) -> None: ...

    @property
    def log_exhaustion(self) -> bool:
        """Log warnings when pool exhausted (true or false)"""

    @log_exhaustion.setter
    def log_exhaustion(self, value: bool, /) -> None: ...

    @property
    def allow_growth(self) -> bool:
        """
        When full, add heaps up to memory.limit_mb; empty ones go back when idle (true or false)
        """

    @allow_growth.setter
    def allow_growth(self, value: bool, /) -> None: ...

    @property
    def allocation_log(self) -> str:
        """
        File that lists every allocation, for pool_bench; '' = none (one line of text)
        """

    @allocation_log.setter
    def allocation_log(self, value: str, /) -> None: ...

    def as_dict(self) -> dict[str, Any]:
        """The settings by name."""

    def __repr__(self) -> str: ...

    def __eq__(self, other: object, /) -> bool: ...

class BlitQueueConfig:
    """Settings of a BlitQueue."""

    def __init__(self, values: Mapping[str, Any] | None = None, /, *, enabled: bool = False, max_pending_ops: int = 8, use_shared_events: bool = True, staging_buffer_size_mb: int = 64, background_mb_per_s: int = 0, track_metrics: bool = True, verbose_logging: bool = False) -> None: ...

    @property
    def enabled(self) -> bool:
        """Requires master enabled: true (true or false)"""

    @enabled.setter
    def enabled(self, value: bool, /) -> None: ...

    @property
    def max_pending_ops(self) -> int:
        """Max concurrent blit operations (an integer in 1..1024)"""

    @max_pending_ops.setter
    def max_pending_ops(self, value: int, /) -> None: ...

    @property
    def use_shared_events(self) -> bool:
        """Use MTLSharedEvent for sync (true or false)"""

    @use_shared_events.setter
    def use_shared_events(self, value: bool, /) -> None: ...

    @property
    def staging_buffer_size_mb(self) -> int:
        """Staging buffer size (an integer in 1..65536)"""

    @staging_buffer_size_mb.setter
    def staging_buffer_size_mb(self, value: int, /) -> None: ...

    @property
    def background_mb_per_s(self) -> int:
        """
        KV and weight copies while steps run, MB/s; 0 = by device (an integer in 0..1048576)
        """

    @background_mb_per_s.setter
    def background_mb_per_s(self, value: int, /) -> None: ...

    @property
    def track_metrics(self) -> bool:
        """Track performance metrics (true or false)"""

    @track_metrics.setter
    def track_metrics(self, value: bool, /) -> None: ...

    @property
    def verbose_logging(self) -> bool:
        """Debug logging (perf impact) (true or false)"""

    @verbose_logging.setter
    def verbose_logging(self, value: bool, /) -> None: ...

    def as_dict(self) -> dict[str, Any]:
        """The settings by name."""

    def __repr__(self) -> str: ...

    def __eq__(self, other: object, /) -> bool: ...

class CommandBufferRingConfig:
    """Settings of a CommandBufferRing."""

    def __init__(self, values: Mapping[str, Any] | None = None, /, *, enabled: bool = False, ring_size: int = 3, timeout_ms: int = 0, log_wait_events: bool = False, track_statistics: bool = True, max_recordings: int = 16) -> None: ...

    @property
    def enabled(self) -> bool:
        """Requires master enabled: true (true or false)"""

    @enabled.setter
    def enabled(self, value: bool, /) -> None: ...

    @property
    def ring_size(self) -> int:
        """2=double buffer, 3=triple buffer (an integer in 2..8)"""

    @ring_size.setter
    def ring_size(self, value: int, /) -> None: ...

    @property
    def timeout_ms(self) -> int:
        """Acquisition timeout (0=infinite) (an integer in 0..3600000)"""

    @timeout_ms.setter
    def timeout_ms(self, value: int, /) -> None: ...

    @property
    def log_wait_events(self) -> bool:
        """Log buffer wait events (debug) (true or false)"""

    @log_wait_events.setter
    def log_wait_events(self, value: bool, /) -> None: ...

    @property
    def track_statistics(self) -> bool:
        """Track reuse statistics (true or false)"""

    @track_statistics.setter
    def track_statistics(self, value: bool, /) -> None: ...

    @property
    def max_recordings(self) -> int:
        """
        Recorded steps kept per slot; the least recently used goes first (an integer in 1..1024)
        """

    @max_recordings.setter
    def max_recordings(self, value: int, /) -> None: ...

    def as_dict(self) -> dict[str, Any]:
        """The settings by name."""

    def __repr__(self) -> str: ...

    def __eq__(self, other: object, /) -> bool: ...

class MemoryTagStatistics:
    """Memory of one purpose."""

    def as_dict(self) -> dict[str, Any]:
        """All fields by name."""

    def __repr__(self) -> str: ...

    @property
    def bytes(self) -> int: ...

    @property
    def objects(self) -> int: ...

    @property
    def peak_bytes(self) -> int: ...

class MetalMemoryPoolStatistics:
    """Counters of a memory pool."""

    def as_dict(self) -> dict[str, Any]:
        """All fields by name."""

    def __repr__(self) -> str: ...

    @property
    def enabled(self) -> bool: ...

    @property
    def total_heaps(self) -> int: ...

    @property
    def active_heaps(self) -> int:
        """Heaps with a live allocation."""

    @property
    def hit_rate(self) -> float:
        """Allocations served from heaps / all, 0..1."""

    @property
    def utilization(self) -> float:
        """Live bytes in heaps / heap bytes, 0..1."""

    @property
    def total_allocations(self) -> int: ...

    @property
    def fallback_allocations(self) -> int:
        """Allocations served by an on-demand device buffer."""

    @property
    def largest_allocation_mb(self) -> float: ...

    @property
    def exhaustion_count(self) -> int:
        """Bursts of fallback."""

    @property
    def device_allocations(self) -> int:
        """Heaps and buffers asked of the device, ever."""

    @property
    def heap_bytes(self) -> int: ...

    @property
    def on_demand_bytes(self) -> int: ...

    @property
    def cached_bytes(self) -> int:
        """Free small blocks kept for reuse."""

    @property
    def heaps_grown(self) -> int: ...

    @property
    def heaps_trimmed(self) -> int: ...

    @property
    def live_bytes(self) -> int: ...

    @property
    def live_objects(self) -> int: ...

    @property
    def peak_bytes(self) -> int: ...

    @property
    def largest_free_block_bytes(self) -> int: ...

    @property
    def fragmentation(self) -> float: ...

    @property
    def tags(self) -> dict[str, MemoryTagStatistics]:
        """By purpose."""

    @property
    def allocations_per_token(self) -> float: ...

    @property
    def activation_planned_bytes(self) -> int: ...

    @property
    def activation_naive_bytes(self) -> int: ...

class BlitQueueMetrics:
    """Counters of a blit queue."""

    def as_dict(self) -> dict[str, Any]:
        """All fields by name."""

    def __repr__(self) -> str: ...

    @property
    def enabled(self) -> bool: ...

    @property
    def total_uploads(self) -> int: ...

    @property
    def total_downloads(self) -> int: ...

    @property
    def upload_bytes(self) -> int: ...

    @property
    def download_bytes(self) -> int: ...

    @property
    def avg_upload_ms(self) -> float: ...

    @property
    def avg_download_ms(self) -> float: ...

    @property
    def copy_ms(self) -> float:
        """Time copies ran, in all."""

    @property
    def overlapped_ms(self) -> float:
        """Of copy_ms, while compute ran."""

    @property
    def overlap_ratio(self) -> float:
        """Time a copy ran while compute ran / time copies ran, 0..1."""

    @property
    def sync_wait_count(self) -> int:
        """Waits that had to block."""

    @property
    def avg_sync_wait_ms(self) -> float: ...

    @property
    def no_copy_count(self) -> int:
        """Transfers that were stores into, or reads of, shared memory."""

    @property
    def stall_count(self) -> int:
        """Pieces that waited before they were queued."""

    @property
    def queue_depth(self) -> int: ...

    @property
    def peak_queue_depth(self) -> int: ...

    @property
    def upload_gb_per_s(self) -> float: ...

    @property
    def download_gb_per_s(self) -> float: ...

    @property
    def mapped_bytes(self) -> int: ...

    @property
    def coalesced_count(self) -> int: ...

    @property
    def failed_count(self) -> int: ...

    @property
    def cancelled_count(self) -> int: ...

    @property
    def stalls(self) -> dict[str, int]:
        """stall_count by cause."""

    @property
    def staging_bytes(self) -> int: ...

class GapStatistics:
    """Device idle time of one cause."""

    def as_dict(self) -> dict[str, Any]:
        """All fields by name."""

    def __repr__(self) -> str: ...

    @property
    def count(self) -> int: ...

    @property
    def total_ms(self) -> float: ...

    @property
    def p50_us(self) -> float: ...

    @property
    def p99_us(self) -> float: ...

    @property
    def max_us(self) -> float: ...

    @property
    def buckets(self) -> list[int]: ...

class CommandBufferRingStatistics:
    """Counters of a command ring."""

    def as_dict(self) -> dict[str, Any]:
        """All fields by name."""

    def __repr__(self) -> str: ...

    @property
    def enabled(self) -> bool: ...

    @property
    def ring_size(self) -> int: ...

    @property
    def total_acquisitions(self) -> int: ...

    @property
    def replays(self) -> int:
        """Acquisitions that replayed a recording."""

    @property
    def reuse_rate(self) -> float:
        """Acquisitions that replayed a recording / all, 0..1."""

    @property
    def wait_ms(self) -> float:
        """Waiting for slots beyond the device's own time, in all."""

    @property
    def avg_wait_ms(self) -> float:
        """
        Waiting for a slot beyond the device's own time; over all acquisitions.
        """

    @property
    def max_wait_ms(self) -> float: ...

    @property
    def avg_blocked_ms(self) -> float:
        """The whole wait, the device's work included."""

    @property
    def max_blocked_ms(self) -> float: ...

    @property
    def wait_events(self) -> int:
        """Times the slot wanted had not ended its step."""

    @property
    def timeouts(self) -> int: ...

    @property
    def recordings(self) -> int: ...

    @property
    def re_records(self) -> int: ...

    @property
    def evictions(self) -> int: ...

    @property
    def rebuilds(self) -> int: ...

    @property
    def occupancy(self) -> list[int]:
        """[n]: acquisitions that found n slots in flight."""

    @property
    def gap_p50_us(self) -> float: ...

    @property
    def gap_p99_us(self) -> float: ...

    @property
    def gap_count(self) -> int: ...

    @property
    def gaps(self) -> dict[str, GapStatistics]:
        """Gaps by cause."""

class Histogram:
    """
    Cumulative, as Prometheus has it: counts has one more entry than bounds.
    """

    def as_dict(self) -> dict[str, Any]:
        """All fields by name."""

    def __repr__(self) -> str: ...

    @property
    def bounds(self) -> list[float]: ...

    @property
    def counts(self) -> list[int]: ...

    @property
    def sum(self) -> float: ...

    @property
    def count(self) -> int: ...

class HostStepStatistics:
    """What the engine's thread spends on a step."""

    def as_dict(self) -> dict[str, Any]:
        """All fields by name."""

    def __repr__(self) -> str: ...

    @property
    def count(self) -> int: ...

    @property
    def mean_us(self) -> float: ...

    @property
    def p50_us(self) -> float: ...

    @property
    def p99_us(self) -> float: ...

class EngineStatistics:
    """Counters of an engine and its three components."""

    def as_dict(self) -> dict[str, Any]:
        """All fields by name."""

    def __repr__(self) -> str: ...

    @property
    def requests_running(self) -> int: ...

    @property
    def requests_waiting(self) -> int: ...

    @property
    def kv_cache_usage(self) -> float:
        """0..1"""

    @property
    def kv_pages_total(self) -> int: ...

    @property
    def kv_pages_used(self) -> int: ...

    @property
    def prompt_tokens_total(self) -> int: ...

    @property
    def generation_tokens_total(self) -> int: ...

    @property
    def preemptions_total(self) -> int: ...

    @property
    def steps_total(self) -> int: ...

    @property
    def discarded_tokens_total(self) -> int: ...

    @property
    def requests_failed_total(self) -> int: ...

    @property
    def finished_total(self) -> dict[str, int]:
        """By finish reason."""

    @property
    def time_to_first_token_s(self) -> Histogram: ...

    @property
    def inter_token_latency_s(self) -> Histogram: ...

    @property
    def e2e_latency_s(self) -> Histogram: ...

    @property
    def queue_time_s(self) -> Histogram: ...

    @property
    def prefill_time_s(self) -> Histogram: ...

    @property
    def decode_time_s(self) -> Histogram: ...

    @property
    def prompt_tokens(self) -> Histogram: ...

    @property
    def generation_tokens(self) -> Histogram: ...

    @property
    def iteration_tokens(self) -> Histogram: ...

    @property
    def memory_pool(self) -> MetalMemoryPoolStatistics: ...

    @property
    def blit_queue(self) -> BlitQueueMetrics: ...

    @property
    def command_buffer_ring(self) -> CommandBufferRingStatistics: ...

    @property
    def host_step(self) -> HostStepStatistics: ...

    @property
    def device_utilization(self) -> float:
        """0..1, since the last reset."""

    @property
    def since_reset_s(self) -> float: ...

    @property
    def status(self) -> list[dict[str, Any]]:
        """The components' metrics against targets, warnings and critical values."""

class Device:
    """
    A device of its own. Components that are to exchange buffers need one Device; those given the same name share one.
    """

    def __init__(self, name: str = 'auto', *, threads: int = 0) -> None:
        """
        `name`: auto, cpu, cuda or metal. `threads`: CPU workers, 0 = all cores. Raises DeviceError if there is no such device here.
        """

    @property
    def backend(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def memory_bytes(self) -> int: ...

    @property
    def unified_memory(self) -> bool:
        """Whether the host's arrays can be laid over its buffers without a copy."""

    @property
    def alignment_bytes(self) -> int: ...

    def memory(self) -> dict[str, int]:
        """What was asked of the device since it was opened."""

    def __eq__(self, other: object, /) -> bool: ...

    def __hash__(self) -> int: ...

    def __repr__(self) -> str: ...

class Buffer:
    """
    Device memory. numpy.asarray(buffer), torch.from_dlpack(buffer) and memoryview(buffer) share it without a copy where the host can reach it; CUDA's memory is shared through DLPack with what uses that GPU. An array keeps the memory alive, also after free(): the pool gets it back when the last one is gone.
    """

    def __buffer__(self, flags, /):
        """
        Return a buffer object that exposes the underlying memory of the object.
        """

    def __release_buffer__(self, buffer, /):
        """
        Release the buffer object that exposes the underlying memory of the object.
        """

    @property
    def nbytes(self) -> int: ...

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> str: ...

    @property
    def device(self) -> Device: ...

    @property
    def read_only(self) -> bool: ...

    @property
    def host_accessible(self) -> bool:
        """Whether numpy and memoryview can be laid over it."""

    @property
    def address(self) -> int:
        """
        Of the first byte: the host's, or CUDA's where the host cannot reach it. Raises BufferError where the device gives none.
        """

    @property
    def freed(self) -> bool: ...

    def free(self) -> None:
        """
        Gives the memory back. Deferred, not refused, while arrays over it or device work on it are left. Raises ValueError the second time.
        """

    def view(self, dtype: object = None, shape: Sequence[int] | None = None, offset: int = 0) -> Buffer:
        """
        The same memory from byte `offset` on as another element type and shape. `dtype`: a name or an object of numpy, torch or mlx.
        """

    def __len__(self) -> int: ...

    def __repr__(self) -> str: ...

    def __array__(self, dtype: object = None, *, copy: bool | None = None) -> object: ...

    def __dlpack__(self, *, stream: object = None, max_version: tuple[int, int] | None = None, dl_device: tuple[int, int] | None = None, copy: bool | None = None) -> object:
        """
        `stream` is not waited for: wait() for the steps and copies that write the buffer first.
        """

    def __dlpack_device__(self) -> tuple[int, int]: ...

def wrap(array: object, *, device: Device | str = 'auto') -> Buffer:
    """
    A read-only Buffer over an array's own memory (numpy, torch, mlx; contiguous), which it keeps alive. Raises DeviceError where the device does not read the host's memory.
    """

class MetalMemoryPool:
    """Pre-allocated heaps of device memory, on any device. Thread-safe."""

    def __init__(self, config: MetalMemoryPoolConfig | dict[str, Any] | None = None, *, device: Device | str = 'auto', limit_mb: int = 0, **settings: Any) -> None:
        """
        Makes all heaps. Settings may be given by keyword too. `limit_mb`: the most that the device may give, 0 = no limit. Raises ValueError for a setting out of range, MemoryError if the heaps cannot be had (both are RuntimeErrors).
        """

    Config: TypeAlias = MetalMemoryPoolConfig

    def allocate(self, bytes: int, *, alignment: int = 1) -> Buffer:
        """
        A Buffer of uint8. Beyond the heaps it is an on-demand device buffer. Raises MemoryError when refused. `alignment`: of the address, a power of two.
        """

    def empty(self, shape: Sequence[int], dtype: object = 'float32') -> Buffer:
        """A Buffer of this shape and element type; what is in it is unspecified."""

    def free(self, buffer: Buffer) -> None:
        """
        The same as buffer.free(). Raises ValueError for a buffer of another pool.
        """

    def get_statistics(self) -> MetalMemoryPoolStatistics: ...

    def reset_statistics(self) -> None: ...

    def reset(self) -> None:
        """The same as reset_statistics()."""

    def trim(self) -> int:
        """
        Gives heaps that it grew by, and that are empty, back; returns the bytes.
        """

    def check_integrity(self) -> bool:
        """Whether free and live memory add up to all."""

    @property
    def config(self) -> MetalMemoryPoolConfig: ...

    @property
    def device(self) -> Device: ...

class Transfer:
    """A copy on its way between host and device."""

    def wait(self, timeout: float | None = None) -> bool:
        """
        Until it has ended; False after `timeout` seconds. Raises what it failed of.
        """

    @property
    def done(self) -> bool:
        """Whether it has ended, well or not."""

class BlitQueue:
    """
    Asynchronous copies between host and device, with staging memory, priorities and back-pressure. Thread-safe.
    """

    def __init__(self, config: BlitQueueConfig | dict[str, Any] | None = None, *, device: Device | str = 'auto', **settings: Any) -> None:
        """
        Settings may be given by keyword too. Raises ValueError for a setting out of range, RuntimeError if the device is not there.
        """

    Config: TypeAlias = BlitQueueConfig

    def upload(self, buffer: Buffer, data: object, *, after: Step | Transfer | None = None, priority: str = 'step') -> Transfer:
        """
        Copies an array of the buffer's size (numpy, torch, mlx, bytes; contiguous) to it, not before `after`. `data` may be changed on return. `priority`: step, kv or weights.
        """

    def download(self, buffer: Buffer, out: object, *, after: Step | Transfer | None = None, priority: str = 'step') -> Transfer:
        """
        Copies the buffer to a writable array of its size, not before `after`. What is in `out` counts once the transfer was waited for.
        """

    def wait(self, transfer: Transfer, timeout: float | None = None) -> bool:
        """The same as transfer.wait()."""

    def wait_all(self, timeout: float | None = None) -> bool:
        """Until everything pending has ended; False after `timeout` seconds."""

    def cancel(self, transfer: Transfer) -> None:
        """
        For a download nobody waits for any more: once this returns, its array is not written. An upload goes on.
        """

    def add_compute(self, step: Step) -> None:
        """Counts a step's time on the device for overlap_ratio. It must be done."""

    def get_metrics(self) -> BlitQueueMetrics: ...

    def reset_metrics(self) -> None: ...

    def reset(self) -> None:
        """The same as reset_metrics()."""

    @property
    def config(self) -> BlitQueueConfig: ...

    @property
    def device(self) -> Device: ...

class Step:
    """Commands that were committed."""

    def wait(self, timeout: float | None = None) -> bool:
        """
        Until the device is done; False after `timeout` seconds. Raises DeviceError if it failed.
        """

    @property
    def done(self) -> bool: ...

    @property
    def times_ns(self) -> tuple[int, int]:
        """
        Start and end on the device's clock. Raises ValueError before the step is over.
        """

class RingSlot:
    """
    An acquired slot: commands between two barriers may run in any order. As a context manager it commits at the end, or is abandoned after an exception.
    """

    @property
    def index(self) -> int: ...

    @property
    def step(self) -> Step | None:
        """Of commit(); None before."""

    def record(self, key: int) -> None:
        """Keeps the commands that follow in this slot, for replay(key)."""

    def replay(self, key: int) -> bool:
        """
        Takes the slot's recording of `key` for commit(). False if it has none: record it.
        """

    def copy(self, dst: Buffer, src: Buffer) -> None:
        """Both of one size, not overlapping."""

    def fill(self, dst: Buffer, value: int) -> None:
        """Every byte of `dst` becomes `value` (0..255)."""

    def barrier(self) -> None:
        """What follows sees what came before."""

    def commit(self, wait_for: Step | Transfer | Sequence[Step | Transfer] | None = None) -> Step:
        """
        Hands the commands to the device, which runs them after `wait_for`. The buffers live as long as they may run.
        """

    def abandon(self) -> None:
        """Gives the slot back without a step."""

    def __enter__(self) -> Self: ...

    def __exit__(self, type: object, value: object, traceback: object) -> None: ...

class CommandBufferRing:
    """
    The slots through which commands reach the device, 2 to 8 in flight, each with its own recordings that are replayed. Thread-safe.
    """

    def __init__(self, config: CommandBufferRingConfig | dict[str, Any] | None = None, *, device: Device | str = 'auto', **settings: Any) -> None:
        """
        Settings may be given by keyword too. Raises ValueError for a setting out of range, RuntimeError if the device is not there.
        """

    Config: TypeAlias = CommandBufferRingConfig

    def acquire(self) -> RingSlot:
        """
        The next slot, once its last step is over and nobody holds it. Raises WaitTimeoutError after timeout_ms, DeviceError if a step failed: then rebuild().
        """

    @property
    def in_flight(self) -> int: ...

    def get_statistics(self) -> CommandBufferRingStatistics: ...

    def reset_statistics(self) -> None: ...

    def reset(self) -> None:
        """The same as reset_statistics()."""

    def drop_recordings(self) -> None:
        """
        Drops all recordings and the buffers they keep. Nothing may be acquired or in flight.
        """

    def rebuild(self) -> None:
        """Starts afresh after a DeviceError."""

    def describe(self) -> str:
        """The state of every slot, in words."""

    @property
    def config(self) -> CommandBufferRingConfig: ...

    @property
    def device(self) -> Device: ...

class GenerationChunk:
    """A piece of output; the last has finish_reason."""

    @property
    def text(self) -> str: ...

    @property
    def tokens(self) -> list[int]: ...

    @property
    def finish_reason(self) -> str | None:
        """stop, length, cancelled or error; None before the last chunk."""

    @property
    def error(self) -> str: ...

    @property
    def error_kind(self) -> str: ...

    @property
    def prompt_tokens(self) -> int: ...

    @property
    def completion_tokens(self) -> int: ...

    @property
    def cached_tokens(self) -> int: ...

    @property
    def timings(self) -> dict[str, float]: ...

class Bell:
    """Wakes a thread when any of many generations has new chunks."""

    def __init__(self) -> None: ...

    def wait(self) -> list[int] | None:
        """The tokens of generations with new chunks; None once closed."""

    def close(self) -> None: ...

class Generation:
    """One running request; cancelled when dropped."""

    def wait(self, timeout: float | None = None) -> bool:
        """
        Whether chunks are there, or it has finished, within `timeout` seconds.
        """

    def take(self) -> list[GenerationChunk]:
        """The chunks that have arrived since the last call."""

    @property
    def finished(self) -> bool: ...

    def cancel(self) -> None: ...

class ModelInfo:
    """What an engine has loaded."""

    @property
    def name(self) -> str: ...

    @property
    def architecture(self) -> str: ...

    @property
    def context_length(self) -> int:
        """Tokens, prompt and output together."""

    @property
    def vocab_size(self) -> int: ...

    @property
    def weight_bytes(self) -> int: ...

    @property
    def bytes_per_token(self) -> int: ...

    @property
    def kv_bytes_per_token(self) -> int: ...

    @property
    def kv_cache_bytes(self) -> int: ...

    @property
    def load_ms(self) -> float: ...

    def __repr__(self) -> str: ...

class Engine:
    """What krserve.Engine is made of: requests as JSON, chunks as they come."""

    def __init__(self, model: str, *, config_file: str = '', preset: str = '', values: Sequence[tuple[str, str, str]] = [], device: Device | None = None, progress: Callable[[float, str], object] | None = None) -> None: ...

    def submit(self, params: str, bell: Bell | None = None, token: int = 0) -> Generation:
        """
        `params`: JSON object with the fields of JSON-RPC's generate. Raises RequestError, OverloadError.
        """

    def tokenize(self, params: str) -> list[int]:
        """`params`: JSON object with the fields of JSON-RPC's tokenize."""

    def detokenize(self, tokens: Sequence[int], skip_special_tokens: bool = True) -> str: ...

    @property
    def model(self) -> ModelInfo: ...

    def statistics(self) -> EngineStatistics: ...

    def reset_statistics(self) -> None: ...

    def health(self) -> tuple[str, str]:
        """Status, and the state of ring, pool and blit queue behind it."""

    def drain(self, timeout: float | None = None) -> bool:
        """No new requests; whether the running ones were done in time."""

    @property
    def closed(self) -> bool: ...

    def close(self) -> None: ...

class RpcServer:
    """The dispatcher of `krserve rpc` over two file descriptors."""

    def __init__(self, in_fd: int, out_fd: int, *, config_file: str = '', preset: str = '', values: Sequence[tuple[str, str, str]] = []) -> None: ...

    def run(self) -> int:
        """
        Until the input ends, the client has gone, shutdown or stop(); the exit code.
        """

    def stop(self) -> None:
        """Any thread: run() finishes what is in flight and returns."""
