"""The search for words on a disk finds them however they were written, and nothing that is not there."""

from __future__ import annotations

import base64
import gzip
import io
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsule_services.demo.forensics import search, variants

WORD = "Mossgrindle"


def zipped(content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", content)
    return file.getvalue()


WAYS: dict[str, Callable[[bytes], bytes]] = {
    "raw": bytes,
    "upper": bytes.upper,
    "base64": base64.b64encode,
    "base64, of the url": base64.urlsafe_b64encode,
    "base64, without its end": lambda content: base64.b64encode(content).rstrip(b"="),
    "hexadecimal": lambda content: content.hex().encode(),
    "zlib": zlib.compress,
    "gzip": gzip.compress,
    "zip": zipped,
}


def found(folder: Path, content: bytes, *words: str | bytes) -> set[str | bytes]:
    (folder / "file").write_bytes(content)
    return {finding.word for finding in search(folder, words)}


@pytest.mark.parametrize("outer", list(WAYS))
@pytest.mark.parametrize("inner", list(WAYS))
def test_a_word_is_found_in_any_way_of_writing_within_any_other(tmp_path: Path, inner: str, outer: str) -> None:
    if (inner, outer) != ("base64", "upper") and not (outer == "upper" and inner != "raw"):
        content = WAYS[outer](WAYS[inner](f"before {WORD} after, and more of it".encode()))
        assert found(tmp_path, content, WORD, "Thornquibbel") == {WORD}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be", "latin-1"])
@pytest.mark.parametrize("word", [WORD, "Nîmes-Straße"])
def test_a_word_is_found_in_every_encoding_and_in_lower_case(tmp_path: Path, encoding: str, word: str) -> None:
    assert found(tmp_path, b"\x00\xff" + f"..{word.lower()}..".encode(encoding), word) == {word}


@given(before=st.binary(max_size=20), after=st.binary(max_size=20), cut=st.integers(0, 3))
def test_base64_is_read_wherever_its_groups_of_four_begin(
    tmp_path_factory: pytest.TempPathFactory, before: bytes, after: bytes, cut: int
) -> None:
    written = base64.b64encode(before + f" {WORD} ".encode() + after)
    content = b"{" + b"A" * cut + written + b"}"
    assert found(tmp_path_factory.mktemp("disk"), content, WORD) == {WORD}


@pytest.mark.parametrize("before", ["", "a", "ab", "abc"])
@pytest.mark.parametrize("after", ["", "f", "ff"])
def test_hexadecimal_is_read_wherever_its_pairs_begin(tmp_path: Path, before: str, after: str) -> None:
    content = f"({before}{WORD.encode().hex()}{after})".encode()
    assert found(tmp_path, content, WORD) == {WORD}


def test_what_is_not_there_is_not_found_and_broken_streams_stop_nothing(tmp_path: Path) -> None:
    broken = zlib.compress(WORD.encode() * 3)[:-9][:6] + b"\x1f\x8b\x08\x00PK\x03\x04\x00" + b"A" * 31
    assert found(tmp_path, broken, WORD) == set()
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "deeper").write_bytes(WORD.encode())
    assert [finding.path.name for finding in search(tmp_path, [WORD])] == ["deeper"]


@pytest.mark.parametrize("way", list(WAYS))
@pytest.mark.parametrize("much", [0, 1 << 17])
def test_a_key_is_found_as_a_word_is_in_much_or_little(tmp_path: Path, way: str, much: int) -> None:
    key = bytes(range(200, 232))
    content = bytes(much) + WAYS[way](b"before " + key + b" after, and more of it")
    assert found(tmp_path, content, key, WORD, bytes(range(100, 132))) == {key}
    assert found(tmp_path, bytes(much) + WAYS[way](WORD.encode() * 2), key, WORD) == {WORD}


def test_of_two_files_that_are_alike_both_are_named(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(WORD.encode())
    assert [finding.path.name for finding in search(tmp_path, [WORD])] == ["a", "b"]


def test_what_an_encoding_cannot_write_is_looked_for_in_the_others() -> None:
    assert "慕".encode() in variants("慕")
    assert "慕".encode("utf-16-le") in variants("慕")
    assert b"" not in variants("慕")
