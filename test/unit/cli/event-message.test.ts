/** Events of a relay as messages of a lane: the vectors of both modes, and what no relay wrote. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { parseEvent, readMessage } from "../../../src/cli/project/event-message.ts";
import { SigilFault } from "../../../src/errors.ts";
import { toHex } from "../../../src/core/bytes.ts";
import { cborEncode } from "../../../src/core/cbor/cbor.ts";
import { disclosedMediaType } from "../../../src/relay/event.ts";
import { readVectors } from "../record/vector-files.ts";

type Vector = {
  readonly name: string;
  readonly form: "record" | "erased" | "reference";
  readonly data: "full" | "metadata";
  readonly format: "envelope" | "json";
  readonly envelope: string;
  readonly disclosing: "withheld" | "included";
  readonly disclosures?: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly line: string;
};

const { cases } = readVectors<{ readonly cases: readonly Vector[] }>("event.json");

const attributesOf = ({ headers }: Vector): Readonly<Record<string, string>> =>
  Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name.replace(/^ce-/, ""), decodeURIComponent(value)]),
  );

const bodyOf = ({ body }: Vector): Uint8Array | undefined =>
  body === "" ? undefined : Buffer.from(body, "base64");

const inBinary = (vector: Vector, body = bodyOf(vector)) =>
  readMessage("lane", attributesOf(vector), body, "here");

const refusalOf = (work: () => unknown): string => {
  try {
    work();
  } catch (error) {
    if (error instanceof SigilFault && error.error.kind === "usage") return error.error.rule;
    throw error;
  }
  return expect.fail("it was read");
};

describe("an event of a relay as a message", () => {
  it("is its envelope, and what opens its commitments where the relay included it, in both modes", () => {
    const read = cases.filter(
      ({ form, data, format }) => form === "record" && data === "full" && format === "envelope",
    );
    const opened: string[] = [];
    for (const vector of read) {
      const message = inBinary(vector);
      expect(parseEvent("lane", vector.line, "here").message, vector.name).to.deep.equal(message);
      expect(toHex(message.envelope ?? new Uint8Array(0)), vector.name).to.equal(vector.envelope);
      if (message.disclosures === undefined) continue;
      opened.push(vector.name);
      expect(toHex(message.disclosures)).to.equal(vector.disclosures);
    }
    expect(opened).to.deep.equal(["a decision with what opens its commitment"]);
  });

  it("is a reference where its disclosures were too large, and has none of them", () => {
    for (const vector of cases.filter(({ form }) => form === "reference")) {
      const message = inBinary(vector);
      expect(message).to.include({ isReference: true });
      expect(message).not.to.have.any.keys("envelope", "disclosures");
    }
  });

  it("is refused where the data is no envelope with its disclosures", () => {
    const vector = cases.find(({ disclosing }) => disclosing === "included") ?? expect.fail("no vector");
    expect(attributesOf(vector)).to.include({ datacontenttype: disclosedMediaType });
    const envelope = Buffer.from(vector.envelope, "hex");
    const bodies: Readonly<Record<string, Uint8Array>> = {
      "the envelope alone": envelope,
      "no disclosures": cborEncode([envelope]),
      "something more": cborEncode([envelope, {}, null]),
      "no envelope": cborEncode([null, {}]),
      "no canonical CBOR": Buffer.from([0x9f, 0xff]),
      empty: new Uint8Array(0),
    };
    for (const [name, body] of Object.entries(bodies))
      expect(
        refusalOf(() => inBinary(vector, body)),
        name,
      ).to.match(/^here: is no event of a relay$/);
    expect(refusalOf(() => readMessage("lane", attributesOf(vector), undefined, "here"))).to.match(
      /holds no envelope/,
    );
  });
});
