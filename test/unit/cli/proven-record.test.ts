/** A record is shown only as its bytes say it, whatever a server writes beside them. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { CanonicalRecord, ProofError, VersionedRecord } from "@sigil/client";
import { examineRecord } from "../../../src/cli/call/proven-record.ts";
import { parseThumbprint } from "../../../src/core/bytes.ts";
import { encodeProtected, encodeStatement, recordContentType } from "../../../src/core/cose/cose.ts";
import {
  encodeBody,
  encodeEnvelope,
  hashRecord,
  subjectOf,
  type RecordBody,
} from "../../../src/core/record/record.ts";

const body: RecordBody = {
  kind: "config",
  schemaVersion: 1,
  id: "config/flags",
  tenant: "acme",
  ts: 1,
  space: "user",
  payload: { dark: true },
  links: [],
  prev: null,
};

const answerOf = (sent: RecordBody, said: Partial<CanonicalRecord> = {}): VersionedRecord => {
  const kid = parseThumbprint(new Uint8Array(32));
  const header = { contentType: recordContentType, kid, origin: "test", subject: subjectOf(sent) } as const;
  const payload = encodeBody(sent);
  const statement = encodeStatement({
    protectedBytes: encodeProtected(header),
    payload,
    signature: new Uint8Array(64),
  });
  const record = CanonicalRecord.fromPartial({
    envelope: encodeEnvelope({ statement, attestations: [] }),
    hash: hashRecord(payload),
    kind: sent.kind,
    schemaVersion: sent.schemaVersion,
    id: sent.id,
    tenant: sent.tenant,
    payloadJson: JSON.stringify(sent.payload),
    ...said,
  });
  return VersionedRecord.fromPartial({ record });
};

const wanted = { id: "config/flags", space: "user", tenant: "acme", hash: undefined } as const;
const other = new Uint8Array(32).fill(7);

describe("a record on its way to the terminal", () => {
  it("is what its bytes say, also where the reply leaves out its view", () => {
    for (const said of [{}, { payloadJson: "" }]) {
      expect(examineRecord(answerOf(body, said), wanted).body).to.deep.equal(body);
    }
    const byHash = {
      id: undefined,
      space: "user",
      tenant: undefined,
      hash: hashRecord(encodeBody(body)),
    } as const;
    expect(examineRecord(answerOf(body), byHash).body.id).to.equal("config/flags");
  });

  const lies = [
    ["another hash", answerOf(body, { hash: other }), wanted, /hashes to/],
    [
      "another record under the id that was asked for",
      answerOf({ ...body, id: "config/other" }),
      wanted,
      /config\/other/,
    ],
    ["the record of another hash", answerOf(body), { ...wanted, hash: other }, /hashes to/],
    ["a record of the other space", answerOf(body), { ...wanted, space: "system" }, /user space/],
    [
      "a record of a tenant that was not asked about",
      answerOf(body),
      { ...wanted, tenant: "beta" },
      /tenant acme/,
    ],
    ["another kind", answerOf(body, { kind: "note" }), wanted, /kind/],
    ["another tenant", answerOf(body, { tenant: "beta" }), wanted, /tenant/],
    [
      "another payload beside its bytes",
      answerOf(body, { payloadJson: '{"dark":false}' }),
      wanted,
      /payload/,
    ],
    ["no envelope", answerOf(body, { envelope: new Uint8Array(0) }), wanted, /envelope/],
    ["an envelope that is none", answerOf(body, { envelope: new Uint8Array([1, 2]) }), wanted, /envelope/],
  ] as const;
  for (const [name, answer, asked, rule] of lies) {
    it(`is not shown when the server sends ${name}`, () => {
      expect(() => examineRecord(answer, asked)).to.throw(ProofError, rule);
    });
  }
});
