"""A server that behaves like the Hugging Face hub, for the files of one or more models, with faults on demand.

Large files are redirected to another origin (localhost instead of 127.0.0.1), as the hub does to its CDN.
"""

import hashlib
import json
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

LARGE_SUFFIXES = (".safetensors",)


def git_sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def checksum(name: str, content: bytes) -> str:
    if name.endswith(LARGE_SUFFIXES):
        return hashlib.sha256(content).hexdigest()
    return git_sha1(content)


@dataclass
class Model:
    files: dict[str, bytes]
    commit: str = ""
    token: str | None = None  # wanted where set
    sizes: dict[str, int] = field(default_factory=dict)  # told instead of the true ones

    def __post_init__(self) -> None:
        if not self.commit:
            content = b"".join(name.encode() + self.files[name] for name in sorted(self.files))
            self.commit = hashlib.sha1(content).hexdigest()


@dataclass
class Fault:
    part: str  # of the path
    times: int
    apply: Callable  # (handler, next) -> None


class FakeHub:
    def __init__(self, certificate: tuple[str, str] | None = None) -> None:
        self.models: dict[str, Model] = {}
        self.renamed: dict[str, str] = {}
        self.faults: list[Fault] = []
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.lists_checksums = True  # some mirrors do not
        self.takes_ranges = True
        self._lock = threading.Lock()
        hub = self

        class Handler(_Handler):
            owner = hub

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        scheme = "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            scheme = "https"
        port = self._server.server_address[1]
        self.url = f"{scheme}://127.0.0.1:{port}"
        self.cdn = f"{scheme}://localhost:{port}/cdn"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def add(self, name: str, files: dict[str, bytes], **options) -> Model:
        self.models[name] = Model(dict(files), **options)
        return self.models[name]

    def take_fault(self, path: str) -> Fault | None:
        with self._lock:
            for fault in self.faults:
                if fault.part in path and fault.times > 0:
                    fault.times -= 1
                    return fault
        return None

    # Faults: each hits the next `times` requests whose path holds `part`.

    def answer(self, part: str, status: int, times: int = 1, **headers: str) -> None:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        self.faults.append(Fault(part, times, lambda h, _: h.reply(status, b"", names)))

    def drop_after(self, part: str, count: int, times: int = 1) -> None:
        self.faults.append(Fault(part, times, lambda h, go_on: go_on(cut=count)))

    def corrupt(self, part: str, times: int = 1) -> None:
        self.faults.append(Fault(part, times, lambda h, go_on: go_on(corrupt=True)))

    def stall_after(self, part: str, count: int) -> tuple[threading.Event, threading.Event]:
        """(set when the bytes were sent, to be set to let it go on)"""
        reached, release = threading.Event(), threading.Event()
        fault = Fault(part, 1, lambda h, go_on: go_on(stall=(count, reached, release)))
        self.faults.append(fault)
        return reached, release

    def trickle_after(self, part: str, count: int) -> threading.Event:
        """Set when the bytes were sent; the others come one by one, too slowly to wait for."""
        reached = threading.Event()
        fault = Fault(part, 1, lambda h, go_on: go_on(trickle=(count, reached)))
        self.faults.append(fault)
        return reached

    # What was asked for.

    def asked(self, part: str, method: str = "GET") -> list[dict[str, str]]:
        """Headers of the requests whose path holds `part`, with names in lower case."""
        with self._lock:
            return [h for m, path, h in self.requests if m == method and part in path]

    def record(self, method: str, path: str, headers: dict[str, str]) -> None:
        with self._lock:
            self.requests.append((method, path, headers))


class _Handler(BaseHTTPRequestHandler):
    owner: FakeHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_arguments) -> None:
        pass

    def do_HEAD(self) -> None:
        self.serve()

    def do_GET(self) -> None:
        self.serve()

    def serve(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.owner.record(self.command, self.path, headers)
        fault = self.owner.take_fault(self.path)
        try:
            if fault:
                fault.apply(self, self.dispatch)
            else:
                self.dispatch()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def dispatch(self, **how) -> None:
        parts = urlsplit(self.path)
        path = unquote(parts.path).strip("/").split("/")
        if path[:2] == ["api", "models"] and len(path) >= 6 and path[4] == "revision":
            name, revision = "/".join(path[2:4]), "/".join(path[5:])
            self.describe(name, revision, "blobs" in parse_qs(parts.query))
        elif path[:2] == ["api", "models"] and len(path) >= 6 and path[4] == "tree":
            self.list_tree("/".join(path[2:4]), "/".join(path[5:]))
        elif len(path) >= 5 and path[2] == "resolve":
            self.resolve("/".join(path[:2]), path[3], "/".join(path[4:]), how)
        elif path[0] == "cdn":
            self.content_of(path[1], how)
        else:
            self.reply(404)

    def reply(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        sent = {"Content-Length": str(len(body))} | (headers or {})
        for name, value in sent.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def allowed(self, name: str, revision: str, found: Model | None) -> bool:
        """False: answered already."""
        if found is None:
            self.reply(
                404, headers={"X-Error-Code": "RepoNotFound", "X-Error-Message": "no such model"}
            )
        elif found.token and self.headers.get("Authorization") is None:
            self.reply(401, headers={"X-Error-Code": "GatedRepo", "X-Error-Message": "restricted"})
        elif found.token and self.headers["Authorization"] != f"Bearer {found.token}":
            self.reply(
                403, headers={"X-Error-Code": "GatedRepo", "X-Error-Message": "not on the list"}
            )
        elif revision not in ("main", found.commit):
            self.reply(404, headers={"X-Error-Code": "RevisionNotFound"})
        else:
            return True
        return False

    def describe(self, name: str, revision: str, with_blobs: bool) -> None:
        if target := self.owner.renamed.get(name):
            location = self.path.replace(name, target, 1)
            return self.reply(307, headers={"Location": location})
        found = self.owner.models.get(name)
        if not self.allowed(name, revision, found):
            return None
        siblings = []
        for file, content in found.files.items():
            entry: dict = {"rfilename": file}
            if with_blobs and self.owner.lists_checksums:
                size = found.sizes.get(file, len(content))
                entry |= {"size": size, "blobId": git_sha1(content)}
                if file.endswith(LARGE_SUFFIXES):
                    entry["lfs"] = {
                        "sha256": checksum(file, content),
                        "size": size,
                        "pointerSize": 1,
                    }
            siblings.append(entry)
        body = {"_id": "0", "id": name, "modelId": name, "sha": found.commit, "siblings": siblings}
        return self.reply(200, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def list_tree(self, name: str, revision: str) -> None:
        """What huggingface_hub asks for instead of the list in `describe`."""
        found = self.owner.models.get(name)
        if not self.allowed(name, revision, found):
            return
        tree = []
        for file, content in found.files.items():
            size = len(content)
            entry: dict = {"type": "file", "path": file, "size": size, "oid": git_sha1(content)}
            if file.endswith(LARGE_SUFFIXES):
                entry["lfs"] = {"oid": checksum(file, content), "size": size, "pointerSize": 1}
            tree.append(entry)
        self.reply(200, json.dumps(tree).encode(), {"Content-Type": "application/json"})

    def resolve(self, name: str, revision: str, file: str, how: dict) -> None:
        if target := self.owner.renamed.get(name):
            return self.reply(307, headers={"Location": self.path.replace(name, target, 1)})
        found = self.owner.models.get(name)
        if not self.allowed(name, revision, found):
            return None
        content = found.files.get(file)
        if content is None:
            return self.reply(404, headers={"X-Error-Code": "EntryNotFound"})
        etag = checksum(file, content)
        headers = {"X-Repo-Commit": found.commit}
        if file.endswith(LARGE_SUFFIXES):
            headers |= {
                "X-Linked-ETag": f'"{etag}"',
                "X-Linked-Size": str(len(content)),
                "Location": f"{self.owner.cdn}/{etag}",
            }
            return self.reply(302, b"Found", headers)
        return self.send_content(content, headers | {"ETag": f'"{etag}"'}, **how)

    def content_of(self, etag: str, how: dict) -> None:
        for model in self.owner.models.values():
            for file, content in model.files.items():
                if checksum(file, content) == etag:
                    return self.send_content(content, {"ETag": '"cdn"'}, **how)
        return self.reply(404)

    def send_content(
        self, content, headers, cut=None, corrupt=False, stall=None, trickle=None
    ) -> None:
        if corrupt:
            content = content[:-1] + bytes([content[-1] ^ 1])
        start = 0
        asked = self.headers.get("Range")
        if asked and self.owner.takes_ranges:
            start = int(asked.removeprefix("bytes=").split("-")[0])
            if start >= len(content):
                return self.reply(416, headers={"Content-Range": f"bytes */{len(content)}"})
            headers |= {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
        part = content[start:]
        headers |= {"Accept-Ranges": "bytes", "Content-Length": str(len(part))}
        slow = stall or trickle
        if self.command == "HEAD" or (cut is None and slow is None):
            return self.reply(206 if start else 200, part, headers)
        self.reply(206 if start else 200, b"", headers)
        count = slow[0] if slow else cut
        self.wfile.write(part[:count])
        self.wfile.flush()
        if slow:
            slow[1].set()
        if stall:
            stall[2].wait(60)
            self.wfile.write(part[count:])
            return None
        if trickle:
            for at in range(count, len(part)):
                self.wfile.write(part[at : at + 1])
                time.sleep(0.02)
        self.close_connection = True
        return None
