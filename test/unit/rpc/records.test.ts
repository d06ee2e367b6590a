/** Records as callers see them: all of them, their metadata, or what a mask keeps. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { cborEncode } from "../../../src/core/cbor/cbor.ts";
import { formatVersioned, maskPayload } from "../../../src/rpc/canon/records.ts";
import { recordAt } from "./made-records.ts";

const payload = JSON.parse('{"owner":{"name":"ada","tags":["x","y"]},"n":1,"__proto__":{"a":2}}') as never;
const nothing = new Uint8Array(0);

describe("a record as protobuf", () => {
  const record = recordAt(3n, payload);

  it("is whole unless asked otherwise", () => {
    const { record: shown, version, tombstone } = formatVersioned(record);
    expect([version, tombstone]).to.deep.equal([3n, false]);
    expect(shown?.envelope).to.deep.equal(record.record.envelope);
    expect(shown?.payloadCbor).to.deep.equal(cborEncode(payload));
    expect(shown?.payloadJson).to.contain('"__proto__":{"a":2}');
  });

  it("has neither payload nor envelope as metadata, with a mask or without", () => {
    for (const payloadMask of [[], ["n"]]) {
      const { record: shown } = formatVersioned(record, { view: "metadata", payloadMask });
      const { envelope, payloadCbor, payloadJson, ...rest } = shown ?? {};
      expect([envelope, payloadCbor, payloadJson]).to.deep.equal([nothing, nothing, ""]);
      const {
        envelope: _,
        payloadCbor: __,
        payloadJson: ___,
        ...whole
      } = formatVersioned(record).record ?? {};
      expect(rest).to.deep.equal(whole);
    }
  });

  it("has the masked payload alone, and no envelope that would show the rest", () => {
    const { record: shown } = formatVersioned(record, { view: "full", payloadMask: ["owner.name", "none"] });
    expect(shown?.payloadJson).to.equal('{"owner":{"name":"ada"}}');
    expect([shown?.envelope, shown?.payloadCbor]).to.deep.equal([nothing, nothing]);
  });
});

describe("a payload whose JSON no reply would hold", () => {
  const wide = Array.from({ length: 90 }, () => Array.from({ length: 4000 }, () => false));
  const record = recordAt(3n, { small: 1, wide });

  it("is sent as CBOR, and left out of the view, with a mask that keeps it too", () => {
    const { record: shown } = formatVersioned(record);
    expect(shown?.payloadJson).to.equal("");
    expect(shown?.payloadCbor).to.deep.equal(cborEncode({ small: 1, wide }));
    const masked = (path: string) => formatVersioned(record, { view: "full", payloadMask: [path] });
    expect(masked("wide").record?.payloadJson).to.equal("");
    expect(masked("small").record?.payloadJson).to.equal('{"small":1}');
  });
});

describe("a payload mask", () => {
  const masked = (...paths: readonly string[]): string => JSON.stringify(maskPayload(payload, paths));

  it("keeps the paths it names, each once", () => {
    expect(masked("n")).to.equal('{"n":1}');
    expect(masked("owner.tags", "owner.name")).to.equal('{"owner":{"tags":["x","y"],"name":"ada"}}');
    expect(masked("owner.name", "owner", "owner.name.x")).to.equal(
      '{"owner":{"name":"ada","tags":["x","y"]}}',
    );
    expect(masked("__proto__.a")).to.equal('{"__proto__":{"a":2}}');
  });

  it("leaves out what matches nothing", () => {
    for (const path of [
      "x",
      "n.x",
      "owner.x",
      "owner.tags.0",
      "owner.name.length",
      "constructor",
      ".",
      "owner.",
    ]) {
      expect(masked(path), path).to.equal("{}");
    }
    expect(JSON.stringify(maskPayload([1], ["0"]))).to.equal("{}");
    expect(JSON.stringify(maskPayload("text", ["length"]))).to.equal("{}");
  });
});
