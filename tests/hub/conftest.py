"""Runs the real krserve against a local server that behaves like the Hugging Face hub."""

import os
import subprocess
from pathlib import Path

import pytest
from fake_hub import FakeHub

ROOT = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("KRSERVE_BIN", ROOT / "build/release/bin/krserve"))
TINY = ROOT / "models/tiny"
OWN = ("HF_", "HUGGING", "TRANSFORMERS", "KRSERVE_", "SSL_CERT")


def clean_environment(**values: str) -> dict[str, str]:
    """Without the developer's own settings and proxies."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(OWN) and not name.lower().endswith("_proxy")
    }
    return kept | values


@pytest.fixture(scope="session")
def tiny_files() -> dict[str, bytes]:
    files = {path.name: path.read_bytes() for path in sorted(TINY.iterdir())}
    return files | {".gitattributes": b"*.safetensors filter=lfs\n"}


@pytest.fixture
def hub(tiny_files):
    server = FakeHub()
    server.add("owner/tiny", tiny_files)
    yield server
    server.close()


class Krserve:
    def __init__(self, hub: FakeHub, folder: Path) -> None:
        self.cache = folder / "hf/hub"
        self.environment = clean_environment(
            HF_ENDPOINT=hub.url, HF_HOME=str(folder / "hf"), HF_HUB_DOWNLOAD_TIMEOUT="10"
        )
        self.folder = folder

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen:
        return subprocess.Popen(
            [BINARY, *arguments],
            cwd=self.folder,
            env=self.environment | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, **environment: str) -> tuple[int, str, str]:
        process = self.start(*arguments, **environment)
        output, errors = process.communicate(timeout=120)
        return process.returncode, output, errors

    def pull(self, model: str = "owner/tiny", **environment: str) -> Path:
        status, output, errors = self.run("pull", model, **environment)
        assert status == 0, errors
        return Path(output.strip())

    def refuse(self, *arguments: str, **environment: str) -> str:
        """What a command that must fail says."""
        status, output, errors = self.run(*arguments, **environment)
        assert status == 1, (status, output, errors)
        return errors

    def model(self, name: str = "models--owner--tiny") -> Path:
        return self.cache / name

    def blobs(self) -> set[str]:
        folder = self.model() / "blobs"
        return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


@pytest.fixture
def krserve(hub, tmp_path) -> Krserve:
    return Krserve(hub, tmp_path)
