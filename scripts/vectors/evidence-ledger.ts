/** A small ledger with every kind of record that an evidence file holds, forged where asked. Deterministic. */
import { parseHash, type Hash } from "@sigil/core/bytes";
import { sha256 } from "@sigil/core/hash";
import type { CborMap } from "@sigil/core/cbor";
import {
  coseKeyThumbprint,
  encodeProtected,
  encodeStatement,
  recordContentType,
  toBeSigned,
} from "@sigil/core/cose";
import {
  formatNote,
  formatVerifierKey,
  parseNote,
  signCheckpoint,
  signCosignature,
  type NoteSignature,
} from "@sigil/core/merkle";
import { evaluate, gatherFeatures, parseModel, type Observation } from "@sigil/core/model";
import {
  commitTo,
  digestValue,
  encodeBody,
  encodeEnvelope,
  entryOf,
  formatFrozenChain,
  hashRecord,
  modelLabel,
  principalLabel,
  subjectOf,
  systemBody,
  type FrozenChainPayload,
  type Opening,
  type RecordBody,
} from "@sigil/core/record";
import type { Evidence } from "@sigil/core/verify";
import { naiveInclusion, naiveRoot } from "../../test/unit/merkle/naive-tree.ts";
import { formatFrozenChain1, type Chain1 } from "../../test/contract/version-1.ts";
import { sampleKey, type SampleKey } from "./sample-key.ts";

const origin = "ledger.example/main";
const ts = 1_700_000_000_000;
const keys = {
  record: [sampleKey("record"), sampleKey("second record")],
  checkpoint: [sampleKey("checkpoint"), sampleKey("second checkpoint")],
} as const;
const root = sampleKey("root");
const ann = sampleKey("ann");
const registered = sampleKey("registered witness");
const cosigners = [
  { label: "w1", name: "witness.example/w1", key: sampleKey("cosigner 1") },
  { label: "w2", name: "witness.example/w2", key: sampleKey("cosigner 2") },
] as const;

const modelPayload: CborMap = {
  bias: 1,
  weights: { action_risk: -6, target_sensitivity: -4, level: 8, rate: -2, entropy: -1.5 },
  threshold: 0.5,
  review: { low: 0.45, high: 0.55 },
  actions: { read: { risk: 0.05, min_loa: "guest" }, "tool.*": { risk: 0.8, min_loa: "mentor" } },
  targets: { "public/**": 0, "user/*/notes": 0.3, "user/**": 0.7 },
  rate: { window_ms: 60_000, limit: 600 },
};
const model = parseModel(modelPayload);

const principal = (key: SampleKey, loa: string, tenant: string): CborMap => ({
  public_keys: [key.publicKey],
  loa,
  tenant,
  active: true,
});

const witness: CborMap = {
  public_key: registered.publicKey,
  owner: "Ann",
  authority: "Board",
  description: "",
};

const genesis: CborMap = {
  format: 1,
  origin,
  root: { id: "root", ...principal(root, "root", "system") },
  witnesses: [{ id: "w1", ...witness }],
  k: 1,
  model: modelPayload,
  keys: { record: keys.record[0].publicKey, checkpoint: keys.checkpoint[0].publicKey },
};

type Asked = Observation & { readonly inputBytes?: number };

/** A decision as the model makes it. */
const decide = (observation: Asked, modelHash: Hash): FrozenChainPayload => {
  const features = gatherFeatures(model, observation);
  const { verdict, z, score, contributions } = evaluate(model, features);
  const { action, target, level: loa, input, inputBytes = input?.length ?? 0 } = observation;
  return {
    request: {
      action,
      target,
      subject: "ann",
      caller: "ann",
      tenant: "acme",
      loa,
      session: "",
      inputDigest: parseHash(new Uint8Array(32).fill(7)),
      inputBytes,
      input,
      metadata: {},
    },
    features: features.values,
    model: { id: "trust_model/active", hash: modelHash },
    contributions,
    z,
    score,
    threshold: model.threshold,
    review: model.review,
    verdict: verdict.kind,
    reason: verdict.reason,
    steps: [],
    durationUs: 120,
  };
};

const unscored = (chain: FrozenChainPayload): FrozenChainPayload => ({
  ...chain,
  request: { ...chain.request, subject: "", caller: "", tenant: "public", loa: "guest" },
  features: {},
  model: { id: "trust_model/active", hash: null },
  contributions: {},
  z: null,
  score: null,
  threshold: null,
  review: null,
  verdict: "deny",
  reason: "MODEL_MISSING",
});

/** What a forger with the keys changes, before everything is signed. */
export type Forgery = {
  readonly chain?: (chain: FrozenChainPayload) => FrozenChainPayload;
  readonly subject?: (subject: string, id: string) => string;
  readonly signer?: (id: string) => SampleKey | undefined;
};

type Stood = { readonly body: RecordBody; readonly envelope: Uint8Array };

/** Positions of the ledger. */
export const at = {
  genesis: 0n,
  principal: 1n,
  quorum: 2n,
  witness: 3n,
  model: 4n,
  recordKey: 5n,
  checkpointKey: 6n,
  decision: 7n,
  kept: 8n,
  partial: 9n,
  unscored: 10n,
  note: 11n,
  retirement: 12n,
  laterPrincipal: 13n,
  second: 14n,
} as const;

/** Of the decision of version 2. */
const secondInput = Uint8Array.from([1, 2, 3, 1]);
export const secondOpening: Opening = {
  salt: new Uint8Array(32).fill(3),
  value: digestValue({ digest: sha256(secondInput), bytes: secondInput.length }),
  raw: secondInput,
};

const statementOf = (body: RecordBody, subject: string, signer: SampleKey): Uint8Array => {
  const bytes = encodeBody(body);
  const protectedBytes = encodeProtected({
    contentType: recordContentType,
    kid: coseKeyThumbprint(signer.publicKey),
    origin,
    subject,
  });
  return encodeStatement({
    protectedBytes,
    payload: bytes,
    signature: signer.sign(toBeSigned(protectedBytes, bytes)),
  });
};

const bodiesOf = ({ chain: forge = (chain) => chain }: Forgery): readonly RecordBody[] => {
  const system = (kind: string, id: string, payload: CborMap): RecordBody =>
    systemBody({ kind, id, ts, payload });
  const active = system("trust_model", "trust_model/active", modelPayload);
  const modelHash = hashRecord(encodeBody(active));
  const enrolled = system("principal", "principal/ann", principal(ann, "operator", "acme"));
  const decision = (name: string, chain: FrozenChainPayload): RecordBody => ({
    kind: "frozen_chain",
    schemaVersion: 1,
    id: `decision-${name}`,
    tenant: chain.request.tenant,
    ts,
    space: "user",
    payload: formatFrozenChain1(chain as Chain1),
    links: chain.model.hash === null ? [] : [{ label: "model", target: chain.model.hash }],
    prev: null,
  });
  const second = ({ request, ...chain }: FrozenChainPayload): RecordBody => ({
    kind: "frozen_chain",
    schemaVersion: 2,
    id: "decision-of-version-2",
    tenant: "acme",
    ts,
    space: "user",
    payload: formatFrozenChain({
      request: {
        action: request.action,
        target: request.target,
        subject: request.subject,
        caller: request.caller,
        loa: request.loa,
        input: commitTo("input", secondOpening),
        metadata: {},
      },
      features: chain.features,
      contributions: chain.contributions,
      model: chain.model.id,
      ...(chain.z === null ? {} : { z: chain.z }),
      ...(chain.threshold === null ? {} : { threshold: chain.threshold }),
      ...(chain.review === null ? {} : { review: chain.review }),
      verdict: chain.verdict,
      reason: chain.reason,
      durationUs: chain.durationUs,
      callerSeq: 1,
    }),
    links: [
      { label: modelLabel, target: modelHash },
      { label: principalLabel, target: hashRecord(encodeBody(enrolled)) },
    ],
    prev: null,
  });
  const asked: Asked = {
    action: "read",
    target: "user/ann/notes",
    level: "operator",
    rateCount: 3,
    input: null,
  };
  const shell: Asked = { ...asked, action: "tool.shell", target: "elsewhere" };
  return [
    system("genesis", "genesis", genesis),
    enrolled,
    system("quorum", "quorum", { k: 1, witnesses: ["w1"], epoch: 0 }),
    system("witness", "witness/w1", witness),
    active,
    system("signing_key", "signing_key/record/2", {
      role: "record",
      public_key: keys.record[1].publicKey,
      valid_from: Number(at.recordKey) + 1,
    }),
    system("signing_key", "signing_key/checkpoint/2", {
      role: "checkpoint",
      public_key: keys.checkpoint[1].publicKey,
      valid_from: Number(at.checkpointKey) + 1,
    }),
    decision("1", forge(decide(asked, modelHash))),
    decision("2", decide({ ...shell, input: Uint8Array.from([1, 2, 3, 1]) }, modelHash)),
    decision("3", decide({ ...asked, target: "user/ann/letters", inputBytes: 9 }, modelHash)),
    decision("4", unscored(decide(asked, modelHash))),
    {
      kind: "note",
      schemaVersion: 1,
      id: "notes/1",
      tenant: "acme",
      ts,
      space: "user",
      payload: { text: "hello" },
      links: [],
      prev: null,
    },
    system("key_retirement", `key_retirement/${thumbprintText(keys.record[0])}`, {
      role: "record",
      public_key: keys.record[0].publicKey,
      from: Number(at.recordKey) + 1,
    }),
    { ...enrolled, payload: principal(ann, "root", "acme"), prev: hashRecord(encodeBody(enrolled)) },
    second(forge(decide({ ...asked, input: secondInput }, modelHash))),
  ];
};

const thumbprintText = ({ publicKey }: SampleKey): string =>
  Buffer.from(coseKeyThumbprint(publicKey)).toString("base64url");

const stranger = sampleKey("stranger");

export type SampleLedger = {
  readonly genesis: Hash;
  readonly policy: string;
  /** The checkpoint's line by a key that is none of the log's, under its name. */
  readonly strangersLine: NoteSignature | undefined;
  /** @param positions of the records that the file holds besides those of the keys. */
  readonly evidence: (position: bigint, positions?: readonly bigint[]) => Evidence;
};

export const makeLedger = async (forgery: Forgery = {}): Promise<SampleLedger> => {
  const stood: readonly Stood[] = bodiesOf(forgery).map((body, position) => {
    const own = position <= Number(at.recordKey) ? keys.record[0] : keys.record[1];
    const signer = forgery.signer?.(body.id) ?? own;
    const subject = forgery.subject?.(subjectOf(body), body.id) ?? subjectOf(body);
    const statement = statementOf(body, subject, signer);
    return { body, envelope: encodeEnvelope({ statement, attestations: [] }) };
  });
  const entries = stood.map(({ envelope }) => entryOf(envelope));
  const { publicKey, sign } = keys.checkpoint[1];
  const signing = { publicKey, sign: async (message: Uint8Array) => sign(message) };
  const tree = { origin, size: BigInt(stood.length), root: naiveRoot(entries) };
  const { text, signatures } = parseNote(await signCheckpoint(tree, signing));
  const cosignatures = await Promise.all(
    cosigners.map(({ name, key }) =>
      signCosignature(text, BigInt(ts / 1000), {
        name,
        publicKey: key.publicKey,
        sign: async (message) => key.sign(message),
      }),
    ),
  );
  const strange = {
    publicKey: stranger.publicKey,
    sign: async (message: Uint8Array) => stranger.sign(message),
  };
  const [strangersLine] = parseNote(await signCheckpoint(tree, strange)).signatures;
  const checkpoint = formatNote({ text, signatures: [...signatures, ...cosignatures] });
  const ofKeys = [at.genesis, at.recordKey, at.checkpointKey, at.retirement];
  return {
    strangersLine,
    genesis: hashRecord(encodeBody((stood[0] as Stood).body)),
    policy: [
      `log ${formatVerifierKey({ name: origin, use: "log", publicKey })}`,
      ...cosigners.map(
        ({ label, name, key }) =>
          `witness ${label} ${formatVerifierKey({ name, use: "cosigner", publicKey: key.publicKey })}`,
      ),
      "group both all w1 w2",
      "quorum both",
      "",
    ].join("\n"),
    evidence: (position, positions = []) => ({
      origin,
      position,
      checkpoint,
      records: [...new Set([...ofKeys, position, ...positions])]
        .sort((a, b) => (a < b ? -1 : 1))
        .map((each) => ({
          position: each,
          envelope: (stood[Number(each)] as Stood).envelope,
          proof: naiveInclusion(Number(each), entries),
        })),
    }),
  };
};

/** What stands in a file about a decision of the model. */
export const grounds = [at.principal, at.quorum, at.witness, at.model];
export const registry = [at.quorum, at.witness];
export const strangerPolicy = `log ${formatVerifierKey({ name: origin, use: "log", publicKey: stranger.publicKey })}\nquorum none\n`;
export const recordKeyOne = keys.record[0];
