/**
 * `JSON.stringify` of every reply of every method, walked by the descriptors; @bufbuild/protobuf says what the JSON
 * must be.
 */
import { readFileSync } from "node:fs";
import {
  create,
  createFileRegistry,
  fromBinary,
  ScalarType,
  toBinary,
  toJson,
  type DescField,
  type DescMessage,
} from "@bufbuild/protobuf";
import { reflect, type ReflectMessage } from "@bufbuild/protobuf/reflect";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import type { ServiceDefinition } from "@grpc/grpc-js";
import { expect } from "chai";
import { describe, it } from "mocha";
import * as client from "@sigil/client";
import { CheckResponse, TrustServiceService } from "@sigil/client";

const set = fromBinary(FileDescriptorSetSchema, readFileSync("generated/descriptors.binpb"));
const registry = createFileRegistry(set);
/** What the client exports of generated service definitions, by the service's full name. */
const definitions: ReadonlyMap<string, ServiceDefinition> = new Map(
  Object.entries(client)
    .filter(([name]) => name.endsWith("ServiceService"))
    .map(([, definition]) => definition as ServiceDefinition)
    .map((definition) => [Object.values(definition)[0]?.path.split("/")[1] ?? "", definition]),
);

const scalarOf = (scalar: ScalarType): unknown => {
  switch (scalar) {
    case ScalarType.STRING:
      return "é \u2028";
    case ScalarType.BYTES:
      return Uint8Array.of(0, 251, 255);
    case ScalarType.BOOL:
      return true;
    case ScalarType.UINT64:
    case ScalarType.FIXED64:
      return 2n ** 64n - 1n;
    case ScalarType.INT64:
    case ScalarType.SINT64:
    case ScalarType.SFIXED64:
      return -(2n ** 63n);
    case ScalarType.DOUBLE:
    case ScalarType.FLOAT:
      return Number.NaN;
    case ScalarType.UINT32:
    case ScalarType.INT32:
    case ScalarType.FIXED32:
    case ScalarType.SFIXED32:
    case ScalarType.SINT32:
      return 7;
  }
};

/** What the other library writes for the well-known types takes values of their own kind. */
const wellKnown: Readonly<Record<string, Record<string, unknown>>> = {
  "google.protobuf.Timestamp": { seconds: 1_700_000_000n, nanos: 123_000_000 },
  "google.protobuf.Struct": { fields: { text: { kind: { case: "numberValue", value: 1.5 } } } },
};

/** Every field set; of each oneof the case whose turn it is. */
const fill = (desc: DescMessage, turn: number, depth: number): ReflectMessage => {
  const message = reflect(desc, create(desc, wellKnown[desc.typeName]));
  if (desc.typeName in wellKnown) return message;
  for (const field of desc.fields) {
    const { oneof } = field;
    if (oneof !== undefined && oneof.fields[turn % oneof.fields.length] !== field) continue;
    setField(message, field, turn, depth);
  }
  return message;
};

const setField = (message: ReflectMessage, field: DescField, turn: number, depth: number): void => {
  // The two libraries differ in what they know of an Any, and nothing but an error holds one.
  if (field.message?.typeName === "google.protobuf.Any" || depth > 6) return;
  const single = (): unknown => {
    if (field.message !== undefined) return fill(field.message, turn, depth + 1);
    return field.enum === undefined ? scalarOf(field.scalar) : field.enum.values.at(-1)?.number;
  };
  if (field.fieldKind === "list") message.get(field).add(single());
  else if (field.fieldKind === "map") message.get(field).set("key", single());
  else message.set(field, single());
};

const turnsCount = 8;
const methods = [...registry].flatMap((desc) =>
  desc.kind === "service" && desc.typeName.startsWith("sigil.")
    ? desc.methods.map((method) => ({ service: desc.typeName, method }))
    : [],
);

/** Every object that a caller can take out of a reply. */
const objectsIn = (value: unknown): readonly object[] => {
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return [];
  return [value, ...Object.values(value).flatMap(objectsIn)];
};

describe("JSON.stringify of a reply", () => {
  it("is tried with every method there is", () => {
    expect(new Set(methods.map(({ service }) => service))).to.deep.equal(new Set(definitions.keys()));
    expect(methods).to.have.length.above(40);
  });

  for (const { service, method } of methods) {
    it(`writes proto3 JSON of ${service}.${method.name}`, () => {
      const definition = definitions.get(service)?.[method.localName];
      for (let turn = 0; turn < turnsCount; turn += 1) {
        const { message } = fill(method.output, turn, 0);
        const reply: unknown = definition?.responseDeserialize(Buffer.from(toBinary(method.output, message)));
        expect(JSON.parse(JSON.stringify(reply))).to.deep.equal(toJson(method.output, message));
        for (const object of objectsIn(reply)) JSON.stringify(object);
        expect(JSON.stringify({ reply: [reply] })).to.contain(JSON.stringify(reply));
      }
    });
  }

  it("works for a time that no Date can hold, and for an error with details", () => {
    const bytes = CheckResponse.encode(
      CheckResponse.fromPartial({ auditId: "a", ledgerPosition: 9n }),
    ).finish();
    // Field 14, a Timestamp of 2^62 seconds.
    const late = Uint8Array.of(0x72, 10, 0x08, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x40);
    const reply = TrustServiceService.check.responseDeserialize(Buffer.concat([bytes, late]));
    expect(Number.isNaN(reply.time?.getTime())).to.equal(true);
    expect(JSON.parse(JSON.stringify(reply))).to.include({ auditId: "a", ledgerPosition: "9", time: null });
    const batch = TrustServiceService.batchCheck.responseDeserialize(
      TrustServiceService.batchCheck.responseSerialize({
        sharedProof: undefined,
        results: [
          {
            outcome: {
              $case: "error",
              value: { code: 3, message: "m", details: [{ typeUrl: "t", value: Uint8Array.of(255) }] },
            },
          },
        ],
      }),
    );
    expect(JSON.parse(JSON.stringify(batch))).to.deep.equal({
      results: [{ error: { code: 3, message: "m", details: [{ typeUrl: "t", value: "/w==" }] } }],
    });
  });

  it("leaves positions whole, and nothing to see for whoever compares or copies", () => {
    const made = CheckResponse.fromPartial({ ledgerPosition: 2n ** 60n });
    const reply = CheckResponse.decode(CheckResponse.encode(made).finish());
    expect(reply.ledgerPosition).to.equal(2n ** 60n);
    expect(Object.keys(reply)).not.to.include("toJSON");
    expect({ ...reply }).to.deep.equal(reply);
    expect(CheckResponse.fromJSON(JSON.parse(JSON.stringify(reply)))).to.deep.equal(reply);
  });
});
