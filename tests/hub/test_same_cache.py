"""krserve and huggingface_hub find what the other has downloaded."""

import subprocess
import sys

DOWNLOAD = """
import sys
from huggingface_hub import snapshot_download
print(snapshot_download("owner/tiny", local_files_only=sys.argv[1] == "local"))
"""
SCAN = """
from huggingface_hub import scan_cache_dir
found = scan_cache_dir()
(repo,) = found.repos
assert not found.warnings, found.warnings
print(repo.repo_id, sorted(revision.commit_hash for revision in repo.revisions), repo.nb_files)
"""


def python(krserve, program: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=krserve.environment | {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_XET": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_what_krserve_pulled_is_found_by_huggingface_hub(hub, krserve):
    snapshot = krserve.pull()
    hub.close()
    assert python(krserve, DOWNLOAD, "local") == str(snapshot)
    assert python(krserve, SCAN) == f"owner/tiny ['{snapshot.name}'] 5"


def test_what_huggingface_hub_downloaded_is_found_by_krserve(hub, krserve):
    snapshot = python(krserve, DOWNLOAD, "network")
    hub.requests.clear()
    assert str(krserve.pull(HF_HUB_OFFLINE="1")) == snapshot
    assert str(krserve.pull()) == snapshot
    assert not hub.asked("/resolve/")


def test_huggingface_hub_adds_to_what_krserve_pulled(hub, krserve):
    snapshot = krserve.pull()
    hub.requests.clear()
    assert python(krserve, DOWNLOAD, "network") == str(snapshot)
    assert not hub.asked("/cdn/")
    assert (snapshot / "README.md").exists()
