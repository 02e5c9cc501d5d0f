"""Downloads, from a hub that is played by a server on this machine."""

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

from bark_jax import hub
from bark_jax.checkpoint import FORMAT, CheckpointError, HubUnreachableError

httpx = sys.modules[HfHubHTTPError.__mro__[1].__module__.partition(".")[0]]  # its name depends on the hub's version

CHECKOUT = Path(__file__).resolve().parents[1]

MAIN, OLD = "a" * 40, "b" * 40  # commits
SMALL = {
    "config.json": "{}",
    "generation_config.json": "{}",
    "tokenizer.json": "{}",
    "vocab.txt": "words",
    "pytorch_model.bin": "weights",
    "speaker_embeddings_path.json": "{}",
    "speaker_embeddings/v2/en_speaker_6_fine_prompt.npy": "voice",
}
UNWANTED = {"README.md": "words", "text.pt": "Suno's weights", "model_card.png": "picture"}
SAFE = {"config.json": "{}", "model.safetensors.index.json": "{}", "model-00001-of-00001.safetensors": "weights"}
REPOSITORIES: dict[str, dict[str, dict[str, str]]] = {
    "suno/bark-small": {MAIN: SMALL | UNWANTED, OLD: SMALL | {"pytorch_model.bin": "old weights"}},
    "fork/bark": {MAIN: SAFE | {"pytorch_model.bin": "the same again"}},
    "fork/suno": {MAIN: {"text.pt": "t", "coarse.pt": "c", "fine.pt": "f", "README.md": "words"}},
    "fork/converted": {MAIN: {"config.json": json.dumps({"format": FORMAT}), "semantic.safetensors": "s"}},
    "private/bark": {MAIN: SAFE},
    "gated/bark": {},
    "forbidden/bark": {},
    "other/bert": {MAIN: {"config.json": "{}"}},
    "other/empty": {MAIN: {"README.md": "words"}},
}
TOKEN = "hf_secret"


ROUTE = re.compile(
    r"/(?:api/models/)?(?P<repo>[^/?]+/[^/?]+)(?:/(?P<what>revision|tree|resolve)/(?P<rev>[^/?]+))?/?(?P<path>[^?]*)"
)


class HubHandler(BaseHTTPRequestHandler):
    """The three endpoints that a download uses: a revision's commit and files, their sizes, a file."""

    def do_GET(self) -> None:
        match = ROUTE.match(self.path)
        assert match
        repository, revision = REPOSITORIES.get(match["repo"]), match["rev"] or "main"
        commit = {"main": MAIN, "v0": OLD}.get(revision, revision)
        if repository is None:
            self._answer(404, {"X-Error-Code": "RepoNotFound"})
        elif match["repo"] == "private/bark" and self.headers["Authorization"] != f"Bearer {TOKEN}":
            self._answer(401)
        elif match["repo"] == "gated/bark":
            self._answer(403, {"X-Error-Code": "GatedRepo"})
        elif match["repo"] == "forbidden/bark":
            self._answer(403)
        elif commit not in repository:
            self._answer(404, {"X-Error-Code": "RevisionNotFound"})
        else:
            self._answer_content(match, commit, repository[commit])

    def _answer_content(self, match: re.Match[str], commit: str, files: dict[str, str]) -> None:
        if match["what"] == "resolve":
            text = files[match["path"]]
            self._answer(200, {"X-Repo-Commit": commit, "ETag": f'"{hash(text)}"'}, text)
        elif match["what"] == "tree":
            entries = [{"type": "file", "path": p, "size": len(t), "oid": str(hash(t))} for p, t in files.items()]
            self._answer(200, body=json.dumps(entries))
        else:
            siblings = [{"rfilename": path} for path in files]
            self._answer(200, body=json.dumps({"id": match["repo"], "sha": commit, "siblings": siblings}))

    do_HEAD = do_GET

    def _answer(self, status: int, headers: dict[str, str] | None = None, body: str = "") -> None:
        self.send_response(status)
        for key, value in (headers or {}).items() | {"Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body.encode())

    def log_message(self, *arguments: Any) -> None:
        pass


@contextlib.contextmanager
def hub_server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), HubHandler) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


CLIENT = """
import json, sys
from pathlib import Path
from types import SimpleNamespace
from bark_jax.checkpoint import CheckpointError
from bark_jax.loading import resolve

def convert_checkpoint(source, out, *, progress):
    out.mkdir(parents=True)
    files = {p.relative_to(source).as_posix(): p.read_text() for p in source.rglob("*") if p.is_file()}
    (out / "config.json").write_text(json.dumps({"format": "bark_jax", "files": files}))

sys.modules["bark_jax.convert"] = SimpleNamespace(convert_checkpoint=convert_checkpoint)
outcomes = []
for name, arguments in json.load(sys.stdin):
    try:
        folder = resolve(name, cache_dir=Path(sys.argv[1]), progress=False, **arguments)
        outcomes.append(json.loads((folder / "config.json").read_text()).get("files", "converted"))
    except CheckpointError as error:
        outcomes.append(f"{type(error).__name__}: {error}")
json.dump(outcomes, sys.stdout)
"""
Call = tuple[str, dict[str, str]]


def run_client(cache: Path, calls: list[Call], **environment: str) -> list[Any]:
    """What `resolve` makes of each call, in a process of its own: the hub's client reads its environment on import."""
    environment = {
        "HF_HOME": str(cache / "hub"),
        "XDG_CACHE_HOME": str(cache / "user"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        **environment,
    }
    unset = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING_FACE_"))}
    done = subprocess.run(
        [sys.executable, "-c", CLIENT, str(cache)],
        input=json.dumps(calls), env=unset | environment, cwd=CHECKOUT,
        stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    return list(json.loads(done.stdout))


ONLINE: dict[str, tuple[Call, Any]] = {
    "main": (("suno/bark-small", {}), SMALL),
    "revision": (("suno/bark-small", {"revision": "v0"}), SMALL | {"pytorch_model.bin": "old weights"}),
    "commit": (("suno/bark-small", {"revision": OLD}), SMALL | {"pytorch_model.bin": "old weights"}),
    "safetensors are preferred": (("fork/bark", {}), SAFE),
    "Suno's layout": (("fork/suno", {}), {"text.pt": "t", "coarse.pt": "c", "fine.pt": "f"}),
    "converted already": (("fork/converted", {}), "converted"),
    "no token": (("private/bark", {}), "^CheckpointError.*status 401.*hf auth login"),
    "token": (("private/bark", {"token": TOKEN}), SAFE),
    "unknown": (("nobody/nothing", {}), "^CheckpointError.*no such repository, or a private one .*hf auth login"),
    "unknown revision": (("suno/bark-small", {"revision": "v9"}), "no such revision"),
    "gated": (("gated/bark", {}), "terms to be accepted"),
    "forbidden": (("forbidden/bark", {}), "^CheckpointError.*status 403.*hf auth login"),
    "not Bark": (("other/bert", {}), "other/bert holds no Bark checkpoint"),
    "empty": (("other/empty", {}), "other/empty holds no Bark checkpoint"),
    "not a name": (("no--body/nothing", {}), "HFValidationError"),
}
OFFLINE: dict[str, tuple[Call, Any]] = {
    "cached": (("suno/bark-small", {}), SMALL),
    "cached revision": (("suno/bark-small", {"revision": "v0"}), SMALL | {"pytorch_model.bin": "old weights"}),
    "one layout of several": (("fork/bark", {}), SAFE),
    "never downloaded": (("nobody/nothing", {}), "^HubUnreachableError.*HF_HUB_OFFLINE is set.*--model nano"),
    "without its weights": (("other/bert", {}), "^HubUnreachableError.*not all of it has been downloaded before"),
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Online, then in offline mode, then without a network, with one cache."""
    cache = tmp_path_factory.mktemp("cache")
    with hub_server() as endpoint:
        online = run_client(cache, [call for call, _ in ONLINE.values()], HF_ENDPOINT=endpoint)
    calls = [call for call, _ in OFFLINE.values()]
    offline = run_client(cache, calls, HF_ENDPOINT=endpoint, HF_HUB_OFFLINE="1")
    unreachable = run_client(cache, calls, HF_ENDPOINT=endpoint)
    return {
        "online": dict(zip(ONLINE, online, strict=True)),
        "offline": dict(zip(OFFLINE, offline, strict=True)),
        "unreachable": dict(zip(OFFLINE, unreachable, strict=True)),
    }


@pytest.mark.parametrize(
    ("network", "case", "expected"),
    [("online", case, expected) for case, (_, expected) in ONLINE.items()]
    + [(network, case, expected) for network in ("offline", "unreachable") for case, (_, expected) in OFFLINE.items()],
)
def test_hub(outcomes: dict[str, dict[str, Any]], network: str, case: str, expected: Any) -> None:
    outcome = outcomes[network][case]
    if isinstance(expected, str):
        assert re.search(expected, outcome)
        assert "\n" not in outcome
    else:
        assert outcome == expected


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In place of the user's cache folder, where it is kept that a hub did not answer."""
    monkeypatch.setattr(hub, "user_cache_path", lambda name, appauthor: tmp_path / name)
    return tmp_path / "bark-jax"


def answer(status: int) -> HfHubHTTPError:
    request = httpx.Request("GET", "http://hub.invalid")
    return HfHubHTTPError("no", response=httpx.Response(status, request=request))


@pytest.mark.parametrize("weights", [None, ["*.pt"]])
def test_a_hub_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch, weights: list[str] | None) -> None:
    def look_into_the_cache(*arguments: Any, local_files_only: bool, **options: Any) -> None:
        assert local_files_only
        raise LocalEntryNotFoundError("not there")

    monkeypatch.setattr(hub, "snapshot_download", look_into_the_cache)
    with socket.create_server(("localhost", 0)) as silent:
        endpoint = f"http://localhost:{silent.getsockname()[1]}"
        monkeypatch.setattr(hub, "HfApi", partial(HfApi, endpoint=endpoint))
        monkeypatch.setattr(hub, "_PATIENCE", 0.2)
        with pytest.raises(HubUnreachableError, match=r"no network.*: ReadTimeout: .*--model nano"):
            hub.download("nobody/nothing-of-this-name", weights=weights)
        silent.settimeout(1)
        silent.accept()[0].close()  # it was asked


@pytest.mark.parametrize("progress", [True, False])
def test_a_silent_hub_is_named_and_remembered_for_a_while(
    progress: bool, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fetch() -> str:
        with pytest.raises(HubUnreachableError) as raised:
            hub.download("nobody/nothing-of-this-name", progress=progress)
        return str(raised.value)

    monkeypatch.setattr(hub, "_PATIENCE", 0.3)
    monkeypatch.setattr(hub, "_NOTICE", 0.05)
    with socket.create_server(("localhost", 0)) as silent:
        endpoint = f"http://localhost:{silent.getsockname()[1]}"
        monkeypatch.setattr(hub, "HfApi", partial(HfApi, endpoint=endpoint))
        assert "ReadTimeout" in fetch()
        assert capsys.readouterr().err.startswith(f"waiting for the hub, {endpoint}" if progress else "")
        silent.settimeout(1)
        silent.accept()[0].close()  # the first time it was asked
        silent.settimeout(0.05)
        (stamp,) = cache.iterdir()
        assert f"and is asked again after 10 minutes; to ask it at once, delete {stamp};" in fetch()
        with pytest.raises(TimeoutError):
            silent.accept()
        os.utime(stamp, (0, 0))  # long ago
        assert "ReadTimeout" in fetch()
        monkeypatch.setattr(hub, "HfApi", partial(HfApi, endpoint=endpoint + "/another"))
        assert "ReadTimeout" in fetch()


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (answer(503), HubUnreachableError),
        (httpx.ProxyError("blocked"), HubUnreachableError),
        (answer(403), CheckpointError),
        (OSError("disk full"), CheckpointError),
    ],
)
def test_a_hub_without_an_answer_is_out_of_reach(
    monkeypatch: pytest.MonkeyPatch, failure: Exception, kind: type[CheckpointError]
) -> None:
    def fail(*arguments: Any, **options: Any) -> None:
        raise failure

    monkeypatch.setattr(hub, "HfApi", fail)
    monkeypatch.setattr(hub, "snapshot_download", fail)
    with pytest.raises(CheckpointError) as raised:
        hub.download("suno/bark-small", weights=["*"])
    assert type(raised.value) is kind
