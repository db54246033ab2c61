"""What a terminal sends, as names of keys."""

from __future__ import annotations

import codecs
import re

_NAMES = {
    "A": "up", "B": "down", "C": "right", "D": "left", "H": "home", "F": "end",
    "1~": "home", "7~": "home", "4~": "end", "8~": "end", "5~": "pageup", "6~": "pagedown",
}  # fmt: skip
_CONTROLS = {"\r": "enter", "\n": "enter", "\x7f": "backspace", "\x08": "backspace", "\x0c": "redraw"}
_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|O[ -~])")
_BEGUN = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|O)?")


class Keys:
    """Takes bytes as they come, and gives the keys: characters as they are, others by name.

    Names are ``up``, ``down``, ``left``, ``right``, ``home``, ``end``, ``pageup``, ``pagedown``,
    ``enter``, ``backspace``, ``escape`` and ``redraw`` (Ctrl-L). Sequences of other keys are dropped.
    """

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._text = ""

    @property
    def waiting(self) -> bool:
        """Whether a sequence has begun: if nothing follows soon, call :meth:`end`."""
        return bool(self._text)

    def feed(self, data: bytes) -> list[str]:
        """The keys that are complete with *data*."""
        self._text += self._decode(data)
        keys = []
        while self._text and not _BEGUN.fullmatch(self._text):
            sequence = _SEQUENCE.match(self._text)
            length = sequence.end() if sequence else 1
            keys.append(_name(self._text[:length]))
            self._text = self._text[length:]
        return [key for key in keys if key]

    def end(self) -> list[str]:
        """Nothing came after the beginning of a sequence: it was the Escape key."""
        text, self._text = self._text, ""
        return ["escape"] if text == "\x1b" else []


def _name(text: str) -> str:
    if text == "\x1b":
        return "escape"
    if text.startswith("\x1b"):
        return _NAMES.get(text[2:], "")
    return _CONTROLS.get(text, text)
