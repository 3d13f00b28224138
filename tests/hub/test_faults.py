"""Interruptions, wrong content, busy servers, several programs at once, TLS."""

import shutil
import signal
import subprocess
import time

import pytest
import requests
from conftest import TINY, Krserve
from fake_hub import FakeHub, checksum

WEIGHTS = "model.safetensors"
CONTENT = (TINY / WEIGHTS).read_bytes()
HALF = len(CONTENT) // 2


def ranges(hub: FakeHub) -> list[str | None]:
    return [headers.get("range") for headers in hub.asked("/cdn/")]


def assert_whole(krserve: Krserve) -> None:
    snapshot = krserve.model() / "snapshots"
    (commit,) = snapshot.iterdir()
    assert (commit / WEIGHTS).read_bytes() == CONTENT
    assert not any(name.endswith(".incomplete") for name in krserve.blobs())


def test_a_dropped_connection_is_resumed_where_it_broke_off(hub, krserve):
    hub.drop_after("/cdn/", HALF)
    krserve.pull()
    assert ranges(hub) == [None, f"bytes={HALF}-"]
    assert_whole(krserve)


def test_progress_earns_new_attempts(hub, krserve):
    hub.drop_after("/cdn/", len(CONTENT) // 8, times=6)
    krserve.pull()
    assert len(ranges(hub)) == 7
    assert_whole(krserve)


def test_a_server_without_ranges_is_read_from_the_start(hub, krserve):
    hub.drop_after("/cdn/", HALF)
    hub.takes_ranges = False
    krserve.pull()
    assert ranges(hub) == [None, f"bytes={HALF}-"]
    assert_whole(krserve)


def test_a_killed_download_is_resumed_by_the_next(hub, krserve):
    reached, release = hub.stall_after("/cdn/", HALF)
    process = krserve.start("pull", "owner/tiny")
    assert reached.wait(60)
    part = krserve.model() / "blobs" / (checksum(WEIGHTS, CONTENT) + ".incomplete")
    end = time.monotonic() + 30
    while not part.exists() or part.stat().st_size < HALF:
        assert time.monotonic() < end
        time.sleep(0.02)
    process.kill()
    process.communicate(timeout=30)
    release.set()
    assert part.stat().st_size == HALF
    krserve.pull()
    assert ranges(hub)[1:] == [f"bytes={HALF}-"]
    assert_whole(krserve)


def test_a_part_that_is_longer_than_the_file_is_dropped(hub, krserve):
    part = krserve.model() / "blobs" / (checksum(WEIGHTS, CONTENT) + ".incomplete")
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * (len(CONTENT) + 1))
    krserve.pull()
    assert ranges(hub) == [None]
    assert_whole(krserve)


def test_a_wrong_checksum_is_fetched_again_once(hub, krserve):
    hub.corrupt("/cdn/")
    krserve.pull()
    assert ranges(hub) == [None, None]
    assert_whole(krserve)


def test_a_part_of_other_content_is_found_by_the_checksum(hub, krserve):
    part = krserve.model() / "blobs" / (checksum(WEIGHTS, CONTENT) + ".incomplete")
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * HALF)
    krserve.pull()
    assert ranges(hub) == [f"bytes={HALF}-", None]
    assert_whole(krserve)


@pytest.mark.parametrize("part", ["/cdn/", "/resolve/"])
def test_content_that_stays_wrong_is_refused_and_dropped(hub, krserve, part):
    hub.corrupt(part if part == "/cdn/" else "/tokenizer.json", times=9)
    errors = krserve.refuse("pull", "owner/tiny")
    assert "does not match its checksum" in errors
    name = WEIGHTS if part == "/cdn/" else "tokenizer.json"
    blob = checksum(name, (TINY / name).read_bytes())
    assert not {blob, f"{blob}.incomplete"} & krserve.blobs()
    assert not (krserve.model() / "refs/main").exists()


def test_too_many_requests_are_waited_out(hub, krserve):
    hub.answer("/api/", 429, Retry_After="1")
    hub.answer("/cdn/", 429, Retry_After="0")
    krserve.pull()
    assert len(hub.asked("/api/")) == 2 and len(hub.asked("/cdn/")) == 2


def test_a_server_that_wants_a_long_pause_is_not_waited_for(hub, krserve):
    hub.answer("/api/", 429, Retry_After="3600")
    errors = krserve.refuse("pull", "owner/tiny")
    assert "too many requests (HTTP 429)" in errors and "HF_TOKEN" in errors


def test_failures_of_the_server_are_tried_again(hub, krserve):
    hub.answer("/api/", 503)
    hub.answer("/cdn/", 500)
    krserve.pull()
    assert_whole(krserve)


def test_failures_that_last_are_reported_after_some_attempts(hub, krserve):
    hub.answer("/api/", 502, times=99, Retry_After="0")
    errors = krserve.refuse("pull", "owner/tiny")
    assert "HTTP 502" in errors and "gave up after 5 attempts" in errors
    assert len(hub.asked("/api/")) == 5


def test_a_loop_of_redirects_ends(hub, krserve):
    hub.renamed |= {"owner/tiny": "owner/b", "owner/b": "owner/tiny"}
    assert "redirects more than 10 times" in krserve.refuse("pull", "owner/tiny")


def test_two_programs_at_once_fetch_each_file_once(hub, krserve):
    reached, release = hub.stall_after("/cdn/", HALF)
    first = krserve.start("pull", "owner/tiny")
    assert reached.wait(60)
    second = krserve.start("pull", "owner/tiny")
    end = time.monotonic() + 30
    while len(hub.asked("/api/")) < 2:
        assert time.monotonic() < end
        time.sleep(0.02)
    release.set()
    for process in (first, second):
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    assert len(hub.asked("/cdn/")) == 1
    assert_whole(krserve)


def test_a_server_answers_while_it_fetches_and_stops_at_once(hub, krserve):
    reached = hub.trickle_after("/cdn/", HALF)
    process = krserve.start("serve", "-m", "owner/tiny", "--port", "0")
    url = process.stdout.readline().removeprefix("listening on ").strip()
    assert reached.wait(60)
    assert requests.get(url + "/health", timeout=30).status_code == 503
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert f"{checksum(WEIGHTS, CONTENT)}.incomplete" in krserve.blobs()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """An authority of our own and a server's certificate that it signed."""
    folder = tmp_path_factory.mktemp("tls")
    tool = shutil.which("openssl")
    assert tool, "openssl is not installed"

    def openssl(*arguments):
        subprocess.run([tool, *arguments], cwd=folder, check=True, capture_output=True)

    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *curve, "-days", "2", "-keyout", "ca.key", "-out", "ca.pem",
            "-subj", "/CN=authority", "-addext", "basicConstraints=critical,CA:TRUE")  # fmt: skip
    openssl("req", *curve, "-keyout", "hub.key", "-out", "hub.csr", "-subj", "/CN=localhost")
    (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    openssl("x509", "-req", "-in", "hub.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-days", "2",
            "-CAcreateserial", "-extfile", "names", "-out", "hub.pem")  # fmt: skip
    return folder


@pytest.fixture
def tls_hub(certificate, tiny_files):
    server = FakeHub((str(certificate / "hub.pem"), str(certificate / "hub.key")))
    server.add("owner/tiny", tiny_files)
    yield server
    server.close()


def test_a_trusted_certificate_is_accepted(tls_hub, certificate, tmp_path):
    krserve = Krserve(tls_hub, tmp_path)
    krserve.pull(SSL_CERT_FILE=str(certificate / "ca.pem"))
    assert_whole(krserve)


def test_an_unknown_certificate_is_refused(tls_hub, tmp_path):
    errors = Krserve(tls_hub, tmp_path).refuse("pull", "owner/tiny")
    assert "certificate" in errors.lower()
    assert not tls_hub.requests


def test_encryption_is_not_given_up_on_a_redirect(tls_hub, hub, certificate, tmp_path):
    tls_hub.cdn = hub.cdn
    krserve = Krserve(tls_hub, tmp_path)
    errors = krserve.refuse("pull", "owner/tiny", SSL_CERT_FILE=str(certificate / "ca.pem"))
    assert "without encryption" in errors
