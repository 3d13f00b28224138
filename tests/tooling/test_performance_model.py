import pytest
from performance_model import predict

COSTS = {"matmul_gbs": 40.0, "dispatch_us": 0.5, "bandwidth_measured_gbs": 50.0}


def test_terms_add_up():
    predicted = predict(COSTS, bytes_per_token=400e6, layers=24, gap_us=10)
    assert predicted["weights_us"] == pytest.approx(10_000)
    assert predicted["barriers_us"] == pytest.approx((9 * 24 + 4) * 0.5)
    assert predicted["total_us"] == pytest.approx(10_000 + 110 + 10)
    assert predicted["tokens_per_s"] == pytest.approx(1e6 / 10_120)


def test_the_ceiling_knows_only_bytes_and_bandwidth():
    predicted = predict(COSTS, bytes_per_token=400e6, layers=24, gap_us=1e6)
    assert predicted["ceiling_tokens_per_s"] == pytest.approx(125)
