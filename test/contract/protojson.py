"""ProtoJSON by Google's own Python library, over the contracts' descriptors: what ours is compared with.

Standard input: {"descriptors": PATH, "cases": [{"type", "bytes", "json"}], "refused": [{"type", "json"}]}; bytes are base64.
Standard output: {"cases": [{"json", "bytes"}], "refused": [whether it was]}: a case's message as JSON, and its JSON as a message.
"""

import base64
import json
import sys

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

asked = json.load(sys.stdin)
with open(asked["descriptors"], "rb") as file:
    files = descriptor_pb2.FileDescriptorSet.FromString(file.read())
pool = descriptor_pool.DescriptorPool()
for each in files.file:
    pool.Add(each)


def empty(name):
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))()


def parsed(name, text):
    return json_format.Parse(text, empty(name), descriptor_pool=pool)


def compared(case):
    message = empty(case["type"])
    message.MergeFromString(base64.b64decode(case["bytes"]))
    text = json_format.MessageToJson(message, always_print_fields_with_no_presence=True, descriptor_pool=pool)
    read = parsed(case["type"], case["json"])
    return {"json": text, "bytes": base64.b64encode(read.SerializeToString(deterministic=True)).decode()}


def is_refused(case):
    try:
        parsed(case["type"], case["json"])
    except json_format.ParseError:
        return True
    return False


answer = {
    "cases": [compared(case) for case in asked["cases"]],
    "refused": [is_refused(case) for case in asked["refused"]],
}
json.dump(answer, sys.stdout)
