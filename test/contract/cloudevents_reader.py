"""Events that a relay published, read by CloudEvents' own Python library.

Standard input: {"events": [{"headers", "kafka", "body", "line"}]}; bodies are base64, lines structured mode.
Standard output: {"events": [{"binary", "kafka", "structured"}]}: attributes and data (base64 where it is bytes).
"""

import base64
import json
import sys
from datetime import datetime

from cloudevents.core.bindings import kafka
from cloudevents.core.bindings.http import HTTPMessage, from_binary
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent


def plain(value):
    if isinstance(value, datetime):
        return {"time_ms": round(value.timestamp() * 1000)}
    return {"bytes": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def shown(event):
    attributes = {name: plain(value) for name, value in event.get_attributes().items()}
    return {"attributes": attributes, "data": plain(event.get_data())}


def read(event):
    headers = dict(event["headers"])
    # The binding to NATS names the type of the data as any attribute; the library's, to HTTP, by HTTP's own header.
    if "ce-datacontenttype" in headers:
        headers["content-type"] = headers.pop("ce-datacontenttype")
    body = base64.b64decode(event["body"])
    message = HTTPMessage(headers=headers, body=body)
    values = {name: value.encode() for name, value in event["kafka"]}
    record = kafka.KafkaMessage(headers=values, key=None, value=body)
    return {
        "kafka": shown(kafka.from_binary(record, JSONFormat(), CloudEvent)),
        "binary": shown(from_binary(message, JSONFormat(), CloudEvent)),
        "structured": shown(JSONFormat().read(CloudEvent, event["line"])),
    }


json.dump({"events": [read(event) for event in json.load(sys.stdin)["events"]]}, sys.stdout)
