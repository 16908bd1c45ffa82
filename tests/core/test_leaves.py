"""The leaf of a call, written by hand because every answer waits for it: the same bytes as the general way writes."""

from __future__ import annotations

import hmac
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsule_core.blind import commitment
from capsule_core.checkpoints import canonical, stamp
from capsule_core.errors import InvalidField
from capsule_core.ledger import Leaf

AT = datetime(2026, 5, 4, tzinfo=UTC)
words = st.from_regex(r"[A-Za-z][A-Za-z0-9_.:/-]{0,63}", fullmatch=True)
hashes = st.from_regex(r"[0-9a-f]{16,128}", fullmatch=True)
leaves = st.builds(
    Leaf,
    at=st.datetimes(timezones=st.timezones()),
    tenant=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", fullmatch=True),
    act=words,
    use=words,
    actor=hashes,
    subjects=st.lists(hashes, max_size=4).map(tuple),
    records=st.integers(0, 1 << 70),
    detail=st.dictionaries(words, st.from_regex(r"[A-Za-z0-9_.,:;/+=-]{0,256}", fullmatch=True), max_size=4),
)


@given(leaves)
def test_a_leaf_is_written_in_canonical_json_and_read_back(leaf: Leaf) -> None:
    told = {name: getattr(leaf, name) for name in ("tenant", "act", "use", "actor", "subjects", "records")}
    written = canonical({**told, "at": stamp(leaf.at), "detail": dict(leaf.detail), "v": 1})
    assert leaf.encode() == written
    assert Leaf.decode(written) == leaf


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("subjects", ("a" * 15,)),
        ("subjects", ("",)),
        ("subjects", ("a" * 16, "A" * 16)),
        ("subjects", ("a" * 16 + "\n",)),
        ("actor", 'a"' * 8),
        ("act", 'a"b'),
        ("use", "a\\b"),
        ("detail", {"a": 'b"'}),
        ("detail", {'a"': "b"}),
        ("records", True),
    ],
)
def test_a_leaf_holds_nothing_that_would_have_to_be_escaped(field: str, wrong: Any) -> None:
    leaf: dict[str, Any] = {"act": "a", "use": "u", "actor": "0" * 16, field: wrong}
    with pytest.raises(InvalidField) as refused:
        Leaf(at=AT, tenant="acme", **leaf)
    assert refused.value.field == field


@given(st.binary(min_size=32, max_size=32), st.text(max_size=200))
def test_a_commitment_is_half_an_hmac_with_sha_256(salt: bytes, text: str) -> None:
    assert commitment(salt, text) == hmac.digest(salt, text.encode(), "sha256")[:16].hex()
