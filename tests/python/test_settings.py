"""Configuration classes: the seed's fields, their ranges, and the ways to give them."""

import krserve_native as native
import pytest

CLASSES = {
    native.MetalMemoryPoolConfig: {
        "enabled": False,
        "heap_size_mb": 256,
        "num_heaps": 4,
        "warmup_sizes": [32, 128, 512],
        "track_statistics": True,
        "log_exhaustion": True,
    },
    native.BlitQueueConfig: {
        "enabled": False,
        "max_pending_ops": 8,
        "use_shared_events": True,
        "staging_buffer_size_mb": 64,
        "track_metrics": True,
        "verbose_logging": False,
    },
    native.CommandBufferRingConfig: {
        "enabled": False,
        "ring_size": 3,
        "timeout_ms": 0,
        "log_wait_events": False,
        "track_statistics": True,
    },
}


@pytest.mark.parametrize("cls", CLASSES)
def test_the_seeds_fields_have_the_seeds_defaults(cls: type) -> None:
    values = cls().as_dict()
    assert CLASSES[cls].items() <= values.items()


def test_a_value_set_is_read_back() -> None:
    config = native.MetalMemoryPoolConfig()
    config.heap_size_mb = 128
    config.warmup_sizes = [1, 2]
    config.enabled = True
    assert (config.heap_size_mb, config.warmup_sizes, config.enabled) == (128, [1, 2], True)


def test_keywords_and_a_dict_set_the_same() -> None:
    by_keyword = native.CommandBufferRingConfig(ring_size=4, timeout_ms=500)
    by_dict = native.CommandBufferRingConfig({"ring_size": 4, "timeout_ms": 500})
    assert by_keyword == by_dict
    assert by_keyword != native.CommandBufferRingConfig()


def test_repr_names_the_values() -> None:
    assert "ring_size=3" in repr(native.CommandBufferRingConfig())


@pytest.mark.parametrize(
    ("cls", "name", "value", "words"),
    [
        (native.MetalMemoryPoolConfig, "heap_size_mb", 0, "0: expected an integer in 1..1048576"),
        (native.MetalMemoryPoolConfig, "num_heaps", -3, "-3: expected an integer in 1..256"),
        (native.MetalMemoryPoolConfig, "num_heaps", 2**70, "expected an integer in 1..256"),
        (native.MetalMemoryPoolConfig, "num_heaps", "4", "expected an integer"),
        (native.MetalMemoryPoolConfig, "num_heaps", 4.5, "expected an integer"),
        (native.MetalMemoryPoolConfig, "num_heaps", True, "expected an integer"),
        (native.MetalMemoryPoolConfig, "warmup_sizes", [32, 0], "item 2 is 0"),
        (native.MetalMemoryPoolConfig, "warmup_sizes", 32, "expected a list"),
        (native.MetalMemoryPoolConfig, "enabled", 1, "expected true or false"),
        (native.CommandBufferRingConfig, "ring_size", 1, "Invalid ring_size (must be >= 2)"),
        (native.CommandBufferRingConfig, "ring_size", 9, "9: expected an integer in 2..8"),
        (native.BlitQueueConfig, "max_pending_ops", 0, "expected an integer in 1..1024"),
    ],
)
def test_a_value_out_of_range_is_a_value_error_with_the_numbers(
    cls: type, name: str, value: object, words: str
) -> None:
    config = cls()
    before = getattr(config, name)
    with pytest.raises(ValueError) as caught:
        setattr(config, name, value)
    assert words in str(caught.value)
    assert name in str(caught.value)
    assert getattr(config, name) == before
    with pytest.raises(ValueError):
        cls(**{name: value})


def test_a_refused_value_is_a_runtime_error_too() -> None:
    with pytest.raises(RuntimeError):
        native.CommandBufferRing({"ring_size": 1}, device="cpu")


def test_an_unknown_setting_names_the_nearest() -> None:
    with pytest.raises(ValueError, match="heap_size_mb"):
        native.MetalMemoryPoolConfig(heap_size_bm=4)
    with pytest.raises(AttributeError):
        native.MetalMemoryPoolConfig().heap_size_bm = 4


@pytest.mark.parametrize(
    ("component", "config"),
    [
        (native.MetalMemoryPool, native.MetalMemoryPoolConfig),
        (native.BlitQueue, native.BlitQueueConfig),
        (native.CommandBufferRing, native.CommandBufferRingConfig),
    ],
)
def test_the_config_class_hangs_on_its_component(component: type, config: type) -> None:
    assert component.Config is config


def test_settings_dict_and_keywords_make_the_same_ring(device: native.Device) -> None:
    config = native.CommandBufferRing.Config()
    config.ring_size = 4
    rings = [
        native.CommandBufferRing(config, device=device),
        native.CommandBufferRing({"ring_size": 4}, device=device),
        native.CommandBufferRing(ring_size=4, device=device),
        native.CommandBufferRing(native.CommandBufferRingConfig(), ring_size=4, device=device),
    ]
    assert [ring.get_statistics().ring_size for ring in rings] == [4] * 4
    assert all(ring.config == config for ring in rings)


def test_another_kind_of_config_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="MetalMemoryPoolConfig"):
        native.MetalMemoryPool(native.BlitQueueConfig())
    with pytest.raises(TypeError, match="Device"):
        native.BlitQueue(device=3)


def test_a_device_that_is_not_there_is_a_runtime_error() -> None:
    absent = "cuda" if native.Device("auto").backend != "cuda" else "metal"
    for component in (native.MetalMemoryPool, native.BlitQueue, native.CommandBufferRing):
        with pytest.raises(RuntimeError) as caught:
            component(device=absent)
        assert isinstance(caught.value, native.DeviceError)


def test_an_unknown_device_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="auto, cpu, cuda or metal"):
        native.BlitQueue(device="tpu")


def test_components_of_one_device_name_share_it() -> None:
    pool = native.MetalMemoryPool(heap_size_mb=1, num_heaps=1, warmup_sizes=[], device="cpu")
    assert native.BlitQueue(device="cpu").device == pool.device
    assert native.Device("cpu") != pool.device


def test_errors_carry_the_operation() -> None:
    with pytest.raises(native.ConfigError) as caught:
        native.Device("tpu")
    assert caught.value.where == "device.open"
    assert issubclass(native.OutOfMemoryError, MemoryError)
    assert issubclass(native.WaitTimeoutError, TimeoutError)
    assert all(
        issubclass(error, native.Error) and issubclass(error, RuntimeError)
        for error in (native.ConfigError, native.OutOfMemoryError, native.DeviceError)
    )
