"""Finding a model: folders, conversions that are kept, and the hub, played by a server on this machine."""

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

from bark_jax import hub
from bark_jax.checkpoint import FORMAT, CheckpointError
from bark_jax.hub import NANO, HubUnreachableError, resolve

httpx = sys.modules[HfHubHTTPError.__mro__[1].__module__.partition(".")[0]]  # its name depends on the hub's version

CHECKOUT = Path(__file__).resolve().parents[1]

# Folders


@dataclass
class FakeConversion:
    """Stands in for `bark_jax.convert`: marks the output as a checkpoint and counts."""

    calls: list[Path] = field(default_factory=list)
    error: str | None = None
    faster: bool = False  # another process finishes first

    def convert_checkpoint(self, source: Path, out: Path, *, progress: bool) -> None:
        self.calls.append(source)
        if self.error is None or self.faster:
            out.mkdir(parents=True)
            (out / "config.json").write_text(json.dumps({"format": FORMAT}))
        if self.error:
            raise CheckpointError(self.error)


@pytest.fixture
def conversion(monkeypatch: pytest.MonkeyPatch) -> FakeConversion:
    conversion = FakeConversion()
    monkeypatch.setitem(sys.modules, "bark_jax.convert", conversion)
    return conversion


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder in Hugging Face's layout."""
    folder = tmp_path / "bark-small"
    folder.mkdir()
    for name in ("config.json", "pytorch_model.bin"):
        (folder / name).write_text("{}")
    (folder / "dangling").symlink_to("nowhere")
    return folder


def test_a_converted_folder_is_used_as_it_is(tmp_path: Path, conversion: FakeConversion) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"format": FORMAT}))
    assert resolve(tmp_path) == tmp_path
    assert resolve(str(tmp_path)) == tmp_path
    assert not conversion.calls


def test_a_folder_is_converted_once_until_it_changes(source: Path, tmp_path: Path, conversion: FakeConversion) -> None:
    cache = tmp_path / "cache"
    first = resolve(source, cache_dir=cache)
    assert first.parent == cache
    assert "bark-small" in first.name
    assert resolve(f"{source}/", cache_dir=cache) == first
    assert conversion.calls == [source]
    (source / "pytorch_model.bin").write_text("new weights")
    assert resolve(source, cache_dir=cache) != first
    assert len(conversion.calls) == 2


@pytest.mark.parametrize(
    ("file", "is_read"),
    [
        ("bark.wav", False),
        ("logs/conversion.log", False),
        ("text.pt", True),
        ("pytorch_model-00001-of-00002.bin", True),
        ("tokenizer.json", True),
        ("speaker_embeddings_path.json", True),
        ("speaker_embeddings/v2/en_speaker_6_fine_prompt.npy", True),
        ("assets/prompts/v2/en_speaker_6.npz", True),
    ],
)
def test_only_what_a_conversion_reads_counts(
    file: str, is_read: bool, source: Path, tmp_path: Path, conversion: FakeConversion
) -> None:
    first = resolve(source, cache_dir=tmp_path / "cache")
    (source / file).parent.mkdir(parents=True, exist_ok=True)
    (source / file).touch()
    assert (resolve(source, cache_dir=tmp_path / "cache") != first) == is_read


@pytest.mark.parametrize(("name", "is_read"), [("text_2.pt", True), ("vocab.txt", False)])
def test_encodec_in_torchs_cache_counts_for_sunos_files(
    name: str, is_read: bool, source: Path, tmp_path: Path, conversion: FakeConversion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    (source / name).touch()
    first = resolve(source, cache_dir=tmp_path / "cache")
    (tmp_path / "torch" / "hub" / "checkpoints").mkdir(parents=True)
    (tmp_path / "torch" / "hub" / "checkpoints" / "encodec_24khz-d7cc33bc.th").touch()
    assert (resolve(source, cache_dir=tmp_path / "cache") != first) == is_read


IN_A_CHECKOUT = """
import sys
sys.meta_path[:] = [finder for finder in sys.meta_path if "__editable__" not in str(finder)]
from bark_jax.hub import CheckpointError, converter
try:
    print(converter().convert_checkpoint.__module__)
except CheckpointError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("foreign", "outcome"), [(False, "convert.conversion"), (True, "bark_jax.convert is not there: install")]
)
def test_the_converter_in_a_checkout(foreign: bool, outcome: str, tmp_path: Path) -> None:
    """There `bark_jax` is imported from the working directory, and `convert` is beside it, or a stranger's."""
    for name in ("bark_jax", "convert"):
        shutil.copytree(CHECKOUT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "other" / "convert").mkdir(parents=True)
    (tmp_path / "other" / "convert" / "__init__.py").write_text("raise RuntimeError('it was imported')")
    done = subprocess.run(
        [sys.executable, "-c", IN_A_CHECKOUT], cwd=tmp_path / "other" if foreign else tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path)}, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.startswith(outcome)


def test_conversions_go_to_the_users_cache(
    source: Path, tmp_path: Path, conversion: FakeConversion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bark_jax.hub.user_cache_path", lambda name, appauthor: tmp_path / name)
    assert resolve(source).parent == tmp_path / "bark-jax" / "checkpoints"


@pytest.mark.parametrize("name", ["text.pt", "text_2.pt", "model.safetensors", "model-00001-of-00002.safetensors"])
def test_other_layouts_are_recognised(tmp_path: Path, name: str, conversion: FakeConversion) -> None:
    (tmp_path / name).touch()
    resolve(tmp_path, cache_dir=tmp_path / "cache")
    assert conversion.calls == [tmp_path]


def test_losing_a_race_is_fine(source: Path, tmp_path: Path, conversion: FakeConversion) -> None:
    conversion.error, conversion.faster = "exists already", True
    assert resolve(source, cache_dir=tmp_path / "cache").is_dir()


def test_a_failed_conversion_is_reported(source: Path, tmp_path: Path, conversion: FakeConversion) -> None:
    conversion.error = "pytorch_model.bin is truncated"
    with pytest.raises(CheckpointError, match="is truncated"):
        resolve(source, cache_dir=tmp_path / "cache")


@pytest.mark.parametrize("name", ["nowhere", "text.pt", "no/where/at/all", "~nobody-of-this-name/bark"])
def test_no_such_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "text.pt").touch()
    with pytest.raises(CheckpointError, match=r"neither a folder nor a hub repository .* --model nano"):
        resolve(name if name.startswith("~") else tmp_path / name)


def test_a_folder_without_weights(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(CheckpointError, match=r"holds no Bark checkpoint; expected config.json with model.safetensors"):
        resolve(tmp_path)


# The hub

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
from bark_jax.hub import resolve

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
    "without its weights": (("other/bert", {}), "^HubUnreachableError.*not been downloaded from in full"),
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


def test_the_built_in_model_is_found_whatever_folders_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / NANO).mkdir()
    assert resolve(NANO) == Path(hub.__file__).with_name(NANO)
    with pytest.raises(CheckpointError, match="holds no Bark checkpoint"):
        resolve(f"./{NANO}")
    monkeypatch.setattr(hub, "__file__", str(tmp_path / "hub.py"))
    with pytest.raises(CheckpointError, match="lacks its built-in model"):
        resolve(NANO)


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
