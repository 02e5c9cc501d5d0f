"""Tables of transcripts as corpora have them: every format is read, nothing is guessed in silence."""

from pathlib import Path

import pytest

from bark_jax.training import DataError
from bark_jax.training.transcripts import NO_RECORDING, Recordings, read_transcripts

BOM = "\ufeff"
LONG = "Printed text, in the only sense"
CORPORA = {
    "LJSpeech": ("wavs/LJ1.wav wavs/LJ2.wav", f"LJ1|Dr. A|Doctor A\nLJ2|{LONG}|{LONG}\n", ["Doctor A", LONG], None),
    "LJSpeech, quotation marks": (
        "wavs/LJ1.wav wavs/LJ2.wav",
        'LJ1|"Well," he said|"Well," he said\nLJ2|a "b"|',
        ['"Well," he said', 'a "b"'],
        None,
    ),
    "LJSpeech, one text": ("a.wav b.wav", "a|Hello there\nb|Good bye", ["Hello there", "Good bye"], None),
    "LJSpeech, no audio first": ("wavs/b.wav", "a|Hello|Hello\nb|Good bye|Good bye\n", ["Good bye"], None),
    "VITS, numbered": ("x/a.wav x/b.wav", "x/a.wav|4|Hello\nx/b.wav|4|Good bye", ["Hello", "Good bye"], "44"),
    "Coqui": (
        "a.wav b.wav c.wav",
        "a|Hello you|ann\nb|Good bye|ann\nc|Yes|ann\n",
        ["Hello you", "Good bye", "Yes"],
        ["ann"] * 3,
    ),
    "Coqui with a header": ("wavs/a.wav", "audio_file|text|speaker_name\nwavs/a.wav|Hello|ann", ["Hello"], ["ann"]),
    "Common Voice": (
        "clips/a.mp3 clips/b.mp3",
        'client_id\tpath\tsentence_id\tsentence\nann\ta.mp3\t7\t"Quoted", he said\nbob\tb.mp3\t8\t"A ""b"""\n',
        ['"Quoted", he said', 'A "b"'],
        ["ann", "bob"],
    ),
    "Common Voice, converted to WAV": ("clips/a.wav", "path\tsentence\na.mp3\tHello\n", ["Hello"], None),
    "Hugging Face": ("train/a.wav", "file_name,transcription\ntrain/a.wav,Hello\n", ["Hello"], None),
    "Hugging Face, quoted": ("a.wav", '"file_name","transcription"\n"a.wav","Hello, ""you""\nthere"\n', None, None),
    "DeepSpeech": ("a.wav", "wav_filename,wav_filesize,transcript\na.wav,99,Hello\n", ["Hello"], None),
    "Excel": ("a.wav", "File Name;Text\r\na.wav;Hello, you\r\n", ["Hello, you"], None),
    "byte order mark": ("a.wav", f"{BOM}path,sentence\na,Hello\n", ["Hello"], None),
    "JSON lines": ("a.wav", '{"file_name": "a.wav", "text": "Hello", "speaker_id": 3}\n', ["Hello"], ["3"]),
    "JSON array": ("7.wav", '[{"id": 7, "sentence": "Hello"}]', ["Hello"], None),
    "NeMo": ("a.wav", '{"audio_filepath": "HERE/a.wav", "duration": 1, "text": "Hello"}\n', ["Hello"], None),
    "datasets": ("a.wav", '{"audio": {"path": "a.wav"}, "text": "Hi", "normalized_text": "Hello"}\n', ["Hello"], None),
    "GPT-SoVITS": ("a.wav b.wav", "a.wav|ann|EN|Hi you\nb.wav|ann|EN|Good bye\n", ["Hi you", "Good bye"], ["ann"] * 2),
    "CSS10": ("x/a.wav x/b.wav", "x/a.wav|Um 1|Um eins|3.1\nx/b.wav|Da ist|Da ist|2.0\n", ["Um eins", "Da ist"], None),
    "KSS": ("a.wav", f"a.wav|1 a b|one a b|o n e a b|3.5|{LONG}\n", ["one a b"], None),
    "ESD": ("0/a.wav 0/b.wav", f"a\t{LONG}\tAngry\nb\tGood bye, all\tSad\n", [LONG, "Good bye, all"], ["Angry", "Sad"]),
    "spoken digits": ("a.wav b.wav", "a|one|one\nb|one|one\n", ["one", "one"], None),
    "LibriSpeech": ("8/8-1.flac 8/8-2.flac", "8-1 GO DO\n8-2 BUT IN 3: YES\n", ["GO DO", "BUT IN 3: YES"], None),
    "JSUT": ("wav/B_1.wav wav/B_2.wav", "B_1:水を: 買う\nB_2:木曜日\n", ["水を: 買う", "木曜日"], None),
    "LibriTTS-R": ("x/a.wav", "id,text_original,text_normalized,spk,path\n1,Mr. A,Mister,4,x/a.wav\n", ["Mister"], "4"),
    "a bar in a text": ("a.wav b.wav c.wav", "a|Hello\nb|Good bye\nc|Yes | no\n", ["Hello", "Good bye"], None),
    "from another machine": ("wavs/a.wav", "path,text\n/home/me/corpus/wavs/a.wav,Hello\n", ["Hello"], None),
    "from another Windows": ("wavs/a.wav", "path,text\nC:\\corpus\\wavs\\a.wav,Hello\n", ["Hello"], None),
    "datasets, CSV": ("a.wav", "audio,label\na.wav,Hello\n", ["Hello"], None),
    "CMU ARCTIC": ("wav/a1.wav wav/a2.wav", f'( a1 "{LONG}" )\n( a2 "Yes, \\"no\\"." )\n', [LONG, 'Yes, "no".'], None),
    "names from Windows": ("clips/a.wav", "path,text\nclips\\a.wav,Hello\n", ["Hello"], None),
    "commas in texts": ("a.wav b.wav", "a.wav,Yes, I do.\nb.wav,No, I do.\n", ["Yes, I do.", "No, I do."], None),
    "commas in some texts": ("a.wav b.wav", "a.wav,Hello, you\nb.wav,Bye you\n", ["Hello, you", "Bye you"], None),
    "a blank after the comma": ("a.wav b.wav", 'a.wav, "Hello, you"\nb.wav\n', ["Hello, you"], None),
    "semicolons in texts": ("a.wav b.wav", "a;Yes; I do.\nb;No.\n", ["Yes; I do.", "No."], None),
    "commas between columns": ("a.wav b.wav", f"a,ann,{LONG}\nb,ann,Bye you\n".replace(LONG, f'"{LONG}"'),
                               [LONG, "Bye you"], ["ann"] * 2),
    "LJSpeech, few normal forms": (
        "a.wav b.wav c.wav d.wav", "a|Hello there|\nb|Bye|\nc|5|five\nd|Dr. A|\n",
        ["Hello there", "Bye", "five", "Dr. A"], None,
    ),
    "few speakers": ("a.wav b.wav c.wav", "a|Hello there|\nb|Good bye|\nc|Yes you|ann\n",
                     ["Hello there", "Good bye", "Yes you"], None),
    "JSON object": ("a.wav b.wav", '{"a": "Hello",\n "b.wav": "Bye"}', ["Hello", "Bye"], None),
    "JSON object of objects": ("a.wav", '{"a": {"Text": "Hello", "speaker": "ann"}}', ["Hello"], ["ann"]),
    "JSON array in an object": ("a.wav", '{\n"version": 1,\n"data": [\n{"id": "a", "text": "Hi"}\n]}', ["Hi"], None),
    "JSON object of one line": ("a.wav", '{\n"id": "a",\n"text": "Hi",\n"words": [{"at": 1}]\n}', ["Hi"], None),
    "wav and txt": ("a.wav", "wav,txt\na.wav,Hello\n", ["Hello"], None),
    "audio_id": ("a.wav", "audio_id,text\na,Hello\n", ["Hello"], None),
    "name and content": ("a.wav", "name,content\na,Hello\n", ["Hello"], None),
    "uttid and ref": ("a.wav", "uttid,ref\na,Hello\n", ["Hello"], None),
    "comments": ("a.wav", "# made by hand\n\n# twice\npath,text\na.wav,Hello\n", ["Hello"], None),
    "a header with a mark": ("a.wav", "# path\tsentence\na.wav\tHello\n", ["Hello"], None),
    "names with a mark": ("#1.wav #2.wav", "#1.wav|Hello you\n#2.wav|Bye you\n", ["Hello you", "Bye you"], None),
    "speaker first": ("a.wav b.wav", "ann|a|Hello you\nbob|b|Good bye\n", ["Hello you", "Good bye"], ["ann", "bob"]),
}  # fmt: skip


HEADLESS = {
    "Coqui", "GPT-SoVITS", "CSS10", "KSS", "ESD", "spoken digits", "LibriSpeech", "JSUT", "a bar in a text",
    "a blank after the comma", "commas in texts", "commas in some texts", "semicolons in texts",
    "commas between columns", "few speakers",
    "names with a mark", "speaker first",
}  # fmt: skip


def corpus(folder: Path, files: str, table: str, encoding: str = "utf-8") -> tuple[Recordings, Path]:
    """Empty recordings, and the table beside them."""
    for name in files.split():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    path = folder / "metadata"  # its name says nothing
    path.write_text(table.replace("HERE", str(folder)), encoding=encoding)
    return Recordings(folder), path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("name", CORPORA)
def test_tables_as_corpora_have_them(tmp_path: Path, name: str, encoding: str) -> None:
    files, table, texts, speakers = CORPORA[name]
    recordings, path = corpus(tmp_path, files, table, encoding)
    rows, left_out, note = read_transcripts(path, recordings)
    assert [row.file for row in rows] == files.split()[: len(rows)]
    assert len(rows) == len(texts or [1])
    assert [row.text for row in rows] == (texts or ['Hello, "you"\nthere'])
    assert [row.speaker for row in rows] == list(speakers or [""] * len(rows))
    reasons = {
        "LJSpeech, no audio first": NO_RECORDING,
        "a bar in a text": "there are more cells than columns",
        "a blank after the comma": "there is no transcript",
    }
    assert len(left_out) == (name in reasons)
    assert all(line.reason.startswith(reasons[name]) for line in left_out)
    has_header = not name.startswith(("LJSpeech", "VITS")) and name not in HEADLESS
    assert (note is None) == has_header
    if note:
        assert "has no header: its columns are read as " in note


@pytest.mark.parametrize("folder", [".", "wavs"])
@pytest.mark.parametrize("named", ["a", "a.wav", "wavs/a", "wavs/a.wav", "./wavs/a.wav"])
def test_recordings_are_found_by_the_names_that_tables_use(tmp_path: Path, folder: str, named: str) -> None:
    recordings, _ = corpus(tmp_path, "wavs/a.wav wavs/b.wav", "")
    assert (recordings.folder / Recordings(tmp_path / folder).find(named)).name == "a.wav"


@pytest.mark.parametrize(
    ("files", "named", "found"),
    [
        ("x/a.wav x/a.mp3", "a", "x/a.wav"),
        ("x/a.wav x/a.mp3", "a.mp3", "x/a.mp3"),
        ("x/a.b.wav", "a.b", "x/a.b.wav"),
        ("x/A.WAV x/b.wav", "A", "x/A.WAV"),
        ("x/a.wav y/a.wav", "y/a", "y/a.wav"),
        ("z/x/a.wav z/y/a.wav", "y/a.flac", "z/y/a.wav"),
        ("X/Lj1.wav", "x/LJ1", "X/Lj1.wav"),
        ("X/a.wav x/A.wav", "x/A", "x/A.wav"),
    ],
)
def test_the_recording_that_is_meant(tmp_path: Path, files: str, named: str, found: str) -> None:
    assert corpus(tmp_path, files, "")[0].find(named) == found


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("a", r"it may be x/a\.wav or y/a\.wav"),
        ("b", NO_RECORDING),
        ("x", NO_RECORDING),
        ("z/a", NO_RECORDING),
        ("../x/a.wav", "leads out of the folder"),
        ("/elsewhere/a.wav", r"it may be x/a\.wav or y/a\.wav"),
        ("/elsewhere/b.wav", NO_RECORDING),
        ("/../x/a.wav", "leads out of the folder"),
    ],
)
def test_names_that_do_not_say_which(tmp_path: Path, named: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        corpus(tmp_path, "x/a.wav y/a.wav", "")[0].find(named)


@pytest.mark.parametrize(
    "column",
    [
        "normalized_text",
        "Norm Text",
        "text_norm",
        "cleaned_text",
        "normalized_sentence",
        "transcript-clean",
        "normtext",
    ],
)
@pytest.mark.parametrize("raw", ["text", "sentence", "transcript"])
def test_a_normalised_text_is_preferred(tmp_path: Path, raw: str, column: str) -> None:
    recordings, path = corpus(tmp_path, "a.wav b.wav", f"id,{raw},{column}\na,5,five\nb,Hello,\n")
    assert [row.text for row in read_transcripts(path, recordings)[0]] == ["five", "Hello"]


@pytest.mark.parametrize(
    "table",
    [
        "a,ann,Hello, you\nb,bob,Bye\n",
        "a,Hello,you\nb,Bye\n",
        "a, ann, Hello\nb, bob, Bye\n",
        "ann,a,Yes, I\nann,b,No\n",
    ],
)
def test_commas_that_may_mean_either_are_refused(tmp_path: Path, table: str) -> None:
    recordings, path = corpus(tmp_path, "a.wav b.wav", table)
    with pytest.raises(DataError, match=r"has no header, and ',' may stand in its texts or between its columns: quote"):
        read_transcripts(path, recordings)


def test_an_error_names_the_columns_found_and_those_accepted(tmp_path: Path) -> None:
    recordings, path = corpus(tmp_path, "a.wav", "clip;words\na.wav;Hello\n")
    with pytest.raises(DataError, match=r"begins with 'clip', 'words'.*\(file, file_name, .*\(normalized_text, .*"):
        read_transcripts(path, recordings)


def test_a_line_that_is_damaged_costs_no_other(tmp_path: Path) -> None:
    recordings, path = corpus(tmp_path, "a.wav b.wav c.wav", 'a|"Hello|\nb\nc|Good bye|Good bye\n')
    rows, left_out, _ = read_transcripts(path, recordings)
    assert [(row.file, row.text) for row in rows] == [("a.wav", '"Hello'), ("c.wav", "Good bye")]
    assert [(line.file, line.line, line.reason) for line in left_out] == [("b.wav", 2, "there is no transcript")]
