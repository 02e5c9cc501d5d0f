"""A grammar of sentences in JSGF, from which they are dealt.

The part of JSGF that is understood: imports of all rules of a grammar beside this one, rules, words, <references>,
(groups), [options], alternatives | with /weights/ that are integers, <NULL>, and // comments.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np

from bark_jax.errors import TrainingError

DOMAIN = Path(__file__).with_name("domain.jsgf")  # what nano learns to say
SOUNDS = Path(__file__).with_name("sounds.jsgf")  # more words than that, for the stages that learn sounds
_HEADER = re.compile(r"#JSGF[^;]*;\s*grammar[^;]*;")
_IMPORT = re.compile(r"\s*import\s*<(\w+)\.\*>\s*;")
_TOKEN = re.compile(r"\s*(<\w+>|/\d+/|[()\[\]|;=]|[a-z']+)")


class Reference(NamedTuple):
    """A random expansion of the rule of that name."""

    rule: str


@dataclass(frozen=True, eq=False)  # compared by identity: each place in the grammar deals from a deck of its own
class Choice:
    """One of several sequences, each as often as its weight says."""

    sequences: tuple[tuple["Item", ...], ...]
    weights: tuple[int, ...]


Item: TypeAlias = str | Reference | Choice


class Span(NamedTuple):
    """Words that belong together, and the rule they are from if it is one of those asked for, else ""."""

    words: tuple[str, ...]
    rule: str


def read_grammar(path: Path = DOMAIN) -> dict[str, Choice]:
    """Rule → what it may be. Raises TrainingError naming the place that is not understood."""
    try:
        text = re.sub(r"//.*", "", path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise TrainingError(f"cannot read the grammar {path}: {error}") from error
    header = _HEADER.match(text)
    if not header:
        raise TrainingError(f"{path} does not begin as a JSGF grammar")
    rules: dict[str, Choice] = {}
    start = header.end()
    while imported := _IMPORT.match(text, start):
        rules |= read_grammar(path.with_name(f"{imported[1]}.jsgf"))
        start = imported.end()
    rules |= _Parser(path, text, start).rules()
    references = set(re.findall(r"<(\w+)>", text)) - {"NULL"}
    if missing := references - rules.keys():
        raise TrainingError(f"{path} has no rule for {', '.join(sorted(missing))}")
    return rules


class _Parser:
    def __init__(self, path: Path, text: str, start: int) -> None:
        self._path, self._text = path, text
        self._tokens = list(self._scan(start))[::-1]  # the next one last

    def _scan(self, at: int) -> Iterator[str]:
        while self._text[at:].strip():
            token = _TOKEN.match(self._text, at)
            if not token:
                raise TrainingError(f"{self._path}: not understood: {self._text[at : at + 40].strip()!r}")
            yield token[1]
            at = token.end()

    def rules(self) -> Iterator[tuple[str, Choice]]:
        while self._tokens:
            name = self._tokens.pop()
            if name == "public":
                name = self._tokens.pop()
            self._expect("=")
            yield name.strip("<>"), self._choice()
            self._expect(";")

    def _choice(self) -> Choice:
        sequences: list[tuple[Item, ...]] = []
        weights: list[int] = []
        while not sequences or self._next() == "|":
            if sequences:
                self._tokens.pop()
            weights.append(int(self._tokens.pop().strip("/")) if self._next().startswith("/") else 1)
            sequences.append(tuple(self._sequence()))
        return Choice(tuple(sequences), tuple(weights))

    def _sequence(self) -> Iterator[Item]:
        while (token := self._next()) and token not in "|)];":
            self._tokens.pop()
            if token == "(":
                yield self._choice()
                self._expect(")")
            elif token == "[":
                inner = self._choice()
                yield Choice(((), (inner,)), (1, 1))
                self._expect("]")
            elif token.startswith("<"):
                if token != "<NULL>":
                    yield Reference(token.strip("<>"))
            else:
                yield token

    def _next(self) -> str:
        return self._tokens[-1] if self._tokens else ""

    def _expect(self, token: str) -> None:
        if self._next() != token:
            raise TrainingError(
                f"{self._path}: {self._next()!r} where {token!r} must be, before {self._tokens[:-6:-1]}"
            )
        self._tokens.pop()


@dataclass(frozen=True, eq=False)
class Dealer:
    """Makes sentences of a grammar. Alternatives are dealt like cards, so that each has its turn before one repeats.

    labels: the rules whose words stay together as a Span that names them; the outermost counts.
    """

    rules: dict[str, Choice]
    rng: np.random.Generator
    labels: Collection[str] = ()
    _decks: dict[Choice, list[int]] = field(default_factory=dict, init=False)

    def deal(self, rule: str) -> list[Span]:
        """The next sentence of that rule."""
        return list(self._spans(Reference(rule)))

    def _spans(self, item: Item) -> Iterator[Span]:
        if isinstance(item, str):
            yield Span((item,), "")
        elif isinstance(item, Choice):
            for part in item.sequences[self._draw(item)]:
                yield from self._spans(part)
        elif item.rule in self.labels:
            spans = self._spans(self.rules[item.rule])
            yield Span(tuple(word for span in spans for word in span.words), item.rule)
        else:
            yield from self._spans(self.rules[item.rule])

    def _draw(self, choice: Choice) -> int:
        deck = self._decks.setdefault(choice, [])
        if not deck:
            cards = np.repeat(np.arange(len(choice.weights)), choice.weights)
            deck.extend(self.rng.permutation(cards).tolist())
        return deck.pop()


def words_of(rules: dict[str, Choice]) -> set[str]:
    """Every word of a grammar."""
    words, choices = set(), list(rules.values())
    while choices:
        for part in (part for sequence in choices.pop().sequences for part in sequence):
            if isinstance(part, Choice):
                choices.append(part)
            elif isinstance(part, str):
                words.add(part)
    return words
