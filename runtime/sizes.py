"""Sizes as people write them, 512m, and as they are shown, 1.5kB."""

_LETTERS = "bkmgtp"
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB")


def parse_size(text: str) -> int:
    """Bytes: a number, perhaps with b, k, m, g, t or p behind it, powers of 1024; `mb` is `m`. Raises ValueError."""
    number = text.lower()
    if number[-2:-1].isalpha():
        number = number.removesuffix("b")  # as in mb
    power = _LETTERS.find(number[-1:]) if number[-1:].isalpha() else 0
    number = number[:-1] if number[-1:].isalpha() else number
    if power < 0 or not number.replace(".", "", 1).isdigit() or not number.isascii():
        raise ValueError(f"{text!r} isn't a size such as 512m or 2g")
    return int(float(number) * 1024**power) if "." in number else int(number) * 1024**power


def size_text(size: int, digits: int = 3) -> str:
    """Bytes as Docker shows them: so many digits, powers of a thousand."""
    amount, power = float(size), 0
    while amount >= 1000 and power < len(_UNITS) - 1:
        amount, power = amount / 1000, power + 1
    return f"{amount:.{digits}g}{_UNITS[power]}"
