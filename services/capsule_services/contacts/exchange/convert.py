"""Formats, layouts and reports of the wire."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

from capsule_api.contacts.v1 import contacts_pb2 as pb
from capsule_core.contacts import Person
from capsule_core.errors import InvalidField
from capsule_core.export import csv, google, json, outlook, vcard
from capsule_services.contacts.names import parsed_user
from capsule_services.contacts.parcels import Incoming, Reader, Report, Writer

__all__ = ["data_of", "incoming_from", "report_to", "writer_of"]

_READERS: Final[dict[int, Reader]] = {
    pb.ImportContactsRequest.GOOGLE_CSV: google.read,
    pb.ImportContactsRequest.OUTLOOK_CSV: outlook.read,
    pb.ImportContactsRequest.VCARD: partial(vcard.read, photo_id=lambda number: f"p{number}"),
}
_WRITERS: Final[dict[int, Writer]] = {
    pb.ExportContactsRequest.JSON: json.write,
    pb.ExportContactsRequest.CSV: csv.write,
    pb.ExportContactsRequest.VCARD: vcard.write,
}


def incoming_from(header: pb.ImportContactsRequest.Header, *, owner: str, run: str) -> Incoming:
    """Read what an import begins with; *owner* and *run* stand in for what it leaves out.

    Raises:
        InvalidField: the layout is none that can be read, or no contact could have the tags.
    """
    if header.layout not in _READERS:
        raise InvalidField("header.layout", "must be GOOGLE_CSV, OUTLOOK_CSV or VCARD")
    try:
        Person(id="", given_name="anybody", tags=tuple(header.tags))
    except InvalidField as error:
        raise InvalidField(f"header.{error.field}", error.problem) from None
    return Incoming(
        owner=parsed_user(header.owner, field="header.owner") or owner,
        tags=tuple(header.tags),
        run=header.request_id or run,
        read=_READERS[header.layout],
    )


def writer_of(format_: int) -> Writer:
    """Return what writes a format.

    Raises:
        InvalidField: it is none that can be written.
    """
    if format_ not in _WRITERS:
        raise InvalidField("format", "must be JSON, CSV or VCARD")
    return _WRITERS[format_]


def data_of(messages: Iterator[pb.ImportContactsRequest]) -> Iterator[bytes]:
    """Give the pieces of the file that follow the header.

    Raises:
        InvalidField: a second header came.
    """
    for message in messages:
        if message.WhichOneof("part") != "data":
            raise InvalidField("data", "is what every message after the first must carry")
        yield message.data


def report_to(report: Report) -> pb.ImportReport:
    """Write what became of the rows."""
    return pb.ImportReport(
        created=report.created,
        already_applied=report.already_applied,
        refused=report.refused,
        refused_rows=[
            pb.ImportReport.RefusedRow(row=row.number, reason=row.reason, field=row.field, message=row.problem)
            for row in report.refused_rows
        ],
    )
