"""Moto's server, which speaks DynamoDB's protocol, for tests: `server.py -H 127.0.0.1 -p PORT`, as moto_server.

Moto copies every table of a transaction once an item, to undo a transaction that fails: here only the items that it
names are. It looks up every attribute of an answer under several names, measures an item anew for each attribute and
each question, turns the whole item into Python's values and back for each attribute that is asked for, copies what it
answers down to the last value, and sorts the whole table for each query: here it does not, and sizes are for the proxy
in front of it. And what DynamoDB does, and Moto does not: a transaction whose token was seen is done once.
"""

import base64
import copy
import threading
import types

from moto.core.serialize import BaseJSONSerializer
from moto.dynamodb import models, responses
from moto.dynamodb.models import DynamoDBBackend, table as tables
from moto.dynamodb.models.dynamo_type import DynamoType, Item, LimitedSizeDict
from moto.dynamodb.models.table import Table
from moto.moto_server.werkzeug_app import MotoRequestHandler
from moto.server import main

mutex = threading.Lock()
done: set[str] = set()

# A table is its own backup: what is undone is undone below.
models.copy = types.SimpleNamespace(
    copy=copy.copy,
    deepcopy=lambda value: value if isinstance(value, Table) else copy.deepcopy(value),
)


def place_of(backend, operation):
    table = backend.tables.get(operation.get("TableName"))
    attributes = operation.get("Key") or operation.get("Item")
    if table is None or table.range_key_attr is None:
        return None
    names = (table.hash_key_attr, table.range_key_attr)
    if attributes is None or any(name not in attributes for name in names):
        return None
    return (table, *(DynamoType(attributes[name]) for name in names))


write = DynamoDBBackend.transact_write_items


def write_undone(self, transact_items):
    places = [place_of(self, next(iter(item.values()))) for item in transact_items]
    kept = [
        (*place, copy.deepcopy(place[0].items[place[1]].get(place[2])))
        for place in places
        if place is not None and place[1] in place[0].items
    ]
    absent = [place for place in places if place is not None and place[1] not in place[0].items]
    try:
        write(self, transact_items)
    except BaseException:
        for table, pk, sk in absent:
            table.items.pop(pk, None)
        for table, pk, sk, item in kept:
            if item is None:
                table.items[pk].pop(sk, None)
            else:
                table.items[pk][sk] = item
        raise


DynamoDBBackend.transact_write_items = write_undone

answer = responses.DynamoHandler.transact_write_items


def answer_once(self):
    token = self.body.get("ClientRequestToken")
    if token in done:
        return responses.ActionResult({})
    result = answer(self)
    if token is not None:
        done.add(token)
    return result


responses.DynamoHandler.transact_write_items = answer_once

dispatch = responses.DynamoHandler.call_action


def one_at_a_time(self, *given, **named):
    with mutex:
        return dispatch(self, *given, **named)


responses.DynamoHandler.call_action = one_at_a_time

LimitedSizeDict.__setitem__ = dict.__setitem__


def plain(value):
    kind, inner = (value.type, value.value) if isinstance(value, DynamoType) else next(iter(value.items()))
    if kind == "B" and isinstance(inner, bytes):
        inner = base64.b64encode(inner).decode()
    elif kind == "L":
        inner = [plain(item) for item in inner]
    elif kind == "M":
        inner = {key: plain(item) for key, item in inner.items()}
    return {kind: inner}


query_all = Table.query


def query(self, hash_key, range_comparison, range_objs, limit, exclusive_start_key, scan_index_forward,
          projection_expressions, index_name=None, *given, **named):
    """Of one key's items, instead of all items of the table in order."""
    all_of = self.items.values() if index_name is not None else [self.items.get(hash_key, {})]
    self.all_items = lambda: [item for items in all_of for item in items.values()]
    try:
        return query_all(self, hash_key, range_comparison, range_objs, limit, exclusive_start_key,
                         scan_index_forward, projection_expressions, index_name, *given, **named)
    finally:
        del self.all_items


Table.query = query
Table.all_items = lambda self: sorted(
    (item for items in self.items.values() for item in items.values()),
    key=lambda item: (item.hash_key.value, item.range_key.value),
)

measure = Item.size


def size(self):
    if "measured" not in self.__dict__:
        self.measured = measure(self)
    return self.measured


Item.size = size

update = DynamoDBBackend.update_item


def update_item(self, *given, **named):
    item = update(self, *given, **named)
    item.__dict__.pop("measured", None)
    return item


DynamoDBBackend.update_item = update_item


def with_attributes(item, attributes):
    """The same values: requests come one at a time, and each is answered before the next changes one."""
    made = Item(item.hash_key, item.range_key, {})
    made.attrs.update(attributes)
    return made


def copied(value):
    if isinstance(value, Item):
        return with_attributes(value, value.attrs)
    if isinstance(value, list) and value and isinstance(value[0], Item):
        return [with_attributes(item, item.attrs) for item in value]
    return copy.deepcopy(value)


tables.copy = types.SimpleNamespace(copy=copy.copy, deepcopy=copied)

project_nested = Item.project


def project(self, paths):
    if any(len(path) > 1 or "[" in path[0] for path in paths):
        return project_nested(self, paths)
    return with_attributes(self, {name: self.attrs[name] for [name] in paths if name in self.attrs})


Item.project = project

serialize_structure = BaseJSONSerializer._serialize_type_structure


def serialize(self, serialized, value, shape, key):
    if shape.name == "AttributeValue":
        serialized[key] = plain(value)
    else:
        serialize_structure(self, serialized, value, shape, key)


BaseJSONSerializer._serialize_type_structure = serialize

# Connections are kept, as DynamoDB's are.
MotoRequestHandler.protocol_version = "HTTP/1.1"

if __name__ == "__main__":
    main()
