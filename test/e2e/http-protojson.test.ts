/** JSON over HTTP is ProtoJSON: request and reply of every RPC, both ways, against Google's own Python library. */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { anyPack } from "@bufbuild/protobuf/wkt";
import {
  create,
  fromJsonString,
  ScalarType,
  toBinary,
  fromBinary,
  type DescField,
  type DescMessage,
  type Message,
} from "@bufbuild/protobuf";
import { reflect, type ReflectMessage } from "@bufbuild/protobuf/reflect";
import { expect } from "chai";
import { before, describe, it } from "mocha";
import { repository, run } from "../../scripts/run.ts";
import { jsonOf } from "../../src/gateway/http/answer.ts";
import { readContracts } from "../../src/gateway/http/routes.ts";
import { readDescriptors } from "../../src/rpc/transport/descriptors.ts";

const contracts = readContracts(readDescriptors());
const python = join(repository, "build/venv/bin/python");
const hasPython =
  (await run([python, "-c", "import google.protobuf.json_format"], { cwd: repository })).exitCode === 0;
const missing = hasPython
  ? ""
  : " (skipped: no protobuf for Python: scripts/services.sh install python_client)";

/**
 * Values that JSON has its own way with, one a variant. Not minus zero: JSON.stringify writes it as 0, which it equals.
 */
const VALUES: Readonly<Partial<Record<ScalarType, readonly unknown[]>>> = {
  [ScalarType.STRING]: ["text", "", 'é\u{1f600}"\\\n\u2028</script>', "false", " 1 "],
  [ScalarType.BOOL]: [true, false],
  [ScalarType.BYTES]: [Uint8Array.of(0xfb, 0xff, 0), new Uint8Array(0), Uint8Array.of(1)],
  [ScalarType.DOUBLE]: [0.1, 0, 1e300, 5e-324, Number.NaN, Infinity, -Infinity, 1.2345678901234567e19],
  [ScalarType.INT32]: [7, 0, -2147483648, 2147483647],
  [ScalarType.UINT32]: [7, 0, 4294967295],
  [ScalarType.INT64]: [7n, 0n, -9223372036854775808n, 9007199254740993n],
  [ScalarType.UINT64]: [7n, 0n, 18446744073709551615n, 9007199254740993n],
};

const TIMES = [
  "2026-01-02T03:04:05Z",
  "1970-01-01T00:00:00Z",
  "0001-01-01T00:00:00.000000001Z",
  "9999-12-31T23:59:59.999Z",
];

const pick = <One>(list: readonly One[], variant: number): One => list[variant % list.length] as One;

/** Deep enough for every message here, which hold none of their own kind. */
const depthMax = 6;

const sample = (type: DescMessage, variant: number, depth = 0): Message => {
  if (type.typeName === "google.protobuf.Timestamp")
    return fromJsonString(type, JSON.stringify(pick(TIMES, variant)));
  if (type.typeName === "google.protobuf.Struct")
    return fromJsonString(type, pick(['{"a":[1.5,null,{"b":true}],"__proto__":"x","":""}', "{}"], variant));
  if (type.typeName === "google.protobuf.Any") {
    const inner = contracts.getMessage("google.rpc.ErrorInfo") ?? expect.fail("no ErrorInfo");
    const { typeUrl, value } = anyPack(inner, sample(inner, variant, depth + 1));
    const any = reflect(type);
    any.set(type.field["typeUrl"] ?? expect.fail(), typeUrl);
    any.set(type.field["value"] ?? expect.fail(), value);
    return any.message;
  }
  const whole = reflect(type, create(type));
  for (const field of type.fields) {
    // Of a oneof one member, another one in each variant; in some variants a field is not there.
    const { oneof } = field;
    if (oneof !== undefined && pick(oneof.fields, variant) !== field) continue;
    if (depth < depthMax && (variant + field.number) % 5 !== 4)
      fill(whole, field, variant + field.number, depth);
  }
  return whole.message;
};

const scalarOf = (type: ScalarType, variant: number): unknown => {
  const values = VALUES[type] ?? expect.fail(`no values of type ${type}`);
  return pick(values, variant);
};

const messageOf = (type: DescMessage, variant: number, depth: number): ReflectMessage =>
  reflect(type, sample(type, variant, depth + 1));

const fill = (whole: ReflectMessage, field: DescField, variant: number, depth: number): void => {
  switch (field.fieldKind) {
    case "scalar":
      return whole.set(field, scalarOf(field.scalar, variant));
    case "enum":
      return whole.set(field, pick(field.enum.values, variant).number);
    case "message":
      return whole.set(field, messageOf(field.message, variant, depth));
    case "list": {
      const list = whole.get(field);
      for (const at of [0, 1]) {
        if (field.listKind === "message") list.add(messageOf(field.message, variant + at, depth));
        else if (field.listKind === "enum") list.add(pick(field.enum.values, variant + at).number);
        else list.add(scalarOf(field.scalar, variant + at));
      }
      return;
    }
    case "map": {
      const map = whole.get(field);
      for (const key of ["a", "__proto__", "b/c"]) {
        if (field.mapKind === "message") map.set(key, messageOf(field.message, variant, depth));
        else if (field.mapKind === "scalar") map.set(key, scalarOf(field.scalar, variant));
      }
    }
  }
};

type Case = { readonly type: DescMessage; readonly bytes: Uint8Array; readonly json: string };
type Theirs = { readonly json: string; readonly bytes: string };

const refused: readonly (readonly [string, string])[] = [
  ["sigil.trust.v1.CheckRequest", '{"keepInput":"false"}'],
  ["sigil.trust.v1.CheckRequest", '{"action":5}'],
  ["sigil.trust.v1.CheckRequest", '{"nothing":1}'],
  ["sigil.trust.v1.CheckRequest", '{"action":"a","action":"a"}'],
  ["sigil.audit.v1.GetInclusionProofRequest", '{"position":-1}'],
  ["sigil.audit.v1.GetInclusionProofRequest", '{"position":"x"}'],
  ["sigil.audit.v1.GetInclusionProofRequest", '{"position":1.5}'],
  ["sigil.canon.v1.WriteRecordRequest", '{"payloadJson":"1","payloadCbor":"AA=="}'],
  ["sigil.audit.v1.ListFrozenChainsRequest", '{"fromTime":"yesterday"}'],
  ["sigil.audit.v1.ListFrozenChainsRequest", '{"verdict":"VERDICT_MAYBE"}'],
];

describe(`JSON over HTTP${missing}`, function () {
  const cases: Case[] = [];
  let theirs: readonly Theirs[] = [];
  let theirRefusals: readonly boolean[] = [];

  before(function () {
    if (!hasPython) return this.skip();
    for (const service of contracts) {
      if (service.kind !== "service" || !service.typeName.startsWith("sigil.")) continue;
      for (const { input, output } of service.methods)
        for (const type of [input, output])
          for (let variant = 0; variant < 9; variant += 1) {
            const bytes = toBinary(type, sample(type, variant));
            cases.push({ type, bytes, json: JSON.stringify(jsonOf(type, bytes, contracts)) });
          }
    }
    const asked = {
      descriptors: join(repository, "generated/descriptors.binpb"),
      cases: cases.map(({ type, bytes, json }) => ({
        type: type.typeName,
        bytes: Buffer.from(bytes).toString("base64"),
        json,
      })),
      refused: refused.map(([type, json]) => ({ type, json })),
    };
    const { stdout, stderr } = spawnSync(python, [join(repository, "test/contract/protojson.py")], {
      input: JSON.stringify(asked),
      encoding: "utf8",
      maxBuffer: 1 << 28,
    });
    expect(stderr).to.equal("");
    ({ cases: theirs, refused: theirRefusals } = JSON.parse(stdout) as {
      readonly cases: readonly Theirs[];
      readonly refused: readonly boolean[];
    });
  });

  it("is what the library writes, for request and reply of every RPC", () => {
    expect(cases.length).to.be.at.least(800);
    for (const [at, { type, json }] of cases.entries())
      expect(JSON.parse(json), type.typeName).to.deep.equal(JSON.parse(theirs[at]?.json ?? ""));
  });

  it("is read by the library as the message it was written from, and the library's by us", () => {
    for (const [at, { type, bytes }] of cases.entries()) {
      const read = fromBinary(type, Buffer.from(theirs[at]?.bytes ?? "", "base64"));
      const own = fromBinary(type, bytes);
      const ours = fromJsonString(type, theirs[at]?.json ?? "", { registry: contracts });
      // Not by their bytes: maps have no order.
      for (const each of [read, ours])
        expect(jsonOf(type, toBinary(type, each), contracts), type.typeName).to.deep.equal(
          jsonOf(type, toBinary(type, own), contracts),
        );
    }
  });

  it("is refused by both where it is wrong", () => {
    expect(theirRefusals).to.deep.equal(refused.map(() => true));
    for (const [name, json] of refused) {
      const type = contracts.getMessage(name) ?? expect.fail(name);
      expect(() => fromJsonString(type, json, { registry: contracts }), json).to.throw();
    }
  });
});
