/** The worked example of docs/spec/record.md, byte for byte. */
import { createHash, createPrivateKey, sign } from "node:crypto";
import { readFileSync } from "node:fs";
import { expect } from "chai";
import { describe, it } from "mocha";
import { encode } from "cbor2";
import { fromHex, parsePublicKey, toHex } from "../../../src/core/bytes.ts";
import {
  coseKeyThumbprint,
  encodeProtected,
  encodeStatement,
  toBeSigned,
} from "../../../src/core/cose/cose.ts";
import {
  decodeEnvelope,
  encodeBody,
  encodeEnvelope,
  entryOf,
  hashRecord,
  parseRecordStatement,
} from "../../../src/core/record/record.ts";
import { deterministicEncode } from "./cbor2-profile.ts";

const page = readFileSync(new URL("../../../docs/spec/record.md", import.meta.url), "utf8");
const blocks = new Map(
  Array.from(page.matchAll(/```hex (\w+)\n([0-9a-f\n]+)```/g), ([, name = "", hex = ""]) => [
    name,
    hex.replaceAll("\n", ""),
  ]),
);
const shown = (name: string): Uint8Array => fromHex(blocks.get(name) ?? expect.fail(`no block "${name}"`));

describe("the worked example of docs/spec/record.md", () => {
  const body = shown("body");
  const { statement, body: record } = parseRecordStatement(shown("statement"));

  it("is what this code reads and writes", () => {
    expect(toHex(encodeBody(record))).to.equal(toHex(body));
    expect(toHex(hashRecord(body))).to.equal(blocks.get("hash"));
    expect(toHex(coseKeyThumbprint(parsePublicKey(shown("public_key"))))).to.equal(blocks.get("kid"));
    expect(toHex(statement.kid)).to.equal(blocks.get("kid"));
    expect(toHex(encodeProtected(statement))).to.equal(blocks.get("protected"));
    expect(toHex(toBeSigned(shown("protected"), body))).to.equal(blocks.get("to_be_signed"));
    expect(toHex(encodeStatement(statement))).to.equal(blocks.get("statement"));
    expect(toHex(encodeEnvelope({ statement: shown("statement"), attestations: [] }))).to.equal(
      blocks.get("envelope"),
    );
    expect(toHex(decodeEnvelope(shown("envelope")).statement)).to.equal(blocks.get("statement"));
    expect(toHex(entryOf(shown("envelope")))).to.equal(blocks.get("entry"));
  });

  it("is what cbor2, node:crypto and the page's own words give", () => {
    const note = {
      kind: "note",
      schema_version: 1,
      id: "notes/1",
      tenant: "acme",
      ts: 1_700_000_000_000,
      space: "user",
      payload: { text: "hello" },
      links: [],
      prev: null,
    };
    expect(toHex(encode(note, deterministicEncode))).to.equal(blocks.get("body"));
    const seed = createHash("sha256").update("record").digest();
    const der = Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), seed]);
    const key = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
    expect(toHex(statement.signature)).to.equal(sign(null, shown("to_be_signed"), key).toString("hex"));
  });

  it("is taken apart in a table whose bytes are the body's", () => {
    const table = page.slice(page.indexOf("| `a9`"), page.indexOf("Its hash"));
    const bytes = Array.from(table.matchAll(/^\| (.*?) +\| [^|]* \|$/gm), ([, cell = ""]) =>
      cell.replaceAll(/[^0-9a-f]/g, ""),
    );
    expect(bytes.join("")).to.equal(blocks.get("body"));
  });
});
