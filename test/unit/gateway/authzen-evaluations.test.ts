/** Requests of AuthZEN as they are read: defaults, digests of what no model reads, and their bounds. */
import { createHash } from "node:crypto";
import { expect } from "chai";
import { describe, it } from "mocha";
import { cborEncode } from "../../../src/core/cbor/cbor.ts";
import { SigilFault } from "../../../src/errors.ts";
import { readMany, readOne } from "../../../src/gateway/authzen/evaluations.ts";

const rules = {
  names: { subjectType: "", resourceType: "", actionPrefix: "" },
  unreadBytesMax: 4096,
};
const entities = {
  subject: { type: "user", id: "ann" },
  action: { name: "read" },
  resource: { type: "note", id: "1" },
};

const digestIn = (body: unknown): string | undefined => readOne(JSON.stringify(body), rules).digest;
const sha = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

const refusal = (text: string): readonly string[] => {
  try {
    readMany(text, rules);
  } catch (error) {
    if (error instanceof SigilFault && error.error.kind === "invalidField")
      return [error.error.field, error.error.rule];
    throw error;
  }
  throw new Error(`it was read: ${text}`);
};

describe("requests of AuthZEN", () => {
  it("digest properties and context whatever the order of their members, and nothing else", () => {
    const context = { b: 1, a: { z: "x", y: [true, null, -0.5, 1e300] } };
    const turned = { a: { y: [true, null, -0.5, 1e300], z: "x" }, b: 1.0 };
    const expected = sha(cborEncode({ context }));
    expect(digestIn({ ...entities, context })).to.equal(expected);
    expect(digestIn({ ...entities, context: turned, more: 1 })).to.equal(expected);
    expect(digestIn({ ...entities, subject: { ...entities.subject, more: 1 } })).to.equal(undefined);
    expect(digestIn({ ...entities, action: { name: "read", properties: context } })).to.equal(
      sha(cborEncode({ action: context })),
    );
    expect(
      digestIn(JSON.parse(`${JSON.stringify(entities).slice(0, -1)},"context":{"__proto__":1}}`)),
    ).to.equal(sha(cborEncode({ context: JSON.parse('{"__proto__":1}') as never })));
  });

  it("bound what is digested by what it comes to when defaults are written out", () => {
    const context = { text: "x".repeat(1000) };
    const items = (count: number, own: (index: number) => object) =>
      readMany(
        JSON.stringify({
          ...entities,
          context,
          evaluations: Array.from({ length: count }, (_, at) => own(at)),
        }),
        rules,
      );
    const fits = (asked: ReturnType<typeof readMany>): readonly string[] =>
      asked.kind === "many" ? asked.items.map(({ kind }) => kind) : [];
    // One digest for all that have the same.
    expect(new Set(fits(items(1000, () => ({}))))).to.deep.equal(new Set(["fit"]));
    const differing = fits(items(6, (n) => ({ action: { name: "read", properties: { n } } })));
    expect(differing).to.deep.equal(["fit", "fit", "fit", "unfit", "unfit", "unfit"]);
  });

  it("name the member that is wrong", () => {
    const text = (body: object): string => JSON.stringify({ ...entities, ...body });
    expect(refusal(text({ subject: { type: "user", id: 1 } }))).to.deep.equal([
      "subject.id",
      "must be a string",
    ]);
    expect(refusal(text({ resource: { id: "1" } }))).to.deep.equal(["resource.type", "must be given"]);
    expect(refusal(text({ action: null }))).to.deep.equal(["action", "must be a JSON object"]);
    expect(refusal(text({ context: 1 }))).to.deep.equal(["context", "must be a JSON object"]);
    expect(refusal(text({ subject: { type: "user", id: "a", properties: [] } }))[0]).to.equal(
      "subject.properties",
    );
    expect(refusal(text({ context: { text: "\ud800" } }))[0]).to.equal("context");
    expect(refusal('{"subject":{"id":1,"id":2}}')).to.deep.equal(["subject.id", "occurs twice"]);
    let nested: unknown = 0;
    for (let depth = 0; depth < 20; depth += 1) nested = [nested];
    expect(refusal(text({ context: { nested } }))[0]).to.equal("context");
  });
});
