"""Input made from real samples by damage, as Hypothesis draws it: what stands in where coverage cannot guide."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from hypothesis import strategies as st

__all__ = ["TOKENS", "damaged"]

TOKENS: Final = (
    *(b"\0", b"\xff", b"\xff\xfe", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\xc0\x80", "\u202e".encode(), "﷽".encode()),
    *(b"\r", b"\n", b"\r\n", b"\r\n ", b"\t", b" ", b'"', b"'", b"\\", b"/", b"..", b":", b";", b",", b"=", b"@", b"+"),
    *(b"{", b"}", b"[", b"]", b"null", b"true", b"NaN", b"1e999", b"-1", b"0", b"1.0", b"\\ud800", b"[" * 3000),
    *(b"9" * 20, b"9" * 5000, b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"\xff" * 9, b"2026-02-30", b"T24:00:00Z"),
    *(b"BEGIN:VCARD\r\n", b"END:VCARD\r\n", b"tenants/t/", "\N{EM DASH} ".encode(), b"A" * 300, b"=?utf-8?Q?=41?="),
)
"""What parsers of every kind trip over."""

_Edit = Callable[[bytes], bytes]
_PLACES: Final = st.floats(0, 1, allow_nan=False)


def damaged(samples: Sequence[bytes], *, longest: int) -> st.SearchStrategy[bytes]:
    """Make bytes of *samples*: as they are, damaged in a few places, or of nothing at all."""
    whole = st.sampled_from(list(samples))
    edits = st.lists(_edits(whole), min_size=1, max_size=4)
    made = st.tuples(whole, edits).map(lambda drawn: _edited(*drawn))
    return st.one_of(made, made, made, whole, st.binary(max_size=300)).map(lambda data: data[:longest])


def _edited(data: bytes, edits: Sequence[_Edit]) -> bytes:
    for edit in edits:
        data = edit(data)
    return data


def _edits(whole: st.SearchStrategy[bytes]) -> st.SearchStrategy[_Edit]:
    fresh = st.sampled_from(TOKENS) | st.binary(min_size=1, max_size=8)
    return st.one_of(
        st.builds(_turned, _PLACES, st.integers(0, 7)),
        st.builds(_replaced, _PLACES, st.integers(0, 4) | st.integers(0, 400), fresh | st.just(b"")),
        st.builds(_replaced, _PLACES, st.just(0), fresh),
        st.builds(_repeated, _PLACES, st.integers(1, 60), st.integers(1, 40)),
        st.builds(_continued, _PLACES, _PLACES, whole),
    )


def _turned(place: float, bit: int) -> _Edit:
    def edit(data: bytes) -> bytes:
        at = int(place * (len(data) - 1))
        return data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :] if data else data

    return edit


def _replaced(place: float, count: int, fresh: bytes) -> _Edit:
    def edit(data: bytes) -> bytes:
        at = int(place * len(data))
        return data[:at] + fresh + data[at + count :]

    return edit


def _repeated(place: float, count: int, times: int) -> _Edit:
    def edit(data: bytes) -> bytes:
        at = int(place * len(data))
        return data[:at] + data[at : at + count] * times + data[at + count :]

    return edit


def _continued(place: float, there: float, other: bytes) -> _Edit:
    def edit(data: bytes) -> bytes:
        return data[: int(place * len(data))] + other[int(there * len(other)) :]

    return edit
