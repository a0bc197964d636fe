"""What errors say."""

from __future__ import annotations

from headrace.errors import BadInput, TooLarge, size_of


def test_no_full_stop_is_doubled() -> None:
    assert str(BadInput(detail="it is wrong.")).endswith("wrong.") and "..." in str(BadInput(detail="and so on..."))


def test_sizes_are_for_people_unless_that_hides_the_difference() -> None:
    assert [size_of(count) for count in (0, 1023, 1024, 3 * 2**30)] == ["0 bytes", "1023 bytes", "1 KiB", "3 GiB"]
    assert "6 GiB, over the limit of 1 GiB" in str(TooLarge(what="it", size=6 * 2**30, limit=2**30, setting="x"))
    assert "1,025 bytes, over the limit of 1,024 bytes" in str(TooLarge(what="it", size=1025, limit=1024, setting="x"))
