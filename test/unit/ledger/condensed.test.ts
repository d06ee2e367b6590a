/** Decisions condensed for their seal come back byte for byte, or are not condensed. */
import { expect } from "chai";
import { describe, it } from "mocha";
import fc from "fast-check";
import { concatBytes, parseThumbprint, toHex, utf8Encode, type Hash } from "../../../src/core/bytes.ts";
import { cborEncode, type CborMap } from "../../../src/core/cbor/cbor.ts";
import {
  attestationContentType,
  encodeProtected,
  encodeStatement,
  recordContentType,
} from "../../../src/core/cose/cose.ts";
import { sha256 } from "../../../src/core/hash.ts";
import { formatDisclosures, type Disclosures } from "../../../src/core/record/commitment.ts";
import { encodeBody, encodeEnvelope, subjectOf, type RecordBody } from "../../../src/core/record/record.ts";
import { SigilFault } from "../../../src/errors.ts";
import { condense } from "../../../src/ledger/sealing/condense.ts";
import { condensedTexts } from "../../../src/ledger/sealing/condensed-items.ts";
import { expand } from "../../../src/ledger/sealing/expand.ts";

const place = { origin: "ledger.example/main", tenant: "acme" };
const kid = parseThumbprint(sha256(utf8Encode("kid")));
const signature = concatBytes(sha256(utf8Encode("r")), sha256(utf8Encode("s")));
const hashOf = (text: string): Hash => sha256(utf8Encode(text));

const decision: RecordBody = {
  kind: "frozen_chain",
  schemaVersion: 2,
  id: "0192c0de-7000-7abc-8def-0123456789ab",
  tenant: "acme",
  ts: 1_700_000_000_000,
  space: "user",
  payload: {
    request: {
      action: "write",
      target: "user/notes/shopping",
      subject: "orders-backend",
      caller: "orders-backend",
      loa: "operator",
      input: hashOf("input"),
      metadata: { request_id: "5e4a2a9e-52f4-4d37-a4ab-9a1d0c9d2f11" },
      session: "5f1c",
    },
    features: { action_risk: 0.4, target_sensitivity: 0.3, level: 0.5, rate: 1, entropy: 0 },
    contributions: {
      action_risk: -2.4000000000000004,
      target_sensitivity: -1.2,
      level: 4,
      rate: -2,
      entropy: 0,
    },
    model: "trust_model/active",
    z: -0.6000000000000005,
    threshold: 0.5,
    review: { low: 0.45, high: 0.55 },
    verdict: "deny",
    reason: "SCORE_BELOW_THRESHOLD",
    duration_us: 12,
    caller_seq: 19_999,
  },
  links: [
    { label: "model", target: hashOf("model") },
    { label: "principal", target: hashOf("principal") },
  ],
  prev: null,
};

const opening = { salt: hashOf("salt"), value: [sha256(new Uint8Array()), 0] };

type Spelt = {
  readonly contentType?: typeof recordContentType | typeof attestationContentType;
  readonly subject?: string;
};

const envelopeOf = (
  payload: Uint8Array,
  subject: string,
  contentType: Spelt["contentType"] = recordContentType,
) => {
  const protectedBytes = encodeProtected({ contentType, kid, origin: place.origin, subject });
  return encodeEnvelope({
    statement: encodeStatement({ protectedBytes, payload, signature }),
    attestations: [],
  });
};

const enveloped = (body: RecordBody, { subject = subjectOf(body), contentType }: Spelt = {}): Uint8Array =>
  envelopeOf(encodeBody(body), subject, contentType);

/** Undefined for what is not condensed. */
const roundTrip = (envelope: Uint8Array, disclosures: Disclosures, at = place): string | undefined => {
  const condensed = condense(envelope, disclosures, at)?.slice();
  if (condensed === undefined) return undefined;
  const found = expand(condensed, at);
  expect(toHex(cborEncode(found.disclosures))).to.equal(toHex(cborEncode(formatDisclosures(disclosures))));
  expect(condensed.length).to.be.at.most(
    envelope.length + cborEncode(formatDisclosures(disclosures)).length,
    "is no longer",
  );
  return toHex(found.envelope);
};

describe("a condensed decision", () => {
  it("is less than half as long, and comes back byte for byte", () => {
    const envelope = enveloped(decision);
    const condensed = condense(envelope, { input: opening }, place);
    expect(envelope.length).to.be.above(1000);
    expect(condensed?.length).to.be.below(480);
    expect(roundTrip(envelope, { input: opening })).to.equal(toHex(envelope));
  });

  it("is laid out as it always was", () => {
    expect(toHex(sha256(cborEncode(condensedTexts)))).to.equal(
      "3ee44861f3380c0f2f4b3d578ca1a0bcab621b1cf07de5f85b6d384c06e83b17",
    );
    const condensed = condense(enveloped(decision), { input: opening }, place);
    expect(toHex(sha256(condensed ?? new Uint8Array()))).to.equal(
      "1cf88b3811db8f808d7d666a66061c277de137fe7e3da651f689ec0c9e3301d6",
    );
    expect(condensedTexts).to.have.lengthOf(48);
    expect(new Set(condensedTexts).size).to.equal(48);
  });

  it("comes back with any values, whatever texts are in it", () => {
    const text = fc.oneof(
      fc.string({ unit: "grapheme", maxLength: 300 }),
      fc.constantFrom("", "acme", "id", "operator", "__proto__", ...condensedTexts),
      fc.uuid(),
      fc.uuid().map((uuid) => uuid.toUpperCase()),
      fc.uuid().map((uuid) => uuid.replaceAll("-", "a")),
    );
    const payload = fc.record({
      action: text,
      target: text,
      caller: text,
      subject: text,
      metadata: fc.dictionary(text, text, { maxKeys: 40 }),
      input: fc.constantFrom(hashOf("input"), sha256(new Uint8Array())),
    });
    const numbers = fc.dictionary(
      text,
      fc.oneof(fc.double({ noNaN: true, noDefaultInfinity: true }), fc.integer()),
    );
    const id = fc.oneof(fc.uuid(), fc.constantFrom("a", "x".repeat(23), "x".repeat(24), "x".repeat(255)));
    fc.assert(
      fc.property(payload, numbers, id, fc.boolean(), (request, features, name, isKept) => {
        const whole = decision.payload as CborMap;
        const asked = { ...request, loa: "guest" };
        const body = { ...decision, id: name, payload: { ...whole, request: asked, features } };
        const raw = isKept ? { raw: utf8Encode(request.target) } : {};
        const disclosures = { input: { ...opening, ...raw } };
        const envelope = enveloped(body);
        expect(roundTrip(envelope, disclosures)).to.equal(toHex(envelope));
      }),
      { numRuns: 400 },
    );
  });

  it("is not made of an envelope that does not follow from it", () => {
    const good = enveloped(decision);
    const bodyBytes = encodeBody(decision);
    const statement = encodeStatement({
      protectedBytes: encodeProtected({
        contentType: recordContentType,
        kid,
        origin: place.origin,
        subject: "s",
      }),
      payload: bodyBytes,
      signature,
    });
    const others: Readonly<Record<string, Uint8Array>> = {
      attested: encodeEnvelope({ statement, attestations: [statement] }),
      subject: enveloped(decision, { subject: "acme/user/other" }),
      longerSubject: enveloped(decision, { subject: `${subjectOf(decision)}/x` }),
      contentType: enveloped(decision, { contentType: attestationContentType }),
      otherTenant: enveloped({ ...decision, tenant: "acmf" }),
      system: enveloped(
        { ...decision, kind: "note", schemaVersion: 1, tenant: "acme" },
        { subject: "acme/system/x" },
      ),
      noBody: envelopeOf(utf8Encode("x".repeat(300)), "acme/user/x"),
      trailing: concatBytes(good, Uint8Array.of(0)),
      short: good.subarray(0, -1),
      empty: new Uint8Array(),
    };
    for (const [name, envelope] of Object.entries(others)) {
      expect(condense(envelope, { input: opening }, place), name).to.equal(undefined);
    }
    expect(condense(good, { input: opening }, { ...place, origin: "ledger.example/other" })).to.equal(
      undefined,
    );
    expect(condense(good, { input: opening }, { ...place, tenant: "acm" })).to.equal(undefined);
    const raw = new Uint8Array(40_000);
    expect(condense(good, { input: { ...opening, raw } }, place)).to.equal(undefined);
  });

  it("is not made where any byte of the envelope was changed, unless it comes back as changed", () => {
    const good = enveloped(decision);
    for (let at = 0; at < good.length; at += 1) {
      for (const flip of [0x01, 0x20, 0x80]) {
        const changed = Uint8Array.from(good);
        changed[at] = (changed[at] as number) ^ flip;
        const condensed = condense(changed, { input: opening }, place)?.slice();
        if (condensed === undefined) continue;
        expect(toHex(expand(condensed, place).envelope), `byte ${at}`).to.equal(toHex(changed));
      }
    }
  });

  it("is refused when it was cut short or changed, and nothing else is thrown", () => {
    const condensed = condense(enveloped(decision), { input: opening }, place)?.slice() ?? new Uint8Array();
    const opened = (bytes: Uint8Array): void => {
      try {
        expand(bytes, place);
      } catch (error) {
        expect(error).to.be.instanceOf(SigilFault);
      }
    };
    for (let length = 0; length < condensed.length; length += 1) {
      expect(() => expand(condensed.subarray(0, length), place), `${length} bytes`).to.throw(SigilFault);
    }
    expect(() => expand(concatBytes(condensed, Uint8Array.of(0)), place)).to.throw(SigilFault);
    fc.assert(
      fc.property(fc.nat(condensed.length - 1), fc.nat(255), (at, byte) => {
        const changed = Uint8Array.from(condensed);
        changed[at] = byte;
        opened(changed);
      }),
      { numRuns: 2000 },
    );
    // A text of 64 KiB that is named again sixty thousand times would be 4 GB.
    const bomb = concatBytes(
      new Uint8Array(96),
      Uint8Array.of(0x9a, 0, 0, 0xe0, 0),
      cborEncode("x".repeat(60_000)),
      ...Array.from({ length: 57_343 }, () => Uint8Array.of(0xc0, 0)),
    );
    expect(() => expand(bomb, place)).to.throw("1048576");
  });
});
