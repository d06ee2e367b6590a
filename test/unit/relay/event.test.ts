/** Records as CloudEvents: the vectors, the rules of the format, and what another language's library reads. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import fc from "fast-check";
import { describe, it } from "mocha";
import { eventVectors } from "../../../scripts/vectors/event.ts";
import { repository } from "../../../scripts/run.ts";
import { cborDecode } from "../../../src/core/cbor/cbor.ts";
import { decodeDisclosed, readDisclosures } from "../../../src/core/record/commitment.ts";
import { decodeEnvelope, hashRecord, parseRecordStatement } from "../../../src/core/record/record.ts";
import { leafOf } from "../../../src/core/verify/record.ts";
import { fromHex, toHex } from "../../../src/core/bytes.ts";
import {
  byReference,
  checkpointAttribute,
  disclosedMediaType,
  envelopeMediaType,
  eventOf,
  formatTime,
  headersOf,
  jsonLine,
  percentEncode,
  readEvent,
  type EventOptions,
} from "../../../src/relay/event.ts";
import { kafkaHeaderName, settledHeader } from "../../../src/relay/kafka/message.ts";
import { subjectOf } from "../../../src/relay/nats-subject.ts";
import { readVectors } from "../record/vector-files.ts";
import { relayBody, relayItem } from "../../contract/relay-world.ts";

type Vector = {
  readonly name: string;
  readonly data: EventOptions["data"];
  readonly format: EventOptions["format"];
  readonly type_prefix: string;
  readonly form: "record" | "erased" | "reference";
  readonly position: string;
  readonly prev: string | null;
  readonly generation: number;
  readonly checkpoint?: string;
  readonly envelope: string;
  readonly disclosing: EventOptions["disclosures"];
  /** Canonical CBOR in hex. */
  readonly disclosures?: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly line: string;
  readonly nats_subject: string;
};

const { origin, cases } = readVectors<{ readonly origin: string; readonly cases: readonly Vector[] }>(
  "event.json",
);
const options: EventOptions = {
  origin,
  typePrefix: "sigil",
  data: "full",
  format: "envelope",
  disclosures: "withheld",
};
const lane = { generation: 1, prev: undefined };

/** From the envelope's bytes alone, as another implementation would have them. */
const eventOfVector = (vector: Vector) => {
  const envelope = fromHex(vector.envelope);
  const position = BigInt(vector.position);
  const { statement, body } = parseRecordStatement(decodeEnvelope(envelope).statement);
  const hash = hashRecord(statement.payload);
  const disclosed =
    vector.disclosures === undefined
      ? {}
      : { disclosures: readDisclosures(cborDecode(fromHex(vector.disclosures)), body) };
  const record =
    vector.form === "erased" ? undefined : { position, version: 1n, envelope, hash, body, ...disclosed };
  const own: EventOptions = {
    origin,
    typePrefix: vector.type_prefix,
    data: vector.data,
    format: vector.format,
    disclosures: vector.disclosing,
  };
  const prev = vector.prev === null ? undefined : BigInt(vector.prev);
  const event = eventOf({ position, leaf: leafOf(envelope), record }, own, {
    generation: vector.generation,
    prev,
  });
  const sent = vector.form === "reference" ? byReference(event) : event;
  const note = vector.checkpoint === undefined ? {} : checkpointAttribute(vector.checkpoint);
  return { ...sent, attributes: { ...sent.attributes, ...note } };
};

describe("events of a relay", () => {
  it("are those of the vectors, made from the envelopes there", () => {
    expect(cases).to.have.length.above(12);
    for (const vector of cases) {
      const event = eventOfVector(vector);
      expect(Object.fromEntries(headersOf(event)), vector.name).to.deep.equal(vector.headers);
      expect(Buffer.from(event.data?.bytes ?? []).toString("base64"), vector.name).to.equal(vector.body);
      expect(jsonLine(event), vector.name).to.equal(vector.line);
      expect(subjectOf("sigil", event), vector.name).to.equal(vector.nats_subject);
    }
  });

  it("are generated as the vectors say", () => {
    expect(JSON.parse(JSON.stringify(eventVectors()))).to.deep.include({ origin, cases });
  });

  it("have attributes that CloudEvents allows: names, required ones, no control characters", () => {
    for (const vector of cases) {
      const { attributes } = eventOfVector(vector);
      expect(attributes).to.include.keys("specversion", "id", "source", "type");
      for (const [name, value] of Object.entries(attributes)) {
        expect(name).to.match(/^[a-z0-9]{1,20}$/);
        expect(value, name).to.match(/^[\u0021-\u007E]+$/);
      }
      expect(new URL(attributes["source"] ?? "", "x://base/").href).to.contain("ledger.example");
    }
  });

  it("say nothing of an erased record but its place in the ledger", () => {
    const [erased] = cases.filter(({ form }) => form === "erased");
    expect(Object.keys(JSON.parse(erased?.line ?? "") as object).sort()).to.deep.equal([
      "id",
      "sequence",
      "sigilgeneration",
      "sigilleaf",
      "sigilposition",
      "sigilprev",
      "source",
      "specversion",
      "type",
    ]);
    expect(erased?.headers["ce-id"]).to.equal(toHex(leafOf(fromHex(erased?.envelope ?? ""))));
  });

  it("hold the envelope, byte for byte, under its own media type", () => {
    const item = relayItem(relayBody(3), 3);
    const event = eventOf(item, options, lane);
    expect(event.attributes["datacontenttype"]).to.equal(envelopeMediaType);
    expect(event.data?.bytes).to.equal(item.record?.envelope);
    const { data_base64: data } = JSON.parse(jsonLine(event)) as { readonly data_base64: string };
    expect(Buffer.from(data, "base64").equals(item.record?.envelope ?? Buffer.alloc(0))).to.equal(true);
  });

  it("hold what opens commitments beside the envelope, byte for byte, and nowhere unless the relay is to include it", () => {
    const disclosed = cases.filter(({ disclosures }) => disclosures !== undefined);
    expect(disclosed).to.have.length(4);
    for (const vector of disclosed) {
      const text = [vector.body, vector.line, JSON.stringify(vector.headers)].join("\n");
      const salt = Buffer.alloc(32, 6);
      const held = [salt, Buffer.from(vector.body, "base64")].map((bytes) => bytes.toString("latin1"));
      const isThere = (held[1] ?? "").includes(held[0] ?? "") || text.includes(salt.toString("base64"));
      const isIncluded = vector.disclosing === "included" && vector.form === "record";
      expect(isThere, vector.name).to.equal(isIncluded);
      if (!isIncluded || vector.format !== "envelope") continue;
      expect(vector.headers["ce-datacontenttype"]).to.equal(disclosedMediaType);
      const { envelope, disclosures } = decodeDisclosed(Buffer.from(vector.body, "base64"));
      expect(toHex(envelope)).to.equal(vector.envelope);
      expect(disclosures).to.deep.equal(cborDecode(fromHex(vector.disclosures ?? "")));
    }
  });

  it("format times as JavaScript does", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 253_402_300_799_999 }), (ms) => {
        expect(formatTime(ms)).to.equal(new Date(ms).toISOString());
      }),
    );
    for (const ms of [0, 951_782_400_000, 951_868_799_999, 4_107_542_399_999, 253_402_300_799_999]) {
      expect(formatTime(ms)).to.equal(new Date(ms).toISOString());
    }
    expect(formatTime(253_402_300_800_000)).to.equal(undefined);
  });

  it("have two subjects for two places, whatever the names hold, and tokens without wildcards", () => {
    const kind = fc.oneof(
      fc.string({ minLength: 1, unit: "binary" }),
      fc.constantFrom(".", "*", ">", "%2E", "a b", "ä"),
    );
    const place = fc.record({
      tenant: fc.constantFrom("a", "acme", "a-b", "-"),
      space: fc.constantFrom("user", "system"),
      kind,
    });
    fc.assert(
      fc.property(place, place, (one, other) => {
        const [a, b] = [one, other].map((each) => subjectOf("p", { place: each })) as [string, string];
        expect(a).to.match(/^p(?:\.[A-Za-z0-9_%-]+){3}$/);
        expect(a === b).to.equal(JSON.stringify(one) === JSON.stringify(other));
        expect(decodeURIComponent(percentEncode(one.kind))).to.equal(one.kind);
      }),
    );
  });

  it("are read back from a destination, and what no relay wrote is not", () => {
    const { attributes } = eventOf(relayItem(relayBody(5), 5), options, { generation: 3, prev: 4n });
    expect(readEvent(attributes)).to.deep.include({ position: 5n, generation: 3 });
    for (const change of [
      { sigilposition: undefined },
      { sigilposition: "-1" },
      { sigilleaf: "AB" },
      { sigilgeneration: "0" },
      { sigilgeneration: 1 },
    ]) {
      expect(readEvent({ ...attributes, ...change }), JSON.stringify(change)).to.equal(undefined);
    }
  });
});

const python = join(repository, "build/venv/bin/python");
const isThere = existsSync(python) && spawnSync(python, ["-c", "import cloudevents.core"]).status === 0;
const missing = isThere ? "" : " (skipped: scripts/services.sh install cloudevents)";

describe(`CloudEvents' own library for Python${missing}`, () => {
  it("reads the same event from headers and body as from a line, and all that was written", function () {
    if (!isThere) return this.skip();
    const { stdout, stderr } = spawnSync(python, [join(repository, "test/contract/cloudevents_reader.py")], {
      input: JSON.stringify({
        events: cases.map((one) => ({
          ...one,
          kafka: [
            ...Object.entries(eventOfVector(one).attributes).map(([name, value]) => [
              kafkaHeaderName(name),
              value,
            ]),
            [settledHeader, "0"],
          ],
        })),
      }),
      encoding: "utf8",
    });
    expect(stderr).to.equal("");
    type Read = { readonly attributes: Record<string, unknown>; readonly data: unknown };
    const { events } = JSON.parse(stdout) as {
      readonly events: readonly { readonly binary: Read; readonly kafka: Read; readonly structured: Read }[];
    };
    for (const [at, vector] of cases.entries()) {
      const event = eventOfVector(vector);
      const { time, ...attributes } = event.attributes;
      const [read, structured, kafka] = [events[at]?.binary, events[at]?.structured, events[at]?.kafka];
      // The library makes up a time where there is none.
      if (time === undefined) for (const each of [read, structured, kafka]) delete each?.attributes["time"];
      expect(read?.attributes, vector.name).to.deep.equal({
        ...attributes,
        ...(time === undefined ? {} : { time: { time_ms: Date.parse(time) } }),
      });
      expect(kafka?.attributes, vector.name).to.deep.equal(read?.attributes);
      if (event.data === undefined) continue;
      const expected =
        event.data.mediaType !== "application/json"
          ? { bytes: vector.body }
          : (JSON.parse(Buffer.from(vector.body, "base64").toString()) as unknown);
      expect(read?.data, vector.name).to.deep.equal(expected);
      expect(structured, vector.name).to.deep.equal(read);
      expect(kafka, vector.name).to.deep.equal(read);
    }
  });
});
