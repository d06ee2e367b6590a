/** Record bodies, envelopes and attestations: what is accepted, what is refused and by which rule. */
import { createHash } from "node:crypto";
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { expect } from "chai";
import { describe, it } from "mocha";
import { fromNotation, type Notation } from "../../../scripts/vectors/notation.ts";
import { decodeAttestation, encodeAttestation } from "../../../src/core/record/attestation.ts";
import { fromHex, parseHash, toHex } from "../../../src/core/bytes.ts";
import { cborDecode } from "../../../src/core/cbor/cbor.ts";
import {
  decodeBody,
  decodeEnvelope,
  encodeBody,
  encodeEnvelope,
  entryOf,
  hashRecord,
  parseRecordStatement,
  subjectOf,
  type RecordBody,
} from "../../../src/core/record/record.ts";
import { errorOf } from "./faults.ts";
import { readVectors } from "./vector-files.ts";

interface RecordVectors {
  readonly accept: readonly (
    | {
        readonly name: string;
        readonly format: "body";
        readonly hex: string;
        readonly hash: string;
        readonly subject: string;
        readonly kind: string;
        readonly schema_version: number;
        readonly ts: number;
        readonly payload: Notation;
      }
    | { readonly name: string; readonly format: "envelope"; readonly hex: string; readonly entry: string }
    | { readonly name: string; readonly format: "attestation" | "record_statement"; readonly hex: string }
  )[];
  readonly refuse: readonly {
    readonly name: string;
    readonly format: keyof typeof readers;
    readonly hex: string;
    readonly field: string;
    readonly rule: string;
  }[];
}

const readers = {
  body: decodeBody,
  envelope: decodeEnvelope,
  attestation: decodeAttestation,
  record_statement: parseRecordStatement,
};

const golden = readVectors<RecordVectors>("record.json");
const bodies = golden.accept.filter((vector) => vector.format === "body");
const sha256 = (hex: string): string => createHash("sha256").update(hex, "hex").digest("hex");

const note: RecordBody = {
  kind: "note",
  schemaVersion: 1,
  id: "notes/1",
  tenant: "acme",
  ts: 1_700_000_000_000,
  space: "user",
  payload: { text: "hello" },
  links: [],
  prev: null,
};

describe("golden vectors of records", () => {
  for (const vector of golden.accept) {
    it(`accept ${vector.name} (${vector.format}) and give its bytes back`, () => {
      const bytes = fromHex(vector.hex);
      switch (vector.format) {
        case "body": {
          const body = decodeBody(bytes);
          expect(toHex(encodeBody(body))).to.equal(vector.hex);
          expect(body).to.include({ kind: vector.kind, schemaVersion: vector.schema_version, ts: vector.ts });
          expect(body.payload).to.deep.equal(fromNotation(vector.payload));
          expect(subjectOf(body)).to.equal(vector.subject);
          expect(toHex(hashRecord(bytes)))
            .to.equal(vector.hash)
            .and.to.equal(sha256(vector.hex));
          break;
        }
        case "envelope":
          expect(toHex(encodeEnvelope(decodeEnvelope(bytes)))).to.equal(vector.hex);
          expect(toHex(entryOf(bytes)))
            .to.equal(vector.entry)
            .and.to.equal(sha256(vector.hex));
          break;
        case "attestation":
          expect(toHex(encodeAttestation(decodeAttestation(bytes)))).to.equal(vector.hex);
          break;
        case "record_statement":
          expect(subjectOf(parseRecordStatement(bytes).body)).to.equal("acme/user/notes/1");
          break;
      }
    });
  }

  for (const { name, format, hex, field, rule } of golden.refuse) {
    it(`refuse ${name} (${format}): ${field} ${rule}`, () => {
      const expected = { kind: "malformedRecord", field, rule };
      expect(errorOf(() => readers[format](fromHex(hex)))).to.deep.equal(expected);
    });
  }
});

describe("encodeBody", () => {
  it("refuses on write what decoding refuses on read", () => {
    const changes: readonly (readonly [Partial<RecordBody>, string])[] = [
      [{ id: "a//b" }, "id"],
      [{ tenant: "Acme" }, "tenant"],
      [{ ts: -1 }, "ts"],
      [{ schemaVersion: 0 }, "schema_version"],
      [{ space: "system" }, "tenant"],
      [{ kind: "frozen_chain", payload: {} }, "payload.request"],
      [{ prev: fromHex("00") as unknown as RecordBody["prev"] }, "prev"],
    ];
    for (const [change, field] of changes) {
      expect(errorOf(() => encodeBody({ ...note, ...change }))).to.include({
        kind: "malformedRecord",
        field,
      });
    }
  });

  it("names the place in a payload that has no encoding", () => {
    const error = errorOf(() => encodeBody({ ...note, payload: { list: [1, NaN] } }));
    expect(error).to.include({ kind: "unencodableValue", path: "/payload/list/1" });
  });

  it("gives the hash that a second process gives", async () => {
    const script = `
      const { encodeBody, decodeBody, hashRecord } = await import(process.argv[1]);
      const { toHex, fromHex } = await import(process.argv[2]);
      for (const hex of JSON.parse(process.argv[3])) console.log(toHex(hashRecord(encodeBody(decodeBody(fromHex(hex))))));
    `;
    const url = (path: string): string => new URL(path, import.meta.url).href;
    const { stdout } = await promisify(execFile)(process.execPath, [
      "--input-type=module",
      "--eval",
      script,
      url("../../../src/core/record/record.ts"),
      url("../../../src/core/bytes.ts"),
      JSON.stringify(bodies.map(({ hex }) => hex)),
    ]);
    expect(stdout.trim().split("\n")).to.deep.equal(bodies.map(({ hash }) => hash));
  });
});

describe("a decoded body", () => {
  it("shares no bytes with its input", () => {
    const target = parseHash(new Uint8Array(32).fill(7));
    const body = { ...note, prev: target, links: [{ label: "cites", target }], payload: fromHex("0102") };
    const bytes = encodeBody(body);
    const decoded = decodeBody(bytes);
    bytes.fill(0);
    expect(decoded).to.deep.equal(body);
  });
});

describe("an envelope", () => {
  it("shows its statement and attestations as they were", () => {
    const envelope = { statement: fromHex("0102"), attestations: [fromHex("03"), fromHex("")] };
    const bytes = encodeEnvelope(envelope);
    expect(toHex(bytes)).to.equal("8242010282410340");
    expect(decodeEnvelope(bytes)).to.deep.equal(envelope);
    expect(cborDecode(bytes)).to.deep.equal([envelope.statement, envelope.attestations]);
  });

  it("of 65 attestations or of more than 1 MiB is not made", () => {
    const statement = fromHex("00");
    const many = Array.from({ length: 65 }, () => statement);
    expect(errorOf(() => encodeEnvelope({ statement, attestations: many }))).to.include({
      field: "attestations",
    });
    expect(
      errorOf(() => encodeEnvelope({ statement: new Uint8Array(1 << 20), attestations: [] })),
    ).to.include({
      kind: "unencodableValue",
    });
  });
});
