/** Records as CloudEvents: what relays publish, in binary and in structured mode. */
import { parseHash, toBase64, toHex, utf8Encode, type Hash } from "@sigil/core/bytes";
import { cborEncode, type CborMap } from "@sigil/core/cbor";
import {
  coseKeyThumbprint,
  encodeProtected,
  encodeStatement,
  recordContentType,
  toBeSigned,
} from "@sigil/core/cose";
import { sha256 } from "@sigil/core/hash";
import {
  commitTo,
  digestValue,
  encodeBody,
  encodeEnvelope,
  formatDisclosures,
  hashRecord,
  subjectOf,
  type Disclosures,
  type Opening,
  type RecordBody,
} from "@sigil/core/record";
import { leafOf } from "@sigil/core/verify";
import {
  byReference,
  checkpointAttribute,
  eventOf,
  headersOf,
  jsonLine,
  type EventOptions,
} from "../../src/relay/event.ts";
import { subjectOf as natsSubjectOf } from "../../src/relay/nats-subject.ts";
import { chain2, payloads } from "./payloads.ts";
import { sampleKey } from "./sample-key.ts";

const origin = "ledger.example/main";
const signer = sampleKey("record");
const hashOf = (fill: number): Hash => parseHash(new Uint8Array(32).fill(fill));

const user: RecordBody = {
  kind: "note",
  schemaVersion: 1,
  id: "notes/1",
  tenant: "acme",
  ts: 1_700_000_000_123,
  space: "user",
  payload: { text: "hello" },
  links: [{ label: "cites", target: hashOf(2) }],
  prev: null,
};

const sealedOf = (body: RecordBody): { readonly envelope: Uint8Array; readonly hash: Hash } => {
  const payload = encodeBody(body);
  const protectedBytes = encodeProtected({
    contentType: recordContentType,
    kid: coseKeyThumbprint(signer.publicKey),
    origin,
    subject: subjectOf(body),
  });
  const signature = signer.sign(toBeSigned(protectedBytes, payload));
  const statement = encodeStatement({ protectedBytes, payload, signature });
  return { envelope: encodeEnvelope({ statement, attestations: [] }), hash: hashRecord(payload) };
};

const traced = (): RecordBody => {
  const chain = payloads.find(([name]) => name === "a decision")?.[2];
  const { request, ...others } = chain as { readonly request: { readonly metadata: object } };
  const metadata = {
    ...request.metadata,
    traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
  };
  const payload = { ...others, request: { ...request, metadata } } as RecordBody["payload"];
  return { ...user, kind: "frozen_chain", id: "decision/1", links: [], payload };
};

/** A decision whose input was kept, and what opens its commitment. */
const disclosedInput = ((): { readonly body: RecordBody; readonly disclosures: Disclosures } => {
  const raw = utf8Encode("may the agent write the notes?");
  const opening: Opening = {
    salt: hashOf(6),
    value: digestValue({ digest: sha256(raw), bytes: raw.length }),
    raw,
  };
  const { request, ...others } = chain2;
  const payload = { ...others, request: { ...(request as CborMap), input: commitTo("input", opening) } };
  return {
    body: { ...user, kind: "frozen_chain", schemaVersion: 2, id: "decision/2", links: [], payload },
    disclosures: { input: opening },
  };
})();

type Case = {
  readonly name: string;
  readonly body: RecordBody;
  readonly options?: Partial<EventOptions>;
  readonly position?: bigint;
  readonly prev?: bigint;
  readonly generation?: number;
  readonly form?: "erased" | "reference";
  /** A signed note. */
  readonly checkpoint?: string;
  readonly disclosures?: Disclosures;
};

/** Signed by nobody: an event carries a note, and whoever believes it verifies it. */
const note = `${origin}\n13\n${toBase64(hashOf(4))}\n\n\u2014 ${origin} ${toBase64(new Uint8Array(68).fill(5))}\n`;

const cases: readonly Case[] = [
  { name: "the first of a lane", body: user, position: 0n },
  { name: "a later one, in another generation", body: user, position: 41n, prev: 40n, generation: 7 },
  { name: "the last position", body: user, position: 2n ** 64n - 1n, prev: 2n ** 64n - 2n },
  { name: "as JSON", body: { ...user, prev: hashOf(9) }, options: { format: "json" } },
  {
    name: "awkward values as JSON",
    body: {
      ...user,
      payload: {
        big: 2n ** 63n,
        bytes: new Uint8Array([0, 255]),
        nul: "\0\u2028",
        __proto__x: 0.1,
        list: [null, true],
      },
    },
    options: { format: "json" },
  },
  { name: "facts alone", body: user, options: { data: "metadata" } },
  { name: "facts alone as JSON", body: user, options: { data: "metadata", format: "json" } },
  { name: "by reference", body: user, form: "reference" },
  { name: "erased", body: user, prev: 11n, form: "erased" },
  { name: "the last of a batch, with a checkpoint", body: user, prev: 11n, checkpoint: note },
  { name: "erased, the last of a batch", body: user, prev: 11n, form: "erased", checkpoint: note },
  { name: "a decision with a trace", body: traced(), options: { data: "metadata" } },
  {
    name: "a decision with what opens its commitment",
    ...disclosedInput,
    options: { disclosures: "included" },
  },
  {
    name: "a decision with what opens its commitment, as JSON",
    ...disclosedInput,
    options: { disclosures: "included", format: "json" },
  },
  {
    name: "a decision whose disclosures are too large, by reference",
    ...disclosedInput,
    options: { disclosures: "included" },
    form: "reference",
  },
  { name: "a decision without what opens its commitment", ...disclosedInput },
  { name: "hostile kind", body: { ...user, kind: 'a.*>\r\n "%ä\0' }, options: { data: "metadata" } },
  { name: "every character of an id", body: { ...user, id: "AZaz09._~:/@-" }, options: { data: "metadata" } },
  {
    name: "beyond the year 9999",
    body: { ...user, ts: Number.MAX_SAFE_INTEGER },
    options: { data: "metadata" },
  },
  {
    name: "the last millisecond of 9999",
    body: { ...user, ts: 253_402_300_799_999 },
    options: { data: "metadata" },
  },
  {
    name: "a prefix of their own",
    body: user,
    options: { typePrefix: "com.example.sigil", data: "metadata" },
  },
];

const written = (one: Case) => {
  const { name, body, options, position = 12n, prev, generation = 1, form, checkpoint, disclosures } = one;
  const { envelope, hash } = sealedOf(body);
  const full: EventOptions = {
    origin,
    typePrefix: "sigil",
    data: "full",
    format: "envelope",
    disclosures: "withheld",
    ...options,
  };
  const record =
    form === "erased"
      ? undefined
      : {
          position,
          version: 1n,
          envelope,
          hash,
          body,
          ...(disclosures === undefined ? {} : { disclosures }),
        };
  const whole = eventOf({ position, leaf: leafOf(envelope), record }, full, { generation, prev });
  const sent = form === "reference" ? byReference(whole) : whole;
  const event =
    checkpoint === undefined
      ? sent
      : { ...sent, attributes: { ...sent.attributes, ...checkpointAttribute(checkpoint) } };
  return {
    name,
    data: full.data,
    format: full.format,
    type_prefix: full.typePrefix,
    form: form ?? "record",
    position: String(position),
    prev: prev === undefined ? null : String(prev),
    generation,
    ...(checkpoint === undefined ? {} : { checkpoint }),
    envelope: toHex(envelope),
    disclosing: full.disclosures,
    ...(disclosures === undefined ? {} : { disclosures: toHex(cborEncode(formatDisclosures(disclosures))) }),
    headers: Object.fromEntries(headersOf(event)),
    body: event.data === undefined ? "" : toBase64(event.data.bytes),
    line: jsonLine(event),
    nats_subject: natsSubjectOf("sigil", event),
  };
};

export const eventVectors = () => ({
  about:
    "Records as CloudEvents of a relay: headers and body (base64) in binary mode, one line in structured mode, the subject in NATS under the prefix sigil. envelope is hex, disclosures are canonical CBOR in hex; disclosing says whether the relay was to include them. An erased record has lost its own.",
  origin,
  cases: cases.map(written),
});
