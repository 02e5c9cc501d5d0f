"""argparse with one-line errors that suggest what was meant."""

import argparse
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from bark_jax.quoting import did_you_mean

EXIT_CODES_HELP = (
    "Exit codes: 0 done; 2 bad usage or input; 3 a file cannot be read or written; 4 no usable model; 5 training "
    "diverged; 6 a player or the reader of a stream stopped early (all files are written in full); 130 interrupted."
)

_NEGATIVE = re.compile(r"-\d*\.?\d+")  # a number, not an option


class Parser(argparse.ArgumentParser):
    """Errors are one line, and name near options and choices; its subcommands' parsers are of the same class."""

    def error(self, message: str) -> NoReturn:
        """Exit code 2 and the message, with the way to the help instead of all usage."""
        if message.startswith("unrecognized arguments"):
            message += "; quote what has spaces"
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")

    def parse_known_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """As argparse does, after a look for misspelled options: it would only list the required ones."""
        args = sys.argv[1:] if args is None else list(args)
        for argument in args:
            if argument == "--" or argument in self._commands():
                break
            if not self._is_known(argument):
                self.error(self._describe_unknown(argument))
        return super().parse_known_args(args, namespace)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """A choice that there is not, with the nearest one there is."""
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            error.message += did_you_mean(str(value), map(str, action.choices or ()))
            raise

    def _commands(self) -> list[str]:
        """Its subcommands: what stands behind one of them is for the parser of that one."""
        groups = (action for action in self._actions if isinstance(action, argparse._SubParsersAction))
        return [name for group in groups for name in group.choices]

    def _is_known(self, argument: str) -> bool:
        """Whether it is an option, the beginning of one, or no option at all."""
        if not argument.startswith("-") or argument == "-" or " " in argument or _NEGATIVE.fullmatch(argument):
            return True
        if argument.startswith("--"):
            name = argument.partition("=")[0]
            return any(option.startswith(name) for option in self._option_string_actions)
        short = self._option_string_actions.get(argument[:2])
        return short is not None and (len(argument) == 2 or short.nargs != 0)  # -oFILE

    def _describe_unknown(self, argument: str) -> str:
        name = argument.partition("=")[0]
        options = [option for option in self._option_string_actions if option.startswith("--")]
        near = did_you_mean("--" + name.lstrip("-"), options)
        message = f"there is no option {name}{near}"
        if not (near and argument.startswith("--")) and any(
            not action.option_strings and action.choices is None for action in self._actions
        ):
            message += f"; a text or name that begins with - goes last, behind --: {self.prog} -- {argument}"
        return message
