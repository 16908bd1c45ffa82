"""Formats, layouts and reports of the wire."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Final

from capsule_api.contacts.v1 import contacts_pb2 as pb
from capsule_core.contacts import Person
from capsule_core.errors import InvalidField
from capsule_core.export import Record, csv, google, json, outlook, vcard
from capsule_core.names import TenantId, micros
from capsule_core.records import Sealed
from capsule_services.contacts.names import contact_name, parsed_user
from capsule_services.contacts.parcels import Form, Incoming, Part, Reader, Report
from capsule_services.runtime.packing import packed

__all__ = ["data_of", "form_of", "incoming_from", "records_to", "report_to"]

_READERS: Final[dict[int, Reader]] = {
    pb.ImportContactsRequest.GOOGLE_CSV: google.read,
    pb.ImportContactsRequest.OUTLOOK_CSV: outlook.read,
    pb.ImportContactsRequest.VCARD: partial(vcard.read, photo_id=lambda number: f"p{number}"),
}


def _table(records: Iterable[Record], *, begins: bool, ends: bool) -> Iterator[bytes]:  # noqa: ARG001  it has no end
    return csv.write(records, begins=begins)


def _cards(records: Iterable[Record], *, begins: bool, ends: bool) -> Iterator[bytes]:  # noqa: ARG001  nor a beginning
    return vcard.write(records)


_FORMS: Final[dict[int, Form]] = {
    pb.ExportContactsRequest.JSON: Form(json.write, ("entry", "photo")),
    pb.ExportContactsRequest.CSV: Form(_table),
    pb.ExportContactsRequest.VCARD: Form(_cards, ("photo",)),
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


def form_of(format_: int) -> Form | None:
    """Return how a format is written; None if the records go out as they are.

    Raises:
        InvalidField: it is none that can be written.
    """
    if format_ == pb.ExportContactsRequest.RECORDS:
        return None
    form = _FORMS.get(format_)
    if form is None:
        raise InvalidField("format", "must be JSON, CSV, VCARD or RECORDS")
    return form


def records_to(tenant: TenantId, part: Part, token: str) -> Iterator[pb.ExportContactsResponse]:
    """Write a part as records, in one message if they are not very large; *token* goes with the last."""
    loads = list(packed([*part.contacts, *part.belongings], lambda each: len(each[1]))) or [[]]
    for number, load in enumerate(loads, 1):
        yield pb.ExportContactsResponse(
            records=[_record_to(tenant, *each) for each in load], next_page_token=token if number == len(loads) else ""
        )


def _record_to(tenant: TenantId, record: Sealed, contents: bytes) -> pb.ExportContactsResponse.Record:
    message = pb.ExportContactsResponse.Record(
        name=contact_name(tenant, record.root), kind=record.kind, content=contents
    )
    message.create_time.FromMicroseconds(micros(record.created))
    message.update_time.FromMicroseconds(micros(record.updated))
    return message


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
