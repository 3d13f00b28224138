"""JSON-RPC 2.0 over stdin and stdout: `python -m krserve.runtime`, the same as `krserve rpc`.

stdout carries frames alone; whatever else is printed goes to stderr.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Sequence

import krserve_native as native

# Flags that set a value: the same as the program's.
_SETTINGS = {
    "--model": ("model.path", "Directory, tiny or Hugging Face id to load at the start"),
    "--device": ("engine.device", "auto, cpu, cuda or metal"),
    "--threads": ("engine.threads", "CPU workers, 0 = all cores"),
    "--ctx-size": ("engine.ctx_size", "Context in tokens"),
    "--parallel": ("engine.parallel", "Sequences stepped together"),
    "--log-level": ("logging.level", "error, warn, info or debug"),
}
_SIGNAL_LATENCY_S = 0.2
_EXIT_FAILURE = 1
_EXIT_CONFIG = 78  # EX_CONFIG of sysexits.h, as the program has it


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m krserve.runtime", description=__doc__)
    parser.add_argument("--config", default="", help="configuration file")
    parser.add_argument("--preset", default="", help="all-on, realtime, batch or debug")
    parser.add_argument(
        "--set", action="append", default=[], metavar="PATH=VALUE", help="any setting"
    )
    for flag, (path, text) in _SETTINGS.items():
        names = ["-m", flag] if flag == "--model" else [flag]
        parser.add_argument(*names, dest=path, help=f"{text} ({path})")
    parser.add_argument("--version", action="version", version=native.__version__)
    return parser


def _values(
    parser: argparse.ArgumentParser, arguments: argparse.Namespace
) -> list[tuple[str, str, str]]:
    values = []
    for item in arguments.set:
        path, equals, text = item.partition("=")
        if not path or not equals:
            parser.error(f"--set {item}: expected path=value, as in server.port=8081")
        values.append((path, text, "--set"))
    for flag, (path, _) in _SETTINGS.items():
        text = getattr(arguments, path)
        if text is not None:
            values.append((path, text, flag))
    return values


def _take_stdout() -> int:
    """The frames' own descriptor; print() and libraries write to stderr from now on."""
    frames = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return frames


def _serve(server: native.RpcServer) -> int:
    """Runs on a thread, so that the main thread can take signals."""
    codes: list[int] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            codes.append(server.run())
        except BaseException as error:
            failures.append(error)

    def stop(number: int, frame: object) -> None:
        # The first one drains, the second one ends the process.
        signal.signal(number, lambda *_: os._exit(_EXIT_FAILURE))
        server.stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    thread = threading.Thread(target=run, name="krserve-rpc")
    thread.start()
    # A signal that comes just before a wait does not end it: never wait for long.
    while thread.is_alive():
        thread.join(_SIGNAL_LATENCY_S)
    if failures:
        raise failures[0]
    return codes[0]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    given = parser.parse_args(arguments)
    values = _values(parser, given)
    frames = _take_stdout()
    try:
        server = native.RpcServer(
            sys.stdin.fileno(),
            frames,
            config_file=given.config,
            preset=given.preset,
            values=values,
        )
        return _serve(server)
    except native.ConfigError as error:
        print(f"krserve: {error}", file=sys.stderr)
        return _EXIT_CONFIG
    except native.Error as error:
        print(f"krserve: {error}", file=sys.stderr)
        return _EXIT_FAILURE


if __name__ == "__main__":
    sys.exit(main())
