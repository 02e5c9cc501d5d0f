import re
import unicodedata
import warnings
from collections.abc import Callable
from dataclasses import fields
from itertools import pairwise

import pytest
import sentencex
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bark_jax.settings import SettingsError
from bark_jax.speech.pieces import seconds_of
from bark_jax.speech.script import Pauses, Script, write_script
from bark_jax.speech.sentences import LANGUAGES, sentence_ends
from bark_jax.text import TextError, TextWarning, builtin_tokenizer

# Two sentences each, and what a full stop there must not end.
SENTENCES = {
    "en": ["Mr. and Mrs. Brown paid $3.14 at 10:30 a.m. in St. Louis.", "J. R. R. Tolkien, e.g., wrote a lot."],
    "de": ["Das ist z. B. gut, d. h. prima.", "Dr. Müller kam am 3. Mai um 10.30 Uhr."],
    "es": ["El Sr. García vino a las 3.30 p.m. con la Dra. López.", "¿Qué tal en EE. UU.?"],
    "fr": ["M. Dupont, p. ex., est arrivé.", "Où est l'école ?"],
    "hi": ["यह डॉ. शर्मा हैं।", "मूल्य 3.14 रुपये है।"],
    "it": ["Il sig. Rossi è arrivato con il dott. Bianchi.", "Così è!"],
    "ja": ["「行きますか？」と彼は聞いた。", "円周率は3.14です。"],
    "ko": ["네, 저는 김철수입니다.", "원주율은 3.14입니다."],
    "pl": ["To np. św. Jan i dr. Nowak.", "Co to jest?"],
    "pt": ["O Sr. Silva leu a pág. 5 do livro.", "A Dra. Costa não?"],
    "ru": ["А. С. Пушкин, т. е. поэт, родился в 1799 г. в Москве.", "Как дела?"],
    "tr": ["Prof. Dr. Ayşe Hanım 3. Sınıf için elma, armut vb. meyveler aldı.", "Örn. bu mu?"],
    "zh": ["圆周率是3.14。", "他说：“我知道。你也知道。”然后走了。"],
}
LONG = " ".join(f"the {side} side was warm and dry, and" for side in ["near", "far", "left", "right", "dark"] * 4)


def letters(text: str) -> int:
    """One token a character, spaces aside."""
    return len("".join(text.split()))


def script(text: str, max_tokens: int = 256, count: Callable[[str], int] = letters, **options: object) -> Script:
    return write_script(text, count_tokens=count, max_tokens=max_tokens, **options)  # type: ignore[arg-type]


def texts(text: str, max_tokens: int = 256, **options: object) -> list[str]:
    return [piece.text for piece in script(text, max_tokens, **options).pieces]


def sentences(text: str, language: str = "en") -> list[str]:
    return [text[start:end].strip() for start, end in pairwise([0, *sentence_ends(text, language)])]


@pytest.mark.parametrize("language", LANGUAGES)
def test_sentences_of_every_language(language: str) -> None:
    expected = SENTENCES[language]
    gap = "" if language in ("ja", "zh") else " "
    assert sentences(gap.join(expected), language) == expected


@pytest.mark.parametrize("language", LANGUAGES)
def test_sentencex_has_rules_of_its_own_where_the_module_says_so(language: str) -> None:
    probe = "Vd. Ud. z. B. Zzt. Abs. p.ej. Sra. López. s.t. P.ex. M. tél. डब्लू. हाँ. Dott. Avv. Sig. Rossi. "
    probe += "U.S. Army. Fig. Three. łac. Nie. Exmo. Senhor. Гг. Иванов. See Dr. Who. Mrs. Dr. Sto. Tomé."
    lent = sentencex.segment(language, probe) == sentencex.segment("en", probe)
    assert lent == (language in ("en", "ko", "tr", "zh"))


@pytest.mark.parametrize(
    "sentence",
    [
        "Then [laughs. Loudly] no.",
        "She sang ♪ In the jungle. The mighty jungle ♪ again.",
        "See https://Example.Com/a.B?c=D!e for more.",
        "Mail Bob.Smith@Example.Com now!",
        "It cost 3.14 at 10:30, or 10 000 in all.",
        "Written by J. R. R. Tolkien and by Ö. Yılmaz.",
        "“I know. You know. We all know,” he said.",
        "[laughs] But she can’t… can she?",
        "It works in e.g. Paris, i.e. everywhere.",
        "Wait! he said, where? and left.",
    ],
)
def test_one_sentence_stays_one(sentence: str) -> None:
    assert sentences(f"{sentence} Next one.") == [sentence, "Next one."]
    assert sentences(f"The last one. {sentence}") == ["The last one.", sentence]


def test_long_sentence_is_cut_at_clauses_near_balance() -> None:
    pieces = texts(LONG)
    assert all(piece.endswith(",") for piece in pieces[:-1])
    lengths = [seconds_of(piece) for piece in pieces]
    assert max(lengths) <= 11 < sum(lengths)
    assert max(lengths) < 1.7 * min(lengths)


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [
        ("one two three four five six", 12, ["one two three", "four five six"]),
        ("first one, then two three four", 20, ["first one,", "then two three four"]),
        ("他喜欢喝咖啡、也喜欢喝茶。", 8, ["他喜欢喝咖啡、", "也喜欢喝茶。"]),
        ("天地玄黄宇宙洪荒", 4, ["天地玄黄", "宇宙洪荒"]),
        ("abcdefghij", 4, ["abc", "defg", "hij"]),
        ("oh abcdefgh", 9, ["oh", "abcdefgh"]),
        ("we [clears throat] go on", 16, ["we [clears throat]", "go on"]),
        ("it is 10 000 or", 10, ["it is", "10 000 or"]),
        ("it was old Dr. Brown there", 17, ["it was old", "Dr. Brown there"]),
        ("x\u0301x\u0301x\u0301", 4, ["x\u0301", "x\u0301x\u0301"]),
        ("👍🏽👍🏽", 3, ["👍🏽", "👍🏽"]),
        ("hello there. how are you today", 20, ["hello there.", "how are you today"]),
    ],
)
def test_places_to_cut(text: str, limit: int, expected: list[str]) -> None:
    assert texts(text, limit) == expected


def test_how_short_is_too_short_alone_depends_on_the_clip() -> None:
    text = "One two three. Four five six."
    assert texts(text) == [text]
    assert texts(text, max_seconds=4) == ["One two three.", "Four five six."]


def test_short_quotation_is_kept_whole_and_a_long_one_cut_at_its_sentences() -> None:
    short = 'He told them, "the sea is calm, the wind is low, we go" and nobody in the boat said anything to that'
    assert next(piece for piece in texts(short, max_seconds=5) if '"' in piece).count('"') == 2
    long = '"' + " ".join(["The sea was very calm on that day."] * 12) + '" she said.'
    assert all(re.search(r'\.("| she said\.)?$', piece) for piece in texts(long))


def test_pieces_hold_about_eleven_seconds_of_any_script() -> None:
    for language, examples in SENTENCES.items():
        text = re.sub(r"[.。।!?？！]", "", " ".join(examples)) * 8
        pieces = texts(text, 10_000, language=language)
        assert max(map(seconds_of, pieces)) <= 11
        assert min(map(seconds_of, pieces)) > 3


def test_few_words_join_a_neighbour_that_has_room() -> None:
    whole = "This sentence has quite enough words to stand alone."
    assert texts(f"Yes. {whole} {whole} Really?") == [f"Yes. {whole}", f"{whole} Really?"]
    assert texts(f"Yes.\n\n{whole}") == ["Yes.", whole]
    assert texts(f"Yes.\nA: {whole}", speakers=["A"]) == ["Yes.", whole]
    assert texts(f"Yes. {whole}", letters(whole)) == ["Yes.", whole]
    assert texts(f"明白。{'天地玄黄宇宙洪荒日月盈昃辰宿列张' * 2}。", language="zh")[0].startswith("明白。天地")


def test_dialogue_switches_the_speaker_until_the_next_label() -> None:
    text = "A door opens.\nANNA: Hi.\nYou there?\n\n[pause 2] Well?\nBEN : Yes: me. Anna: no.\n小明：你好。\nBOB: out"
    pieces = script(text, speakers={"ANNA": 1, "BEN": 2, "小明": 3}).pieces
    assert [(piece.speaker, piece.text, piece.paragraph) for piece in pieces] == [
        (None, "A door opens.", 0),
        ("ANNA", "Hi. You there?", 0),
        ("ANNA", "Well?", 1),
        ("BEN", "Yes: me. Anna: no.", 1),
        ("小明", "你好。 BOB: out", 1),
    ]


def test_labels_may_follow_a_mark_or_stand_alone() -> None:
    pieces = script("[pause 1] A: Hello.\nB:\nWell.\nA:", speakers=["A", "B"]).pieces
    assert [(piece.speaker, piece.text) for piece in pieces] == [("A", "Hello."), ("B", "Well.")]


def test_without_speakers_a_colon_is_plain_text() -> None:
    assert texts("MAN: Wow.\nannette: no", speakers=[]) == ["MAN: Wow. annette: no"]


@pytest.mark.parametrize(
    "label",
    ["Anna:", "ANNA:", "anna :", "**Anna:**", "**ANNA**:", "__Anna:__", "*Anna*:", "[Anna]:", "**[Anna]:**", "- Anna:",
     "– Anna:", "* **Anna**:", "1. Anna:", "> Anna:", "Anna：", "　Anna:", "Anna (laughing):", "**Anna** (laughing):",
     "**Anna (laughing):**", "- [Anna] [laughing]:", "ANNA（laughing）：", "[Anna:]", "(Anna):", '"Anna":', "“Anna”:",
     "«Anna»:", "{Anna}:", "~Anna~:", "[00:12] Anna:", "00:01:12 Anna:", "(0:12) **Anna**:", "Anna (00:12):",
     "Anna [1:02:03]:", "Anna (laughing) (softly):", "[Anna] (laughing) [softly]:", "[10:30 AM] Anna:",
     "[00:12 - 00:15] Anna:", "00:00:01,000 --> 00:00:02,500 Anna:", "12/24/24, 10:30 - Anna:", "<Anna>:", "[Anna]",
     "<Anna>", "【Anna】：", "「Anna」:"],
)  # fmt: skip
@pytest.mark.parametrize("name", ["Anna", "ANNA"])
@pytest.mark.filterwarnings("ignore:not spoken")
def test_labels_as_people_write_them(label: str, name: str) -> None:
    result = script(f"Who?\n{label} Hi: you.\nTom: Hi.", speakers=[name, "Tom"])
    assert [(piece.speaker, piece.text) for piece in result.pieces] == [
        (None, "Who?"),
        (name, "Hi: you."),
        ("Tom", "Hi."),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "Anna is: here",
        "Joanna: Hi.",
        "(Anna) said: Hi.",
        "Anna",
        "An na: Hi.",
        "Note, Anna: hi",
        "Anna 10:30",
        "At 10:30: Anna",
    ],
)
@pytest.mark.filterwarnings("ignore:speakers without")
def test_lines_that_only_look_like_labels_are_text(line: str) -> None:
    assert script(line, speakers=["Anna"]).pieces[0].speaker is None


@pytest.mark.parametrize(
    "label", ["Anna, whispering:", "ANNA – quietly:", "- Anna; to Ben:", "Anna & Ben:", "Anna and Ben:"]
)
def test_what_may_or_may_not_be_a_label_is_read_out_with_a_warning(label: str) -> None:
    with pytest.warns(TextWarning, match="read out, not being labels") as warned:
        pieces = script(f"Anna: Hi.\n{label} you.\nAnna, I said so yesterday: no.", speakers=["Anna"]).pieces
    assert label.removeprefix("- ") in str(warned[0].message)
    assert label in " ".join(piece.text for piece in pieces)
    assert len(warned) == 1


def test_the_names_of_speakers_may_be_composed_or_not() -> None:
    assert script("ZOE\u0308: Hi.", speakers=["Zo\u00eb"]).pieces[0].speaker == "Zo\u00eb"
    assert script("Zo\u00eb: Hi.", speakers=["Zoe\u0308"]).pieces[0].speaker == "Zoe\u0308"


@pytest.mark.parametrize(("name", "label"), [("Işık", "IŞIK"), ("Ali", "ALİ"), ("İnci", "inci"), ("Kış", "KIŞ")])
def test_letter_case_is_also_that_of_turkish(name: str, label: str) -> None:
    assert script(f"{label}: Hi.", speakers=[name]).pieces[0].speaker == name


def test_of_names_that_differ_in_letter_case_the_exact_one_speaks() -> None:
    pieces = script("Anna: Hi.\nANNA: Hi.\nanna: Hi.", speakers=["Anna", "ANNA"]).pieces
    assert [piece.speaker for piece in pieces] == ["Anna", "ANNA", "Anna"]


def test_what_a_label_has_in_parentheses_is_named_not_spoken() -> None:
    with pytest.warns(TextWarning, match=r"not spoken.*\(laughing\), \(softly\)$"):
        assert script("Anna (laughing): Hi.\nAnna (softly): Hi.", speakers=["Anna"]).pieces[0].text == "Hi."


def test_speakers_without_a_line_are_named_once() -> None:
    with pytest.warns(TextWarning, match=r"speakers without a line.*: Zoe, Max$") as caught:
        script("Anna: Hi. [pause] Hi.\nMax:", speakers=["Zoe", "Anna", "Max"])
    assert len(caught) == 1


@pytest.mark.parametrize(
    ("mark", "seconds"),
    [
        ("[pause]", 1.0),
        ("[PAUSE]", 1.0),
        ("[pause 0.5s]", 0.5),
        ("[pause 500ms]", 0.5),
        ("[ pause  500 ms ]", 0.5),
        ("[pause\n2]", 2.0),
        ("[pause .25]", 0.25),
        ("[pause 0]", 0.0),
        ("[pause 60]", 60.0),
        ("[pause 1][pause 0.5s] [pause]", 2.5),
        ("[pause:1]", 1.0),
        ("[Pause: 1.5]", 1.5),
        ("[pause=500ms]", 0.5),
        ("[pause 1 second]", 1.0),
        ("[PAUSE 1.5 s]", 1.5),
        ("[pause = 2 Seconds]", 2.0),
        ("[pause 3sec]", 3.0),
        ("[pause 250 milliseconds]", 0.25),
        ("[pause 1,5]", 1.5),
        ("[pause 0.5 min]", 30.0),
        ('<break time="1.5s"/>', 1.5),
        ("<break time='500ms' />", 0.5),
        ("<BREAK TIME=2s></BREAK>", 2.0),
        ("<break/>", 1.0),
        ('<break strength="strong"/>', 1.0),
        ("<break strength='none'/>", 0.0),
    ],
)
@pytest.mark.parametrize("gap", [" ", "", "\n\n"])
def test_marks_replace_the_silence_of_the_punctuation(mark: str, seconds: float, gap: str) -> None:
    result = script(f"{mark}{gap}So,{gap}{mark}{gap}I am here.{gap}{mark}")
    assert result.lead == seconds
    assert [(piece.text, piece.pause) for piece in result.pieces] == [("So,", seconds), ("I am here.", seconds)]
    assert {piece.paragraph for piece in result.pieces} == ({0, 1} if gap == "\n\n" else {0})


@pytest.mark.parametrize(
    "mark", ["[pause 61]", "[pause: 1e3 s]", "[pause 60001ms]", "[pause 2 min]", "<break time='99s'/>"]
)
def test_pauses_that_are_too_long_are_named(mark: str) -> None:
    if "1e3" in mark:
        mark = mark.replace("1e3", "9" * 400)
    with pytest.raises(TextError, match=re.escape(mark[:20]) + ".*60 s"):
        script(f"Hello {mark}")


@pytest.mark.parametrize(
    "bracket",
    ["[laughs]", "[long pause]", "[clears throat]", "[pause abc]", "[pauses]", "[pause -1]", "[pause 2", "[pause 1 m]",
     "[pause 1e9]", "[paused at 3:10]", "[Pause/Break]", "[Pausenmusik läuft]", "[pause2]", "a < b > c", "<3", "<T>",
     "<me@x.org>", "[pause: soon]", "[ pause menu ]", "[pause 1 2]"],
)  # fmt: skip
def test_other_brackets_are_spoken(bracket: str) -> None:
    result = script(f"Hello {bracket} there")
    assert [piece.text for piece in result.pieces] == [f"Hello {bracket} there"]


@pytest.mark.parametrize(
    ("text", "silence"), [("Good morning. [pause 2]", (0, 2)), ("[pause 2] Good morning.", (2, 0))]
)
def test_a_pause_beside_one_piece_is_silence(text: str, silence: tuple[float, float]) -> None:
    result = script(text)
    assert [piece.text for piece in result.pieces] == ["Good morning."]
    assert (result.lead, result.pieces[0].pause) == silence
    assert not result.is_plain
    assert script("Good morning.").is_plain


def test_ssml_is_obeyed_where_it_can_be() -> None:
    with pytest.warns(TextWarning, match=r"ignored: emphasis, blink$") as caught:
        result = script(
            '<?xml version="1.0"?><speak version="1.1">Ready. <break time="1.5s"/> Go &amp; run, '
            "<emphasis level='strong'>now</emphasis>!<p>un<emphasis>believ</emphasis>able <!-- [pause 9] --> "
            "<blink>&lt;b&gt;</blink></p></speak>"
        )
    assert [(piece.text, piece.pause) for piece in result.pieces] == [
        ("Ready.", 1.5),
        ("Go & run, now!", 0.7),
        ("unbelievable <b>", 0),
    ]
    assert len(caught) == 1


def test_voices_of_ssml_speak_until_they_are_closed() -> None:
    text = 'A. <voice name="v2/en_speaker_1">B.<voice name="tom">C.</voice> D.</voice> E.\nAnna: F.'
    result = script(text, speakers=["Tom", "Anna"])
    assert [(piece.speaker, piece.text) for piece in result.pieces] == [
        (None, "A."), ("v2/en_speaker_1", "B."), ("Tom", "C."), ("v2/en_speaker_1", "D."), (None, "E."), ("Anna", "F."),
    ]  # fmt: skip
    assert result.voices == ("v2/en_speaker_1",)


@pytest.mark.parametrize(
    "tag",
    [
        "<amazon:effect name='x'>Hi</amazon:effect>",
        "<voice gender='female'>Hi</voice>",
        "<break time='soon'/>Hi",
        "<prosody rate='slow'>Hi</prosody>",
    ],
)
def test_tags_that_mean_nothing_here_are_named(tag: str) -> None:
    with pytest.warns(TextWarning, match=rf"ignored: {tag[1:6]}"):
        assert texts(tag) == ["Hi"]


LYRICS = "In the jungle, the mighty jungle, the lion sleeps tonight, "


@pytest.mark.parametrize(
    "song",
    [f"♪ {LYRICS * 8} ♪", f"♪ {LYRICS}\n\n{LYRICS} ♪", f"♪ {LYRICS}\n\n{LYRICS * 8}\n\n{LYRICS} ♪",
     f"♪{LYRICS}[pause]{LYRICS}♪", f"♪\n{LYRICS}\n\n{LYRICS}\n\n♪", f"Anna: ♪ {LYRICS}\nTom: {LYRICS} ♪"],
)  # fmt: skip
def test_every_piece_of_a_song_has_its_marks(song: str) -> None:
    result = script(song, speakers=["Anna", "Tom"] if "Anna" in song else [])
    assert len(result.pieces) > 1
    for piece in result.pieces:
        assert re.fullmatch("♪[^♪]+♪", piece.text)
        assert letters(piece.text) <= 256
    words = re.sub(r"[♪\s]", "", "".join(piece.text for piece in result.pieces))
    assert words == re.sub(r"[♪\s]|\[pause\]|Anna:|Tom:", "", song)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("♪ La.\n♪ La.\n♪ La.", ["♪ La. ♪ ♪ La. ♪ ♪ La. ♪"]),
        ("♪ La.\n\n♪ La\nla.\n\nLa.", ["♪ La. ♪", "♪ La la. ♪", "La."]),
        ("♪♪ La la. ♪ ♪\n\nLa.", ["♪ La la. ♪", "La."]),
        (f"♪ {LYRICS * 8}".strip(), None),
    ],
)
def test_songs_with_too_few_notes_or_too_many(text: str, pieces: list[str] | None) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = texts(text)
    assert pieces is None or found == pieces
    assert all(piece.count("♪") % 2 == 0 for piece in found)
    assert len(caught) == ("♪♪" not in text)  # a ♪ more is no loss


@pytest.mark.parametrize("text", ["La. ♪ La ♪ la.", "La la ♪", "La ♪ la"])
def test_other_notes_are_left_alone(text: str) -> None:
    assert "".join(" ".join(texts(text)).split()) == "".join(text.split())


@pytest.mark.parametrize(
    ("end", "field"),
    [
        (".", "sentence"),
        ("।", "sentence"),
        (".”", "sentence"),
        ("?", "question"),
        ("?!)", "question"),
        ("！", "question"),
        ("…", "ellipsis"),
        ("...", "ellipsis"),
    ],
)
def test_silence_by_what_ends_the_piece(end: str, field: str) -> None:
    pauses = Pauses(sentence=1, question=2, ellipsis=3, clause=4, cut=0.5)
    whole = "This sentence has quite enough words to stand alone"
    first, last = script(f"{whole}{end} {whole}", pauses=pauses).pieces
    assert (first.pause, last.pause) == (getattr(pauses, field), 0)


def test_silence_within_sentences_between_paragraphs_and_speakers() -> None:
    pauses = Pauses(cut=1, clause=2, speaker=3, paragraph=4)
    result = script("one two, three four five", 8, pauses=pauses)
    assert [(piece.text, piece.pause) for piece in result.pieces] == [("one two,", 2), ("three", 1), ("four five", 0)]
    result = script("A: No.\nB: Yes.\n\nB: Oh?\n\nA: Ah.", speakers=["A", "B"], pauses=pauses)
    assert [piece.pause for piece in result.pieces] == [3, 4, 4, 0]
    assert script("Oh?\n\nAh.", pauses=Pauses(question=5)).pieces[0].pause == 5


@pytest.mark.parametrize("field", [field.name for field in fields(Pauses)])
@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), True, "1", None])
def test_pauses_out_of_range_are_named(field: str, value: object) -> None:
    with pytest.raises(SettingsError, match=f"pause '{field}'"):
        Pauses(**{field: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", {}, "empty"),
        (" \n ", {}, "empty"),
        ("[pause] [pause 2]", {}, r"nothing .*\[pause\]"),
        ("A:", {"speakers": ["A"]}, "nothing .*A:"),
        (7, {}, "not int"),
        ("a\ud800", {}, "surrogate"),
        ("a", {"language": "xx"}, "'xx'.*en, de"),
        ("a", {"language": 3}, "unknown language 3"),
        ("a", {"speakers": "ANNA"}, "'ANNA'"),
        ("a", {"speakers": None}, "None"),
        ("a", {"speakers": ["A:B"]}, "'A:B'"),
        ("a", {"speakers": [" A"]}, "' A'"),
        ("a", {"speakers": [""]}, "not ''"),
        ("a", {"speakers": [3]}, "not 3"),
        ("ab", {"count": lambda text: 2 * len(text), "max_tokens": 1}, "'a' alone has more than 1 tokens"),
    ],
)
def test_bad_input_is_refused(text: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(TextError, match=message):
        script(text, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options",
    [{"max_tokens": 0}, {"max_tokens": 2.0}, {"max_tokens": True}, {"max_seconds": 0.5}, {"max_seconds": "9"}],
)
def test_limits_out_of_range_are_named(options: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match=f"{next(iter(options))} must be"):
        script("a", **options)  # type: ignore[arg-type]


def test_what_has_no_token_is_left_out_and_its_mark_kept() -> None:
    tokenizer = builtin_tokenizer()
    result = script("\ufeffA.\n\n\u200b\n\n\u200b[pause 2]B.", count=lambda text: len(tokenizer.encode(text).ids))
    assert [(piece.text, piece.pause, piece.paragraph) for piece in result.pieces] == [("A.", 2, 0), ("B.", 0, 1)]


def test_a_byte_order_mark_hides_no_label() -> None:
    assert script("\ufeffA: Hi.", speakers=["A"]).pieces[0].speaker == "A"


def test_tokens_are_counted_a_few_times_a_piece() -> None:
    calls: list[int] = []
    text = " ".join(f"This is {i}. {LONG} {i}. {i} {i * 'x'}." for i in range(200))  # nothing occurs twice
    pieces = texts(text, count=lambda text: calls.append(len(text)) or letters(text))  # type: ignore[func-returns-value]
    assert len(calls) < 5 * len(pieces)
    assert sum(calls) < 5 * len(text)


FRAGMENTS = [
    *(sentence for examples in SENTENCES.values() for sentence in examples),
    *["[", "]", "[laughs]", "♪", "♪ la la ♪", "3.14", "10:30", "10 000", "www.a.com", "http://x.y/?z", "a.b@c.de"],
    *[
        "Dr. ",
        "e.g. ",
        "J. ",
        "…",
        "... ",
        "?! ",
        "—",
        "-",
        " – ",
        "(",
        ")",
        "“",
        "”",
        '"',
        "'",
        "「",
        "」",
        "。",
        "、",
    ],
    *["\n", "\r\n", "\n\n", "\u3000", "\x00", "\x1c", "\u200b", "\u202e", "\u2066مرحبا", "👍🏽", "👩\u200d👧"],
    *["e\u0301", "\ufe0f", "x" * 400, "天" * 90, ": ", "A", "P:", "[pau", "se]", LONG],
]
ANY_TEXT = st.lists(
    st.one_of(st.sampled_from(FRAGMENTS), st.just(" "), st.text(st.characters(exclude_categories=["Cs"]), max_size=20)),
    max_size=25,
).map("".join)
MARKS = {"[pause]": 1.0, "[pause 0.5s]": 0.5, "[pause 250ms]": 0.25, "[pause 3]": 3.0}


def has_no_markup(text: str) -> bool:
    """No mark of its own, nor what becomes one beside another text."""
    return not re.search(r"pause|[<>]|name", text, re.IGNORECASE) and not text.startswith("\ufeff")


def words_of(text: str) -> str:
    """All but whitespace and the notes of songs, which each piece of one gets."""
    return "".join(unicodedata.normalize("NFC", text).replace("♪", "").split())


@pytest.mark.filterwarnings("ignore::bark_jax.text.TextWarning")
@settings(max_examples=400, deadline=None, database=None)
@given(
    parts=st.lists(
        st.tuples(ANY_TEXT.filter(has_no_markup), st.sampled_from(["", "\nNAME:", *MARKS])), min_size=1, max_size=4
    ),
    limit=st.sampled_from([4, 7, 20, 60, 256]),
    language=st.sampled_from(LANGUAGES),
    count=st.sampled_from([letters, lambda text: len(text.encode()), lambda text: min(2 + len(text.split()), 4)]),
)
@example(parts=[(" ".join(FRAGMENTS), "")], limit=4, language="en", count=letters)
def test_nothing_is_lost_reordered_or_added(
    parts: list[tuple[str, str]], limit: int, language: str, count: Callable[[str], int]
) -> None:
    expected = words_of("".join(text for text, _ in parts))
    text = "".join(text + markup for text, markup in parts)
    if not "".join("".join(text for text, _ in parts).split()):
        with pytest.raises(TextError):
            script(text, limit, count, language=language, speakers=["NAME"])
        return
    result = script(text, limit, count, language=language, speakers=["NAME"])
    assert "".join(words_of(piece.text) for piece in result.pieces) == expected
    for piece in result.pieces:
        assert piece.text == " ".join(piece.text.split()) != ""
        assert count(piece.text) <= limit or "♪" in piece.text  # songs get marks where there is no room for them, too
        assert seconds_of(piece.text) <= 11
    paragraphs = [piece.paragraph for piece in result.pieces]
    assert paragraphs[0] == 0
    assert all(later - sooner in (0, 1) for sooner, later in pairwise(paragraphs))
    silence = result.lead + sum(piece.pause for piece in result.pieces)
    assert silence >= sum(MARKS.get(markup, 0) for _, markup in parts) - 1e-9


@pytest.mark.filterwarnings("ignore::bark_jax.text.TextWarning")
@settings(max_examples=100, deadline=None, database=None)
@given(text=ANY_TEXT.filter(has_no_markup))
def test_the_builtin_tokenizer_reads_every_piece(text: str) -> None:
    tokenizer = builtin_tokenizer()

    def count(text: str) -> int:
        return len(tokenizer.encode(text, add_special_tokens=False).ids)

    try:
        pieces = texts(text, 32, count=count)
    except TextError:
        assert count(text) == 0
    else:
        assert all(1 <= count(piece) <= 32 for piece in pieces)
