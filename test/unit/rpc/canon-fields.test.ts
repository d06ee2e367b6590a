/** The rules of CanonService's and WitnessService's fields, at the edge. */
import { expect } from "chai";
import { describe, it } from "mocha";
import {
  AttestProposalRequest,
  BatchWriteRecordsRequest,
  GetRecordRequest,
  ListProposalsRequest,
  ListRecordsRequest,
  ProposeRecordRequest,
  StreamRecordsRequest,
  WatchRequest,
  WriteRecordRequest,
  type DeepPartial,
} from "../../../generated/src/sigil/canon/v1/canon.ts";
import { ProposeWitnessChangeRequest } from "../../../generated/src/sigil/canon/v1/witness.ts";
import { fromHex, toBase64, toBase64Url } from "../../../src/core/bytes.ts";
import { cborEncode } from "../../../src/core/cbor/cbor.ts";
import { SigilFault } from "../../../src/errors.ts";
import {
  readExport,
  readGet,
  readPresentation,
  readRecordQuery,
  readWrite,
  readWrites,
} from "../../../src/rpc/canon/fields.ts";
import { readWatch } from "../../../src/rpc/canon/watch-fields.ts";
import {
  readProposal,
  readProposalQuery,
  readReason,
  readStatement,
  readWitnessProposal,
} from "../../../src/rpc/canon/proposal-fields.ts";

const violationOf = (read: () => unknown): { readonly field: string; readonly rule: string } => {
  try {
    read();
  } catch (error) {
    if (error instanceof SigilFault && error.error.kind === "invalidField") return error.error;
    throw error;
  }
  return { field: "", rule: "" };
};
const fieldOf = (read: () => unknown): string => violationOf(read).field;

const json = (value: string) => ({ $case: "payloadJson" as const, value });
const hash = new Uint8Array(32).fill(5);
const key = new Uint8Array(32).fill(6);

const written = (parts: DeepPartial<WriteRecordRequest>): WriteRecordRequest =>
  WriteRecordRequest.fromPartial({ id: "note/1", kind: "note", content: json("{}"), ...parts });

const links = (count: number) => Array.from({ length: count }, () => ({ label: "l", target: hash }));

describe("fields of a write", () => {
  it("pass at their limits", () => {
    const parts: readonly DeepPartial<WriteRecordRequest>[] = [
      { id: "i".repeat(255) },
      { kind: "é".repeat(127) },
      { schemaVersion: 65_535 },
      { content: json(`"${"x".repeat((1 << 20) - 8)}"`) },
      { content: { $case: "payloadCbor", value: cborEncode({ a: 1 }) } },
      { kind: "", content: { $case: "tombstone", value: true } },
      { links: links(63) },
      { links: [{ label: "l".repeat(255), target: hash }] },
      { expectedVersion: 0n },
    ];
    for (const part of parts) expect(fieldOf(() => readWrite(written(part)))).to.equal("");
  });

  const broken: readonly (readonly [string, DeepPartial<WriteRecordRequest>, string])[] = [
    ["an empty id", { id: "" }, "id"],
    ["a long id", { id: "i".repeat(256) }, "id"],
    ["an id with a dot segment", { id: "a/../b" }, "id"],
    ["no kind", { kind: "" }, "kind"],
    ["a long kind", { kind: "é".repeat(128) }, "kind"],
    ["a large schema version", { schemaVersion: 65_536 }, "schema_version"],
    ["no content", { content: undefined }, "content"],
    ["JSON that is none", { content: json("{") }, "payload_json"],
    ["JSON with a key twice", { content: json('{"a":1,"a":1}') }, "payload_json"],
    ["JSON with a large integer", { content: json("9007199254740993") }, "payload_json"],
    ["JSON of more than 1 MiB", { content: json(`"${"x".repeat(1 << 20)}"`) }, "payload_json"],
    [
      "CBOR that is not canonical",
      { content: { $case: "payloadCbor", value: fromHex("1801") } },
      "payload_cbor",
    ],
    ["an empty CBOR", { content: { $case: "payloadCbor", value: new Uint8Array(0) } }, "payload_cbor"],
    ["a tombstone that is none", { content: { $case: "tombstone", value: false } }, "tombstone"],
    ["64 links", { links: links(64) }, "links"],
    ["a short target", { links: [...links(2), { label: "l", target: hash.subarray(1) }] }, "links[2].target"],
    ["a link without a label", { links: [{ label: "", target: hash }] }, "links[0].label"],
    ["a long label", { links: [{ label: "l".repeat(256), target: hash }] }, "links[0].label"],
  ];
  for (const [what, parts, field] of broken) {
    it(`refuse ${what} by the name of ${field}`, () => {
      expect(fieldOf(() => readWrite(written(parts)))).to.equal(field);
    });
  }

  it("take schema version 0 for 1, and tell an absent expected version from 0", () => {
    const absent = readWrite(written({}));
    expect([absent.schemaVersion, absent.expectedVersion]).to.deep.equal([1, undefined]);
    expect(readWrite(written({ expectedVersion: 0n })).expectedVersion).to.equal(0n);
  });

  it("read a principal's keys from base64, and any other kind's text as text", () => {
    const text = JSON.stringify({ public_keys: [toBase64(key)], digest: "AA==" });
    const payloadOf = (kind: string) => {
      const { content } = readWrite(written({ kind, content: json(text) }));
      return content.kind === "payload" ? content.payload : null;
    };
    expect(payloadOf("principal")).to.deep.equal({ public_keys: [key], digest: "AA==" });
    expect(payloadOf("note")).to.deep.equal({ public_keys: [toBase64(key)], digest: "AA==" });
  });

  it("of a batch are named with their index", () => {
    const batch = (...writes: WriteRecordRequest[]): string =>
      fieldOf(() => readWrites(BatchWriteRecordsRequest.fromPartial({ writes })));
    const many = Array.from({ length: 101 }, (_, index) => written({ id: `n/${index}` }));
    expect(batch()).to.equal("writes");
    expect(batch(...many)).to.equal("writes");
    expect(batch(...many.slice(1))).to.equal("");
    expect(batch(written({}), written({ id: "n/2", idempotencyKey: "k" }))).to.equal(
      "writes[1].idempotency_key",
    );
    expect(batch(written({}), written({}))).to.equal("writes[1].id");
    const late = written({ id: "n/3", links: [{ label: "l", target: new Uint8Array(0) }] });
    expect(batch(written({}), written({ id: "n/2" }), late)).to.equal("writes[2].links[0].target");
    expect(batch(written({ content: json("{") }))).to.equal("writes[0].payload_json");
  });
});

describe("fields of a read", () => {
  const got = (parts: DeepPartial<GetRecordRequest>): string =>
    fieldOf(() => readGet(GetRecordRequest.fromPartial({ id: "note/1", ...parts })));
  const listed = (parts: DeepPartial<ListRecordsRequest>): string =>
    fieldOf(() => readRecordQuery(ListRecordsRequest.fromPartial(parts)));
  const filtered = (filter: DeepPartial<ListRecordsRequest["filter"]>): string => listed({ filter });

  it("name one record", () => {
    expect(got({})).to.equal("");
    expect(got({ id: "" })).to.equal("id");
    expect(got({ id: "", at: { $case: "hash", value: hash } })).to.equal("");
    expect(got({ id: "", at: { $case: "version", value: 1n } })).to.equal("id");
    expect(got({ at: { $case: "version", value: 0n } })).to.equal("version");
    expect(got({ at: { $case: "hash", value: hash.subarray(1) } })).to.equal("hash");
    expect(got({ space: 7 as never })).to.equal("space");
    expect(got({ tenant: "Big Corp" })).to.equal("tenant");
  });

  it("take an unspecified space for the user space and no filter for all", () => {
    const { filter, presentation } = readRecordQuery(ListRecordsRequest.fromPartial({}));
    expect(filter).to.deep.equal({
      space: "user",
      tenant: "",
      kind: "",
      idPrefix: "",
      linkTarget: null,
      fromMs: undefined,
      untilMs: undefined,
      includeTombstones: false,
    });
    expect(presentation).to.deep.equal({ view: "full", payloadMask: [] });
  });

  it("of a filter are named with it", () => {
    expect(filtered({ space: 9 as never })).to.equal("filter.space");
    expect(filtered({ tenant: "A" })).to.equal("filter.tenant");
    expect(filtered({ kind: "k".repeat(256) })).to.equal("filter.kind");
    expect(filtered({ idPrefix: "a/" })).to.equal("");
    expect(filtered({ idPrefix: "a\0" })).to.equal("filter.id_prefix");
    expect(filtered({ idPrefix: "a".repeat(256) })).to.equal("filter.id_prefix");
    expect(filtered({ linkTarget: hash.subarray(1) })).to.equal("filter.link_target");
    expect(filtered({ fromTime: new Date(-1) })).to.equal("filter.from_time");
    expect(filtered({ untilTime: new Date(Number.NaN) })).to.equal("filter.until_time");
  });

  it("of a page and its view have limits", () => {
    expect(listed({ pageSize: 1000 })).to.equal("");
    expect(listed({ pageSize: 1001 })).to.equal("page_size");
    expect(listed({ view: 3 as never })).to.equal("view");
    expect(listed({ payloadMask: Array.from({ length: 32 }, () => "é".repeat(127)) })).to.equal("");
    expect(listed({ payloadMask: Array.from({ length: 33 }, () => "a") })).to.equal("payload_mask");
    expect(listed({ payloadMask: ["a", ""] })).to.equal("payload_mask[1]");
    expect(listed({ payloadMask: ["a", "b", "é".repeat(128)] })).to.equal("payload_mask[2]");
    expect(readPresentation(2).view).to.equal("metadata");
  });

  it("of an export and a watch have limits", () => {
    expect(fieldOf(() => readExport(StreamRecordsRequest.fromPartial({ afterId: "/../" })))).to.equal(
      "after_id",
    );
    const watched = (parts: DeepPartial<WatchRequest>) =>
      readWatch(WatchRequest.fromPartial(parts), "sigil.test");
    expect(watched({})).to.include({ from: undefined, heartbeatMs: 15_000 });
    expect(watched({ fromPosition: 0n, heartbeatSeconds: 300 })).to.include({
      from: 0n,
      heartbeatMs: 300_000,
    });
    expect(fieldOf(() => watched({ heartbeatSeconds: 301 }))).to.equal("heartbeat_seconds");
  });
});

describe("fields of a proposal", () => {
  const proposal = (parts: DeepPartial<ProposeRecordRequest>) =>
    readProposal(
      ProposeRecordRequest.fromPartial({
        id: "principal/a",
        content: { $case: "tombstone", value: true },
        ...parts,
      }),
    );
  const refused = (parts: DeepPartial<ProposeRecordRequest>): string => fieldOf(() => proposal(parts));

  it("have limits and defaults", () => {
    expect(proposal({})).to.deep.include({ reason: "", lifetimeMs: 604_800_000, commit: "auto" });
    expect(proposal({ lifetimeSeconds: 2_592_000, separateCommit: true })).to.deep.include({
      lifetimeMs: 2_592_000_000,
      commit: "separate",
    });
    expect(refused({ lifetimeSeconds: 2_592_001 })).to.equal("lifetime_seconds");
    expect(refused({ reason: "é".repeat(512) })).to.equal("");
    expect(refused({ reason: "é".repeat(513) })).to.equal("reason");
    expect(refused({ idempotencyKey: "k".repeat(129) })).to.equal("idempotency_key");
    expect(refused({ content: undefined })).to.equal("content");
    for (const id of ["", "quorum", "witness/a", "trust_model/other", "note/1", "schema/"]) {
      expect(refused({ id }), id).to.equal("id");
    }
    expect(fieldOf(() => readReason("r".repeat(1025)))).to.equal("reason");
  });

  it("have byte strings as base64 in the kind's own form", () => {
    const principal = { public_keys: [toBase64(key)], loa: "mentor", tenant: "acme", active: true };
    expect(proposal({ content: json(JSON.stringify(principal)) }).content).to.deep.equal({
      kind: "payload",
      payload: { ...principal, public_keys: [key] },
    });
    const printed = { ...principal, public_keys: [`ed25519:${toBase64Url(key)}`] };
    expect(proposal({ content: json(JSON.stringify(printed)) }).content).to.deep.equal({
      kind: "payload",
      payload: { ...principal, public_keys: [key] },
    });
    const module = proposal({ id: "module/m", content: json(JSON.stringify({ digest: toBase64(hash) })) });
    expect(module.content).to.deep.equal({ kind: "payload", payload: { digest: hash } });
    const { field, rule } = violationOf(() => proposal({ content: json('{"public_keys":["AA==","AA"]}') }));
    expect([field, rule]).to.deep.equal([
      "payload_json",
      'at "/public_keys/1" must be padded standard base64, or ed25519: and base64url',
    ]);
    // No text: the kind's own rules say more about it.
    expect(refused({ content: json('{"public_keys":[1]}') })).to.equal("");
    expect(refused({ content: json('{"public_keys":{}}') })).to.equal("");
    expect(refused({ content: json("null") })).to.equal("");
  });

  it("bound a statement and a query", () => {
    const attested = (bytes: number) =>
      fieldOf(() => readStatement(AttestProposalRequest.fromPartial({ statement: new Uint8Array(bytes) })));
    expect([attested(0), attested(4096), attested(4097)]).to.deep.equal(["statement", "", "statement"]);
    const asked = (parts: DeepPartial<ListProposalsRequest>) =>
      readProposalQuery(ListProposalsRequest.fromPartial(parts));
    expect(asked({}).outcome).to.equal(undefined);
    expect([1, 2, 3, 4, 5, 6].map((state) => asked({ state: state as never }).outcome)).to.deep.equal([
      "open",
      "committed",
      "rejected",
      "withdrawn",
      "expired",
      "superseded",
    ]);
    expect(fieldOf(() => asked({ state: 7 as never }))).to.equal("state");
    expect(fieldOf(() => asked({ waitingForWitness: "a/b" }))).to.equal("waiting_for_witness");
    expect(fieldOf(() => asked({ recordId: "//" }))).to.equal("record_id");
  });
});

describe("fields of a change of the registry", () => {
  const add = { id: "w", publicKey: key, owner: "o", authority: "a", description: "d", k: 0 };
  const read = (change: DeepPartial<ProposeWitnessChangeRequest>["change"]) =>
    readWitnessProposal(ProposeWitnessChangeRequest.fromPartial({ change })).change;
  const added = (parts: Partial<typeof add>): string =>
    fieldOf(() => read({ $case: "add", value: { ...add, ...parts } }));

  it("leave k when it is 0, and the proposer's right when it is absent", () => {
    expect(read({ $case: "add", value: add })).not.to.have.property("k");
    expect(read({ $case: "remove", value: { id: "w", k: 2 } })).to.deep.equal({
      kind: "remove",
      id: "w",
      k: 2,
    });
    expect(read({ $case: "quorum", value: {} })).to.deep.equal({ kind: "quorum" });
    expect(read({ $case: "quorum", value: { proposerMayAttest: false } })).to.deep.equal({
      kind: "quorum",
      proposerMayAttest: false,
    });
  });

  it("are named with the change", () => {
    expect(added({})).to.equal("");
    expect(added({ id: "a/b" })).to.equal("add.id");
    expect(added({ id: "i".repeat(201) })).to.equal("add.id");
    expect(added({ publicKey: key.subarray(1) })).to.equal("add.public_key");
    expect(added({ owner: " " })).to.equal("add.owner");
    expect(added({ owner: "o".repeat(256) })).to.equal("add.owner");
    expect(added({ authority: "a".repeat(256) })).to.equal("add.authority");
    expect(added({ description: "d".repeat(1025) })).to.equal("add.description");
    expect(fieldOf(() => read({ $case: "remove", value: { id: "" } }))).to.equal("remove.id");
    expect(fieldOf(() => read({ $case: "replace", value: { id: "w" } }))).to.equal("replace.public_key");
    expect(fieldOf(() => read(undefined))).to.equal("change");
  });
});
