"""The endpoint over a toy model: fields, refusals, limits, failures."""

import base64
import io
import json
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from starlette.testclient import TestClient

from fakes import FakeEngine, serving, speak, wait_for
from voice_arrays import arrays

LONG = "One is here. [pause 0.1] Two is there. [pause 0.1] Three is gone."


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with serving(aliases=("tts-1",)) as own:
        yield own


def test_a_clip(client: TestClient) -> None:
    answer = speak(client)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "audio/wav"
    assert answer.headers["bark-seed"] == "1"
    assert answer.headers["x-request-id"].startswith("req_")
    assert float(answer.headers["bark-audio-seconds"]) == soundfile.info(io.BytesIO(answer.content)).duration
    assert speak(client).content == answer.content
    assert speak(client, seed=2).content != answer.content


def test_a_long_text_is_streamed_or_waited_for(client: TestClient) -> None:
    streamed, waited = speak(client, LONG), speak(client, LONG, wait=True)
    assert "content-length" not in streamed.headers
    assert "bark-audio-seconds" in waited.headers
    both = [soundfile.read(io.BytesIO(answer.content))[0] for answer in (streamed, waited)]
    np.testing.assert_array_equal(*both)


def test_events(client: TestClient) -> None:
    answer = speak(client, LONG, stream_format="sse", response_format="pcm", instructions="Whisper.")
    events = [json.loads(line.removeprefix("data: ")) for line in answer.text.split("\n\n") if line]
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert {event["type"] for event in events[:-1]} == {"speech.audio.delta"}
    audio = b"".join(base64.b64decode(event["audio"]) for event in events[:-1])
    assert audio == speak(client, LONG, response_format="pcm").content
    done = events[-1]
    assert done["type"] == "speech.audio.done"
    assert done["usage"]["total_tokens"] == done["usage"]["input_tokens"] + done["usage"]["output_tokens"] > 0
    assert done["seconds"] == pytest.approx(len(audio) / 2 / 24_000, abs=1e-3)
    assert done["srt"].startswith("1\n00:00:00,000 --> ")
    assert done["srt"].count("-->") == 3
    assert done["warnings"] == ["instructions are ignored: this model takes none"]


@pytest.mark.parametrize("speed", [1.0, 2.0])
def test_words_and_tokens(client: TestClient, speed: float) -> None:
    """In the last event and in a batch: words in the time of the audio, tokens on one axis, −1 in pauses."""
    fields = {"word_times": True, "tokens": True, "speed": speed}
    done = json.loads(speak(client, LONG, stream_format="sse", **fields).text.split("\n\n")[-2].removeprefix("data: "))
    assert " ".join(word["text"] for word in done["words"]) == "One is here. Two is there. Three is gone."
    assert [LONG[slice(*word["span"])] for word in done["words"]] == [word["text"] for word in done["words"]]
    starts = [word["start"] for word in done["words"]]
    assert starts == sorted(starts)
    assert 2 / speed < starts[-1] < done["seconds"]
    assert [len(done["tokens"]["fine"]), len(done["tokens"]["coarse"])] == [8, 2]
    assert len(done["tokens"]["semantic"]) == pytest.approx(speed * done["seconds"] * 49.9, abs=2)
    assert -1 in done["tokens"]["semantic"]
    item = client.post("/v1/audio/speech/batch", json={"items": [{"input": LONG, "seed": 1, **fields}]}).json()
    assert {name: item["data"][0][name] for name in ("words", "tokens")} == {
        name: done[name] for name in ("words", "tokens")
    }


def test_what_is_ignored_is_named_in_a_header(client: TestClient) -> None:
    answer = speak(client, "One ☃ here.", instructions="Whisper.", voices={"ANNA": None})
    notes = json.loads(answer.headers["bark-warnings"])
    assert notes[0].startswith("instructions are ignored")
    assert any("ANNA" in note for note in notes)


BAD: list[tuple[dict[str, Any], int, str | None, str]] = [
    ({"input": ""}, 400, "input", "empty"),
    ({"input": " \n"}, 400, "input", "empty"),
    ({"input": "a" * 4097}, 400, "input", "4097 characters"),
    ({"input": "[pause 60] " * 9 + "a"}, 400, "input", "pauses"),
    ({"input": "[pause 61] a"}, 400, "input", "pause"),
    ({"input": "\u200b"}, 400, "input", ""),
    ({"input": 1}, 400, "input", "string"),
    ({"input": "a", "model": "gpt-5"}, 404, "model", "no model"),
    ({"input": "a", "voice": "nobody"}, 400, "voice", "no voice"),
    ({"input": "a", "word_times": True}, 400, "word_times", "sse"),
    ({"input": "a", "tokens": True}, 400, "tokens", "sse"),
    ({"input": "a", "voice": "/etc/passwd.npz"}, 400, "voice", "no voice"),
    ({"input": "a", "voice": "../adam"}, 400, "voice", "no voice"),
    ({"input": "a", "voice": {"id": "nobody"}}, 400, "voice", "no voice"),
    ({"input": "a", "voices": {"ANNA": "/etc/passwd"}}, 400, "voice", "no voice"),
    ({"input": '<voice name="/etc/passwd.npz">a</voice>'}, 400, "voice", "no voice"),
    ({"input": "a", "speed": 0.2}, 400, "speed", "0.25"),
    ({"input": "a", "speed": 5}, 400, "speed", "4"),
    ({"input": "a", "response_format": "ogg"}, 400, "response_format", "mp3"),
    ({"input": "a", "seed": 2**32}, 400, "seed", ""),
    ({"input": "a", "seed": 10**5000}, 400, None, ""),
    ({"input": "a", "language": "xx"}, 400, "language", ""),
    ({"input": "a", "best_of": 1000}, 400, "best_of", ""),
    ({"input": "a", "max_seconds": 1e-9}, 400, None, "max_seconds"),
    ({"input": "a", "min_eos_p": 0}, 400, "min_eos_p", ""),
    ({"input": "a", "semantic_temperature": -1}, 400, "semantic_temperature", ""),
    ({"input": "a", "sead": 1}, 400, "sead", "no such field"),
    ({}, 400, "input", "required"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "status", "param", "words"), BAD)
def test_bad_fields(client: TestClient, fields: dict[str, Any], status: int, param: str | None, words: str) -> None:
    body = json.dumps(fields) if fields.get("seed") != 10**5000 else '{"input": "a", "seed": 1' + "0" * 5000 + "}"
    answer = client.post("/v1/audio/speech", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == status
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert words.lower() in error["message"].lower()
    if param is not None:
        assert error["param"] == param


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'"a"', b"\xff\xfe", b'{"input": "\xff"}', b'{"input": "\\ud800"}', b"[" * 9999,
             b'{"input": "a", "speed": NaN}'],
)  # fmt: skip
def test_bad_bodies(client: TestClient, body: bytes) -> None:
    answer = client.post("/v1/audio/speech", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_bodies_are_limited() -> None:
    with serving(max_body=1000) as client:
        assert speak(client, "a" * 2000).status_code == 413
        chunks = (b'{"input": "', *[b"a" * 500] * 4, b'"}')
        answer = client.post("/v1/audio/speech", content=iter(chunks), headers={"content-type": "application/json"})
        assert answer.status_code == 413
        assert "1000 bytes" in answer.json()["error"]["message"]


def test_a_batch(client: TestClient) -> None:
    items = [{"input": "One.", "seed": 1, "response_format": "wav"}, {"input": ""}, {"speed": 1}, "no item"]
    assert client.post("/v1/audio/speech/batch", json={"items": items}).status_code == 400
    answer = client.post("/v1/audio/speech/batch", json={"items": items[:3]}).json()["data"]
    assert base64.b64decode(answer[0]["audio"]) == speak(client).content
    assert [item.get("error", {}).get("param") for item in answer] == [None, "input", "input"]
    assert client.post("/v1/audio/speech/batch", json={"items": []}).status_code == 400
    assert client.post("/v1/audio/speech/batch", json={"items": items[:1] * 65}).status_code == 400


def test_models(client: TestClient) -> None:
    (model,) = client.get("/v1/models").json()["data"]
    assert client.get(f"/v1/models/{model['id']}").json() == model
    assert client.get("/v1/models/other").status_code == 404
    assert speak(client, model=model["id"]).status_code == speak(client, model="tts-1").status_code == 200


def npz(values: dict[str, Any]) -> bytes:
    content = io.BytesIO()
    np.savez(content, **values)
    return content.getvalue()


def upload(client: TestClient, name: str, data: bytes) -> Any:
    return client.post("/v1/audio/voices", data={"name": name}, files={"file": ("x.npz", data)})


def test_voices(client: TestClient, library: Path) -> None:
    assert upload(client, "mine/own", npz(arrays())).status_code == 201
    assert [voice["id"] for voice in client.get("/v1/audio/voices").json()["data"]] == ["mine/own"]
    assert speak(client, voice={"id": "mine/own"}).status_code == 200
    assert upload(client, "MINE/own", npz(arrays())).status_code == 409
    assert client.delete("/v1/audio/voices/mine/own").json()["deleted"]
    assert client.delete("/v1/audio/voices/mine/own").status_code == 404
    assert client.delete("/v1/audio/voices/none").status_code in (403, 404)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("../x", npz(arrays())),
        ("x", b""),
        ("x", b"no archive"),
        ("x", npz({"semantic_prompt": np.zeros(3, np.int64)})),
        ("x", npz({name: array.astype(object) for name, array in arrays().items()})),  # a pickle
        ("x", npz({name: array + 10**6 for name, array in arrays().items()})),
    ],
)
def test_hostile_uploads(client: TestClient, library: Path, name: str, data: bytes) -> None:
    answer = upload(client, name, data)
    assert answer.status_code == 400
    assert "/" not in answer.json()["error"]["message"].replace("with / between", "").replace("https://", "")
    assert not list(library.rglob("*"))


def recording(seconds: float = 6.0, kind: str = "WAV") -> bytes:
    """Words of a hum, with pauses between them."""
    time = np.arange(round(24_000 * seconds)) / 24_000
    pitch = 120 + 10 * np.sin(2 * np.pi * time)
    hum = sum(np.sin(2 * np.pi * n * np.cumsum(pitch) / 24_000) / n for n in range(1, 12))
    words = np.where(time % 0.6 < 0.4, hum, 1e-4 * np.random.default_rng(0).standard_normal(len(time)))
    content = io.BytesIO()
    soundfile.write(content, 0.1 * words, 24_000, format=kind)
    return content.getvalue()


def test_a_recording_becomes_a_voice(client: TestClient, library: Path) -> None:
    form, files = {"name": "me"}, {"file": ("me.wav", recording())}
    refused = client.post("/v1/audio/voices", data=form, files=files)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "consent")
    answer = client.post("/v1/audio/voices", data={**form, "consent": "true"}, files=files)
    assert answer.status_code == 201, answer.text
    assert answer.json()["warnings"][0].startswith("file: 0.")
    assert (library / "me.npz").is_file()
    assert speak(client, voice="me").status_code == 200
    assert client.delete("/v1/audio/voices/me").json()["deleted"]


@pytest.mark.parametrize(
    ("data", "words"),
    [(b"", "no audio"), (b"no audio", "no audio"), (recording()[:300], ""), (recording(0.3), "of speech")],
)
def test_recordings_that_cannot_become_voices(client: TestClient, library: Path, data: bytes, words: str) -> None:
    form = {"name": "me", "consent": "true"}
    answer = client.post("/v1/audio/voices", data=form, files={"file": ("me.wav", data)})
    assert answer.status_code == 400
    assert words in answer.json()["error"]["message"]
    assert "/tmp" not in answer.text
    assert not list(library.rglob("*"))


def test_uploads_are_limited() -> None:
    with serving(max_upload=1000) as client:
        assert upload(client, "x", b"0" * 2000).status_code == 413


def test_the_key() -> None:
    with serving(api_key="secret") as client:
        for header in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "secret"}):
            client.headers.update(header)
            answer = client.get("/v1/models")
            assert answer.status_code == 401
            assert answer.json()["error"]["code"] == "invalid_api_key"
        client.headers["Authorization"] = "Bearer secret"
        assert client.get("/v1/models").status_code == client.get("/health").status_code == 200


def test_pages_of_other_origins_get_nothing_unless_asked(client: TestClient) -> None:
    origin = {"Origin": "https://example.org"}
    assert "access-control-allow-origin" not in client.get("/v1/models", headers=origin).headers
    with serving(cors=("https://example.org",)) as other:
        assert other.get("/v1/models", headers=origin).headers["access-control-allow-origin"] == origin["Origin"]


def test_metrics_and_pages(client: TestClient) -> None:
    speak(client)
    text = client.get("/metrics").text
    for name in ("requests_total", "queue_length 0.0", "batch_size_count", "first_audio_seconds_sum",
                 "running_pieces 0.0", "real_time_factor_count", "underruns_total", "audio_seconds_total",
                 "compilations_total"):  # fmt: skip
        assert f"bark_{name}" in text
    assert client.get("/openapi.json").json()["paths"]["/v1/audio/speech"]
    assert client.get("/nothing").json()["error"]["type"] == "not_found_error"
    assert client.get("/").headers["content-type"].startswith("text/html")


def test_a_full_queue() -> None:
    engine = FakeEngine()
    with serving(engine, queue_limit=1) as client:
        engine.gate.clear()
        answers: list[Any] = []
        thread = threading.Thread(target=lambda: answers.append(speak(client)))
        thread.start()
        wait_for(lambda: "bark_queue_length 1.0" in client.get("/metrics").text)
        refused = speak(client)
        engine.gate.set()
        thread.join()
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "queue_full")
    assert int(refused.headers["retry-after"]) >= 1
    assert answers[0].status_code == 200


def test_a_deadline() -> None:
    engine = FakeEngine()
    with serving(engine, deadline=0.1) as client:
        engine.gate.clear()
        answer = speak(client)
        assert (answer.status_code, answer.json()["error"]["code"]) == (504, "deadline")
        wait_for(lambda: "bark_queue_length 0.0" in client.get("/metrics").text)
        engine.gate.set()


def test_a_crash_fails_its_batch_alone() -> None:
    engine = FakeEngine()
    with serving(engine) as client:
        engine.fail = RuntimeError("out of memory in /secret/place")
        answer = speak(client)
        assert answer.status_code == 500
        message = answer.json()["error"]["message"]
        assert answer.headers["x-request-id"] in message
        assert "secret" not in message
        engine.fail = None
        assert speak(client).status_code == client.get("/health").status_code == 200


def test_a_crash_in_a_stream_is_an_event(client: TestClient) -> None:
    engine = FakeEngine()

    def fail_later() -> None:
        wait_for(lambda: len(engine.batches) >= 3)
        engine.fail = RuntimeError("broken")

    with serving(engine, max_batch=1) as client:
        threading.Thread(target=fail_later).start()
        engine.seconds = 0.2
        answer = speak(client, LONG, stream_format="sse")
    assert '"speech.audio.error"' in answer.text
    assert '"speech.audio.done"' not in answer.text


@pytest.mark.parametrize("when", ["warming", "serving"])
def test_a_worker_that_cannot_go_on(when: str) -> None:
    engine, died = FakeEngine(), threading.Event()
    engine.warming = RuntimeError("no device") if when == "warming" else None
    with serving(engine, on_death=died.set) as client:
        engine.fail = RuntimeError("broken for good")
        answers = [speak(client).status_code for _ in range(6)]
        assert set(answers) == ({503} if when == "warming" else {500, 503})
        wait_for(died.is_set)
        assert client.get("/health").status_code == client.get("/ready").status_code == 503


def test_the_log_has_a_line_a_request_without_its_text(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "bark_jax.serving")
    for log_text in (False, True):
        with serving(log_text=log_text) as client:
            speak(client, "Umbrella.")
    lines = [json.loads(record.getMessage()) for record in caplog.records]
    first, second = (line for line in lines if line["event"] == "request" and line["method"] == "POST")
    assert "Umbrella" not in json.dumps(first)
    assert second["text"] == "Umbrella."
    assert first["status"] == 200
    assert first["seed"] == 1
    assert first["audio_seconds"] > 0
