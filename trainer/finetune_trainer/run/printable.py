"""Text of users as it may be shown: visible characters as they are, all others as escapes."""

import unicodedata

_JOINERS = "\u200c\u200d"
"""Invisible characters that words of Persian, Hindi and others need."""


def printable(text: str, *, keep: str = "") -> str:
    r"""Return a text in which no character moves the cursor, colours, breaks the line or changes
    the direction of writing: such ones are escapes, as in \x1b; those in `keep` are not.
    """
    if text.isprintable():
        return text
    return "".join(each if each in keep or _is_visible(each) else _escape(each) for each in text)


def _is_visible(character: str) -> bool:
    is_space = unicodedata.category(character) == "Zs"
    return character.isprintable() or is_space or character in _JOINERS


def _escape(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a file name that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()
