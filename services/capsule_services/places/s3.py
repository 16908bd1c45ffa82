"""A place in an object store that speaks S3; who we are and where it is, the usual ``AWS_...`` variables say."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Self

import attrs
import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

from capsule_core.errors import ResourceMissing
from capsule_services.places.faults import PlaceRefused, PlaceUnavailable

__all__ = ["S3Place"]

_MISSING: Final = {"NoSuchKey", "404", "NotFound"}
_REFUSED: Final = {"AccessDenied", "InvalidAccessKeyId", "NoSuchBucket", "SignatureDoesNotMatch", "403"}
_CONFIG: Final = Config(
    connect_timeout=5,
    read_timeout=60,
    retries={"max_attempts": 4, "mode": "standard"},
    request_checksum_calculation="when_required",  # other stores than the first do not know them
    response_checksum_validation="when_required",
)
_HURRIED: Final = _CONFIG.merge(
    Config(connect_timeout=2, read_timeout=5, retries={"max_attempts": 1, "mode": "standard"})
)


@attrs.frozen
class S3Place:
    """The objects of *bucket* whose keys begin with *prefix*."""

    bucket: str
    prefix: str
    client: Any = attrs.field(repr=False)

    @classmethod
    def at(cls, address: str, *, patient: bool = True) -> Self:
        """Open the place that ``s3://BUCKET/PREFIX`` names.

        Raises:
            PlaceRefused: it names no bucket, or nothing says where and who we are.
        """
        bucket, _, prefix = address.removeprefix("s3://").partition("/")
        if not bucket:
            raise PlaceRefused(address, "it names no bucket")
        try:
            client = boto3.client("s3", config=_CONFIG if patient else _HURRIED)
        except (BotoCoreError, ValueError) as error:
            raise PlaceRefused(address, _why(error)) from None
        return cls(bucket, f"{prefix.strip('/')}/" if prefix.strip("/") else "", client)

    def put(self, name: str, data: bytes) -> None:
        """Keep an object."""
        with self._told():
            self.client.put_object(Bucket=self.bucket, Key=self.prefix + name, Body=data)

    def get(self, name: str) -> bytes:
        """Return an object."""
        with self._told():
            answer = self.client.get_object(Bucket=self.bucket, Key=self.prefix + name)
            data: bytes = answer["Body"].read()
        return data

    def names(self, prefix: str) -> Sequence[str]:
        """Name the objects whose names begin with *prefix*, in order."""
        with self._told():
            pages = self.client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=self.prefix + prefix
            )
            keys = [each["Key"] for page in pages for each in page.get("Contents", ())]
        return sorted(key.removeprefix(self.prefix) for key in keys)

    def remove(self, name: str) -> None:
        """Let go of an object."""
        with self._told():
            self.client.delete_object(Bucket=self.bucket, Key=self.prefix + name)

    @contextmanager
    def _told(self) -> Generator[None]:
        """Say what went wrong as the other places do."""
        place = f"s3://{self.bucket}/{self.prefix}"
        try:
            yield
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code in _MISSING:
                raise ResourceMissing("object") from None
            raise (PlaceRefused if code in _REFUSED else PlaceUnavailable)(place, code or "it failed") from None
        except HTTPClientError as error:
            raise PlaceUnavailable(place, _why(error)) from None
        except BotoCoreError as error:
            raise PlaceRefused(place, _why(error)) from None


def _why(error: Exception) -> str:
    """Name the kind of error alone: its words may hold addresses and keys."""
    return type(error).__name__
