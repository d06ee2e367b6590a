"""Verifies what Sigil signs with pycose: statements and COSE receipts.

Reads one JSON object a line (byte strings in hexadecimal), answers "ok" or "refused: why". The root of a receipt is
computed here, as RFC 9162, section 2.1.3.2, says.
"""

import json
import sys
from hashlib import sha256

import cbor2
from pycose.keys import OKPKey
from pycose.keys.curves import Ed25519
from pycose.messages import Sign1Message


def require(condition, why):
    if not condition:
        raise ValueError(why)


def key_of(question):
    return OKPKey(crv=Ed25519, x=bytes.fromhex(question["key"]))


def parts_of(question):
    tag = cbor2.loads(bytes.fromhex(question["bytes"]))
    require(tag.tag == 18, "no COSE_Sign1")
    # cbor2 from 6 on gives what stands inside of a tag as immutable values, which pycose does not know.
    protected, unprotected, payload, signature = tag.value
    return [protected, dict(unprotected), payload, signature]


def verify_sign1(parts, question):
    message = Sign1Message.from_cose_obj(parts, True)
    message.key = key_of(question)
    require(message.verify_signature(), "the signature does not verify")


def statement(question):
    verify_sign1(parts_of(question), question)


def node(left, right):
    return sha256(b"\x01" + left + right).digest()


def root_of(size, index, path, leaf):
    require(index < size, "the index is not below the size")
    fn, sn, root = index, size - 1, leaf
    for sibling in path:
        require(sn != 0 and len(sibling) == 32, "the path is too long, or holds what is no hash")
        if fn & 1 or fn == sn:
            root = node(sibling, root)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            root = node(root, sibling)
        fn, sn = fn >> 1, sn >> 1
    require(sn == 0, "the path is too short")
    return root


def receipt(question):
    protected, unprotected, payload, signature = parts_of(question)
    header = cbor2.loads(protected)
    require(header[395] == 1, "395 is not RFC9162_SHA256")
    require(header[15][1] == question["origin"], "the issuer is not the origin")
    require(payload is None, "the payload is not detached")
    (proof,) = unprotected[396][-1]
    size, index, path = cbor2.loads(proof)
    require(header[15][2] == f"checkpoint/{size}", "the subject is of another size")
    leaf = sha256(b"\x00" + bytes.fromhex(question["entry"])).digest()
    root = root_of(size, index, path, leaf)
    verify_sign1([protected, {}, root, signature], question)


KINDS = {"statement": statement, "receipt": receipt}

for line in sys.stdin:
    asked = json.loads(line)
    try:
        KINDS[asked["kind"]](asked)
        print("ok", flush=True)
    except Exception as error:  # whatever goes wrong is a refusal
        print(f"refused: {error}", flush=True)
