"""Sizes as people write them, and as they are shown."""

import pytest

from runtime.sizes import parse_size, size_text


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("7b", 7), ("512m", 512 << 20), ("512M", 512 << 20), ("2gb", 2 << 30), ("1.5k", 1536), ("1p", 1 << 50)],
)
def test_a_size_is_a_number_and_a_unit_of_which_each_is_1024_of_the_one_before(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "m", "-1", "1x", "1.2.3k", "1 k", "0x10", "٣m"])
def test_what_is_no_size_is_refused_by_its_text(text: str) -> None:
    with pytest.raises(ValueError, match="isn't a size such as 512m") as refusal:
        parse_size(text)
    assert repr(text) in str(refusal.value)


@pytest.mark.parametrize(
    ("size", "digits", "text"),
    [(0, 3, "0B"), (999, 3, "999B"), (1500, 3, "1.5kB"), (12_345_678, 3, "12.3MB"), (2**63, 4, "9.223EB")],
)
def test_a_size_is_shown_by_its_first_digits_and_powers_of_a_thousand(size: int, digits: int, text: str) -> None:
    assert size_text(size, digits) == text
