"""Verifies an evidence file of Sigil by docs/spec/verify.md, with none of its code. Of payloads it checks what it uses.
python verify.py FILE [--genesis HASH] [--policy FILE]: 0 every step holds, 1 one does not, 2 no evidence file."""
import argparse, base64, cbor2, hashlib, itertools, math, re, sys
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
LEVELS = "guest", "observer", "operator", "mentor", "root"
FEATURES = "action_risk", "target_sensitivity", "level", "rate", "entropy"
sha = lambda data: hashlib.sha256(data).digest()
verify = lambda key, message, signature: Ed25519PublicKey.from_public_bytes(key).verify(signature, message)  # Raises.
def need(holds, rule):
    if not holds: raise ValueError(rule)
def decode(data):
    need(cbor2.dumps(value := cbor2.loads(data), canonical=True) == data, "not canonical CBOR")
    return value
class Record:
    def __init__(self, position, envelope, path):
        self.position, self.envelope, self.path, statement = position, envelope, path, decode(decode(envelope)[0])
        self.protected, unprotected, self.payload, self.signature = statement.value
        header = decode(self.protected)
        is_record = header[1] == -8 and header[3] == "application/vnd.sigil.record.v1+cbor" and len(header) == 4
        need(statement.tag == 18 and unprotected == {} and is_record, "a statement that is not over a record")
        self.kid, self.origin, self.subject, self.hash = header[4], header[15][1], header[15][2], sha(self.payload)
        self.is_of_keys = position == 0 or re.match("system/system/(signing_key|key_retirement)/", self.subject)
        self.message = cbor2.dumps(["Signature1", self.protected, b"", self.payload])
    body = property(lambda self: decode(self.payload))
kid_of = lambda key: sha(bytes.fromhex("a301012006215820") + key)
new_key = lambda role, key, first: dict(role=role, key=key, kid=kid_of(key), first=first, last=math.inf)
def signer(ring, role, position, kid=None):
    found = [key for key in ring if key["role"] == role and key["first"] <= position <= key["last"]]
    return next(key["key"] for key in found if kid in (None, key["kid"]))
def has_line(text, lines, name, kind, key):  # Each line of the key must verify.
    key_id = sha(name.encode() + b"\n" + kind + key)[:4]
    found = [blob[4:] for said, blob in lines if said == name and blob[:4] == key_id]
    for blob in found:
        time = f'cosignature/v1\ntime {int.from_bytes(blob[:8], "big")}\n' if kind == b"\4" else ""
        verify(key, (time + text).encode(), blob[8:] if time else blob)
    return len(found) > 0
def find(table, text):  # The value of the pattern that wins.
    wild = {"**/": "(?:[^/]*/)*", "**": "[^/]*(?:/[^/]*)*", "*": "[^/]*", "%2A": "[*]"}
    regex = lambda glob: "".join(wild.get(part, re.escape(part)) for part in re.split(r"(\*\*/|\*\*|\*|%2A)", glob))
    rank = lambda glob: (-len(glob.replace("**/", "").replace("*", "").encode()), glob.count("*"), glob.encode())
    return next((table[glob] for glob in sorted(table, key=rank) if re.fullmatch(regex(glob), text, re.DOTALL)), None)
def steps(data, genesis, policy):
    yield "file"
    file = decode(data)
    need(len(data) <= 16 << 20 and file["version"] == 1, "longer than 16 MiB, or another version")
    need({*file} - {"disclosures"} == {*"version origin position checkpoint nodes records".split()}, "other fields")
    nodes, used = file["nodes"], list(dict.fromkeys(at for entry in file["records"] for at in entry["path"]))
    need(len(set(nodes)) == len(nodes) and used == list(range(len(nodes))), "nodes not there once and in order")
    records = [Record(**{**each, "path": [nodes[at] for at in each["path"]]}) for each in file["records"]]
    positions, asked, origin = [record.position for record in records], file["position"], file["origin"]
    need(positions == sorted({0, asked, *positions}), "positions that are out of order, or missing")
    text, _, lines = file["checkpoint"].rpartition("\n\n")
    size, root, text = int(text.split("\n")[1]), base64.b64decode(text.split("\n")[2]), text + "\n"
    lines = [(name, base64.b64decode(blob, validate=True)) for _, name, blob in map(str.split, lines.splitlines())]
    yield "genesis"
    first, start = records[0], records[0].body["payload"]
    need(genesis in (None, first.hash) and start["origin"] == first.origin == origin, "another genesis, or origin")
    ring = [new_key(role, start["keys"][role], 0) for role in ("record", "checkpoint")]
    verify(signer(ring, "record", 0, first.kid), first.message, first.signature)
    yield "keys"
    for record in [record for record in records[1:] if record.is_of_keys]:
        verify(signer(ring, "record", record.position, record.kid), record.message, record.signature)
        said, mine = record.body["payload"], [key for key in ring if key["role"] == record.body["payload"]["role"]]
        if record.body["kind"] == "signing_key":
            is_next = record.body["id"] == f'signing_key/{said["role"]}/{len(mine) + 1}'
            need(is_next and said["valid_from"] == record.position + 1, "not the role's next key")
            need(all(key["key"] != said["public_key"] for key in ring), "a key that the ring has")
            for before in mine[-1:]: before["last"] = record.position  # Genesis names no key of ML-DSA-44.
            ring.append(new_key(said["role"], said["public_key"], said["valid_from"]))
        else:
            (key,) = [key for key in mine if key["key"] == said["public_key"]]
            need(key["last"] < math.inf and key["first"] < said["from"] <= record.position, "no retirement")
            key["last"] = min(key["last"], said["from"] - 1)
    yield "signature"
    for record in [record for record in records if not record.is_of_keys]:
        verify(signer(ring, "record", record.position, record.kid), record.message, record.signature)
    yield "record"
    bodies = {record.position: record.body for record in records}
    body, links = bodies[asked], {link["label"]: link["target"] for link in bodies[asked]["links"]}
    chain, is_first = body["payload"] if body["kind"] == "frozen_chain" else None, body["schema_version"] == 1
    wanted = chain and (chain["model"]["hash"] if is_first else links.get("model"))
    model, named, found, subject = None, [], [], chain and chain["request"]["subject"]
    for record, body in zip(records, bodies.values()):
        payload, kind, place = body["payload"], body["kind"], f'{body["tenant"]}/{body["space"]}/'
        need((record.subject, record.origin, len(body)) == (place + body["id"], origin, 9), "another statement's body")
        if not record.is_of_keys and record.position != asked:
            name = place.replace("system/system/", "").replace("/user/", "/") + payload.get("id", body["id"][10:])
            is_subject = kind == "principal" and name == subject and (is_first or record.hash == links.get("principal"))
            is_model = kind == "trust_model" and record.hash == wanted
            need(record.position < asked and (is_subject or is_model or kind in ("quorum", "witness")), "not needed")
            named += [f"witness/{each}" for each in payload["witnesses"]] if kind == "quorum" else []
            found, model = found + [body["id"]] * (kind == "witness"), payload if is_model else model
    need(sorted(named) == sorted(found) and (model is None) == (wanted is None), "model or registry are not whole")
    yield "disclosures"
    if "disclosures" in file:
        disclosed, payload, kind = decode(file["disclosures"]), bodies[asked]["payload"], bodies[asked]["kind"]
        need(disclosed and not is_first and kind in ("frozen_chain", "module_run"), "nothing to disclose")
        facts = {f"context/{path}": commitment for path, commitment in payload.get("context", {}).items()}
        for path, each in disclosed.items():
            opened = sha(cbor2.dumps(["sigil/commitment/v1", path, each["salt"], each["value"]], canonical=True))
            need(len(each["salt"]) == 32 and opened == (facts | payload.get("request", payload))[path], "another value")
            need("raw" not in each or each["value"] == [sha(each["raw"]), len(each["raw"])], "other bytes")
    yield "inclusion"
    for record in records:
        at, node = record.position, sha(b"\0" + sha(record.envelope))
        inner = (at ^ (size - 1)).bit_length()
        need(at < size and len(record.path) == inner + bin(at >> inner).count("1"), "a path of another length")
        for height, sibling in enumerate(record.path):
            node = sha(b"\1" + (sibling + node if height >= inner or at >> height & 1 else node + sibling))
        need(node == root, "a path that does not lead to the root")
    yield "checkpoint"
    log = signer(ring, "checkpoint", size - 1)
    need(text.split("\n")[0] == origin and has_line(text, lines, origin, b"\1", log), "the log did not sign it")
    yield "policy"
    words = [line.split() for line in (policy or "").splitlines() if line.strip() and line[0] != "#"]
    holds, key_of = {"none": True}, lambda vkey: (vkey.split("+", 2)[0], base64.b64decode(vkey.split("+", 2)[2])[1:])
    need(policy is None or (origin, log) in [key_of(each[1]) for each in words if each[0] == "log"], "another log")
    for what, name, *rest in words:
        if what == "witness":
            holds[name] = has_line(text, lines, key_of(rest[0])[0], b"\4", key_of(rest[0])[1])
        elif what == "group":
            least, *members = {"all": len(rest) - 1, "any": 1}.get(rest[0]) or int(rest[0]), *rest[1:]
            holds[name] = sum(holds[member] for member in members) >= least
        need(what != "quorum" or holds[name], "the policy's quorum did not cosign")
    yield "decision"
    if chain and (model is None or chain["reason"] in ("MODEL_MISSING", "EVALUATOR_ERROR", "DEADLINE_EXCEEDED")):
        need(chain["verdict"] == "deny", "without an evaluation the only answer is a deny")
    elif chain:
        request, values, level = chain["request"], chain["features"], LEVELS.index(chain["request"]["loa"])
        rule, sensitivity = find(model["actions"], request["action"]), find(model["targets"], request["target"])
        derived = [rule["risk"] if rule else 1, 1 if sensitivity is None else sensitivity, level / 4]
        need([values[name] for name in FEATURES[:3]] == derived, "features differ")
        added = {name: model["weights"][name] * values[name] for name in FEATURES}
        *_, z = itertools.accumulate([model["bias"], *added.values()])
        need(chain["contributions"] == added and chain["z"] == z, "contributions or z differ")
        meets = lambda score: z >= math.log(score / (1 - score))  # docs/spec/trust.md §4 has it to the last bit.
        band = model["review"] or {"low": model["threshold"], "high": model["threshold"]}
        floors = [LEVELS.index(each["min_loa"]) for each in (rule or {}, request) if "min_loa" in each]
        said = "allow" if meets(max(model["threshold"], band["high"])) else "review" if meets(band["low"]) else "deny"
        need(chain["verdict"] == (said if rule and level >= max(floors) else "deny"), "another verdict")
    yield "trust"
    need(genesis or policy, "it is consistent with itself, and nobody vouches for it")
parser = argparse.ArgumentParser()
given = [parser.add_argument(name) for name in ("file", "--genesis", "--policy")] and parser.parse_args()
genesis, policy = given.genesis and bytes.fromhex(given.genesis), given.policy and open(given.policy).read()
try:
    for step in steps(open(given.file, "rb").read(), genesis, policy): print(step)
except Exception as error:
    sys.exit(print(f"refused by {step}: {error!r}") or (2 if step == "file" else 1))
