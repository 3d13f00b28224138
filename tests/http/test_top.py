"""krserve top against the real server: on a pipe, as JSON, and in a terminal."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import termios
import threading
import time

import pytest
from conftest import BINARY, ROOT, wait_until

ROWS = [
    "Memory Pool Hit Rate",
    "Blit Overlap Ratio",
    "Command Ring Reuse",
    "Pool Exhaustion",
    "Blit Queue Depth",
    "Ring Wait Time",
]
ENDLESS = {
    "model": "tiny",
    "messages": [{"role": "user", "content": "Tell me a story."}],
    "max_tokens": 1900,
    "temperature": 0,
    "extra_body": {"ignore_eos": True},
}
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def top(*arguments, **options):
    command = [str(BINARY), "top", *map(str, arguments)]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=60, **options
    )


class Screen:
    """krserve top in a terminal of its own."""

    def __init__(self, *arguments, rows=24, columns=80):
        self.master, self.slave = pty.openpty()
        self.resize(rows, columns)
        self.before = termios.tcgetattr(self.slave)
        self.process = subprocess.Popen(
            [str(BINARY), "top", "--interval", "0.2", *map(str, arguments)],
            cwd=ROOT,
            stdin=self.slave,
            stdout=self.slave,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        self.seen = ""

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self, limit_s=0.2):
        if select.select([self.master], [], [], limit_s)[0]:
            self.seen += os.read(self.master, 65536).decode()

    def frame(self):
        """Lines of the last complete frame."""
        frames = re.findall(r"\x1b\[H(.*?)\x1b\[J", self.seen, re.DOTALL)
        return [line.rstrip("\r") for line in ESCAPE.sub("", frames[-1]).split("\n")] if frames else []

    def wait_for(self, *words, limit_s=60):
        end = time.monotonic() + limit_s
        while not all(any(word in line for line in self.frame()) for word in words):
            assert time.monotonic() < end, f"no {words} in {self.frame()}"
            self.read()
        return self.frame()

    def press(self, keys):
        os.write(self.master, keys)

    def end(self):
        """Waits for the end; the exit code, and whether the terminal is as it was."""
        end = time.monotonic() + 30
        while self.process.poll() is None:
            assert time.monotonic() < end
            self.read()
        self.read()
        restored = self.seen.endswith("\x1b[?7h\x1b[?25h\x1b[?1049l")
        return self.process.returncode, restored and (
            termios.tcgetattr(self.slave) == self.before
        )

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def screen():
    opened = []

    def open_screen(*arguments, **options):
        opened.append(Screen(*arguments, **options))
        return opened[-1]

    yield open_screen
    for one in opened:
        one.close()


@pytest.fixture
def busy(server):
    """Two requests, each made again when it ends, for as long as the test."""
    stop = threading.Event()

    def generate():
        client = server.client()
        while not stop.is_set():
            with client.chat.completions.create(stream=True, **ENDLESS) as stream:
                for _ in stream:
                    if stop.is_set():
                        break

    threads = [threading.Thread(target=generate) for _ in range(2)]
    for thread in threads:
        thread.start()
    wait_until(lambda: server.metrics()["vllm:num_requests_running"] == 2)
    yield
    stop.set()
    for thread in threads:
        thread.join()


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def test_once_prints_one_plain_frame_with_rates(server, busy):
    done = top("--server", server.url, "--once", "--interval", "0.5")
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"krserve top  {server.url}  tiny  ok  up 0:")
    rows = [line[:20].strip() for line in lines]
    assert [row for row in rows if row in ROWS] == ROWS
    generated = re.search(r"([\d.]+)(k?)/s generated", done.stdout)
    assert float(generated[1]) > 0
    assert re.search("running [12] ", done.stdout)


def test_json_has_rates_and_grades(server, busy):
    done = top("--server", server.url, "--once", "--json", "--interval", "0.5")
    found = json.loads(done.stdout)
    assert found["error"] is None
    assert found["requests"]["running"] > 0
    assert found["rates"]["generated_tokens_per_s"] > 0
    assert found["rates"]["inter_token_ms"] > 0
    assert {m["metric"]: m["grade"] for m in found["metrics"]}["hit_rate"] == "on target"
    assert len(found["metrics"]) == len(ROWS)


def test_json_streams_until_its_reader_is_gone(server):
    command = [str(BINARY), "top", "--server", server.url, "--json", "--interval", "0.1"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        readings = [json.loads(process.stdout.readline()) for _ in range(3)]
        process.stdout.close()
        assert process.wait(timeout=30) != 0
    assert readings[0]["rates"] is None
    assert readings[2]["rates"]["seconds"] > 0


def test_fills_a_terminal_and_follows_its_size(server, busy, screen):
    view = screen("--server", server.url)
    lines = view.wait_for(*ROWS, "running 2", "q: quit")
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    view.resize(10, 50)
    end = time.monotonic() + 60
    while len(view.frame()) > 10 or max(map(len, view.frame())) > 50:
        assert time.monotonic() < end
        view.read()
    view.resize(40, 120)
    view.wait_for(*ROWS, "q: quit")


@pytest.mark.parametrize("how", [b"q", b"\x03", signal.SIGTERM, signal.SIGINT], ids=str)
def test_every_way_out_leaves_the_terminal_as_it_was(server, screen, how):
    view = screen("--server", server.url)
    view.wait_for(*ROWS)
    assert termios.tcgetattr(view.slave) != view.before
    view.press(how) if isinstance(how, bytes) else view.process.send_signal(how)
    assert view.end() == (0, True)


def test_colours_follow_no_color(server, screen, monkeypatch):
    coloured = screen("--server", server.url)
    coloured.wait_for(*ROWS)
    assert "\x1b[32m" in coloured.seen
    monkeypatch.setenv("NO_COLOR", "1")
    plain = screen("--server", server.url)
    plain.wait_for(*ROWS)
    assert "\x1b[32m" not in plain.seen


def test_goes_on_when_the_server_goes_and_comes_back(start_server, screen):
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    view = screen("--server", url)
    view.wait_for("no answer from " + url)
    first = start_server("--preset", "all-on", port=port)
    view.wait_for(*ROWS, "tiny  ok")
    first.terminate()
    first.process.wait(timeout=60)
    view.wait_for("no answer from " + url, "below: the last answer", "Memory Pool Hit Rate")
    second = start_server("--preset", "all-on", port=port)
    view.wait_for(f"started again (process {second.process.pid})")
    view.press(b"q")
    assert view.end() == (0, True)


def test_ctrl_c_works_while_a_server_keeps_silent(screen):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        view = screen("--server", f"http://127.0.0.1:{silent.getsockname()[1]}")
        view.wait_for("krserve top")
        silent.accept()
        view.press(b"\x03")
        assert view.end() == (0, True)


def test_an_address_that_never_works_is_refused_with_the_terminal_intact(screen):
    view = screen("--server", "https://127.0.0.1")
    assert view.end() == (2, True)
    assert "not of the form http://host:port" in view.process.stderr.read()


def test_without_a_terminal_it_names_the_other_ways():
    done = top("--server", "http://127.0.0.1:1", stdin=subprocess.DEVNULL)
    assert done.returncode == 1
    assert "--once or --json" in done.stderr


def test_once_fails_without_a_server_or_its_key(start_server):
    port = free_port()
    done = top("--once", "--set", f"server.port={port}")
    assert done.returncode == 1
    assert f"no answer from http://127.0.0.1:{port}" in done.stderr
    server = start_server("--api-key", "secret")
    refused = top("--server", server.url, "--once")
    assert refused.returncode == 1
    assert "answered 401" in refused.stderr
    assert "{" not in refused.stderr, "the message alone"
    with_key = top("--server", server.url, "--once", "--interval", "0.1", "--api-key", "secret")
    assert with_key.returncode == 0, with_key.stderr
