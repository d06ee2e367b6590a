/**
 * A ledger of mixed records out of a seed: real bodies, signatures, tree and checkpoints, the same bytes for the same
 * seed, without a server. Every kind that a projection has a table for, every ending of a proposal, keys that are
 * replaced, tenants that are erased, and the values that databases hold badly.
 */
import { createPrivateKey, hash as digest } from "node:crypto";
import { parseHash, utf8Encode, type Hash } from "../../src/core/bytes.ts";
import type { CborMap, CborValue } from "../../src/core/cbor/cbor.ts";
import { sha256 } from "../../src/core/hash.ts";
import { signCheckpoint } from "../../src/core/merkle/checkpoint.ts";
import { appendLeaves, emptyFrontier, rootOf, type Frontier } from "../../src/core/merkle/tree.ts";
import {
  formatAttestationRecord,
  formatErased,
  formatErasure,
  formatGenesis,
  formatModuleRun,
  formatProposal,
  formatProposalEnding,
  formatSigningKey,
  formatSuspension,
  formatTombstone,
  parseGenesis,
  proposalOutcomes,
} from "../../src/core/record/kinds.ts";
import type { Disclosures } from "../../src/core/record/commitment.ts";
import { flipReportLink } from "../../src/core/record/flip-report.ts";
import { encodeBody, type RecordBody } from "../../src/core/record/record.ts";
import { createSigner, type Signer } from "../../src/crypto/signing/sign.ts";
import { prepareRecord, signRecord } from "../../src/ledger/append/prepare.ts";
import { recordChain, ReasoningChain } from "../../src/audit/chain.ts";
import { withNumber } from "../../src/ledger/append/caller-numbers.ts";
import { defaultModelPayload } from "../../src/trust/default-model.ts";
import { goldenFlips, goldenRun } from "./golden-payloads.ts";
import { formatFrozenChain1, formatModuleRun1, type Chain1 } from "./version-1.ts";
import { createRandom } from "../campaigns/oracle.ts";

export type GoldenPlace = {
  readonly leaf: Hash;
  readonly envelope: Uint8Array;
  readonly hash: Hash;
  readonly body: RecordBody;
  /** What opens its commitments. */
  readonly disclosures?: Disclosures;
};

export type GoldenLedger = {
  readonly origin: string;
  readonly genesis: Hash;
  readonly places: readonly GoldenPlace[];
  /** Position of the order by tenant. */
  readonly erasures: ReadonlyMap<string, bigint>;
  /** Signed notes by size: one now and then, one each fifty records, and one at the end. */
  readonly checkpoints: ReadonlyMap<bigint, string>;
};

/** Source: RFC 8410 §7. */
const pkcs8Prefix = Buffer.from("302e020100300506032b657004220420", "hex");

const signerOf = (seed: number, name: string): Signer => {
  const secret = digest("sha256", `golden ${seed} ${name}`, "buffer");
  return createSigner(
    createPrivateKey({ key: Buffer.concat([pkcs8Prefix, secret]), format: "der", type: "pkcs8" }),
  );
};

const startMs = 1_700_000_000_000;

/** What databases hold badly, or not at all. */
const awkward: readonly CborValue[] = [
  "nul \0 inside",
  "\0",
  { "a\0b": 1, "a\u2400b": 2 },
  "\\u0000 is no nul",
  9_223_372_036_854_775_807n,
  -9_223_372_036_854_775_808n,
  18_446_744_073_709_551_615n,
  9_007_199_254_740_991,
  -9_007_199_254_740_991,
  9_007_199_254_740_993n,
  { "": { "": "" } },
  { __proto__: null, constructor: 1 },
  JSON.parse('{"__proto__": {"admin": true}}') as CborMap,
  [[[[[[[[[[[["deep"]]]]]]]]]]]],
  new Uint8Array([0, 255, 128, 0]),
  new Uint8Array(0),
  5e-324,
  1.7976931348623157e308,
  -1e-7,
  0.1,
  1e21,
  "\u{1f9ff} \u202e right to left \u200d",
  "\ufeffbom",
  "é e\u0301",
  "'; DROP TABLE records; --",
  "\t\n\r\\N\\.",
  null,
  true,
  [],
  {},
];

/** Pairs that look the same, or sort apart in another collation. */
const lookAlikes = ["notes/l1", "notes/I1", "notes/O0", "notes/0O", "notes/a~b", "notes/A~b", "Notes/a~b"];

/** @param count of records, genesis included: 100 at least. */
export const generateLedger = async ({
  seed,
  count,
}: {
  readonly seed: number;
  readonly count: number;
}): Promise<GoldenLedger> => {
  const random = createRandom(seed);
  const below = (limit: number): number => Math.floor(random() * limit);
  const pick = <T>(list: readonly T[]): T => list[below(list.length)] as T;
  const origin = "golden.test";
  const bytes = (name: string | number): Hash => sha256(utf8Encode(`${seed} ${name}`));
  let record = signerOf(seed, "record 1");
  let checkpointSigner = signerOf(seed, "checkpoint 1");
  const serials = { record: 1, checkpoint: 1 };

  const places: GoldenPlace[] = [];
  const newest = new Map<string, GoldenPlace>();
  const erasures = new Map<string, bigint>();
  const checkpoints = new Map<bigint, string>();
  let frontier: Frontier = emptyFrontier;

  const append = async (body: RecordBody, attestations: readonly Uint8Array[] = []): Promise<GoldenPlace> => {
    const signed = await signRecord(prepareRecord(body, { attestations }), { signer: record, origin });
    const { envelope, hash, leaf } = signed;
    const place = { leaf, envelope, hash, body };
    places.push(place);
    newest.set(`${body.tenant}/${body.space}/${body.id}`, place);
    ({ frontier } = appendLeaves(frontier, [leaf]));
    // Which key signs at the size of a new one is decided by whoever rotates it.
    if (frontier.size % 50n === 0n && body.kind !== "signing_key") await note();
    return place;
  };
  const note = async (): Promise<void> => {
    const { size } = frontier;
    checkpoints.set(size, await signCheckpoint({ origin, size, root: rootOf(frontier) }, checkpointSigner));
  };
  const position = (): bigint => BigInt(places.length);
  const bodyOf = (changes: Pick<RecordBody, "kind" | "id" | "payload"> & Partial<RecordBody>): RecordBody => {
    const { tenant = "system", space = "system", id } = changes;
    const before = newest.get(`${tenant}/${space}/${id}`);
    return {
      schemaVersion: 1,
      ts: startMs + places.length * 17,
      links: [],
      prev: before?.hash ?? null,
      ...changes,
      tenant,
      space,
    };
  };

  const witnesses = ["w1", "w2", "w3"].map((id) => ({
    id,
    public_key: signerOf(seed, id).publicKey,
    owner: `owner ${id}`,
    authority: "",
    description: "",
  }));
  const genesisPayload = formatGenesis(
    parseGenesis({
      format: 1,
      origin,
      root: {
        id: "root",
        public_keys: [signerOf(seed, "root").publicKey],
        loa: "root",
        tenant: "system",
        active: true,
      },
      witnesses,
      k: 2,
      model: defaultModelPayload,
      keys: { record: record.publicKey, checkpoint: checkpointSigner.publicKey },
    }),
  );
  const { hash: genesis } = await append(bodyOf({ kind: "genesis", id: "genesis", payload: genesisPayload }));

  const tenants = ["acme", "acme-2", "beta", "gone-1", "gone-2", "0"];
  const living = (): readonly string[] => tenants.filter((tenant) => !erasures.has(tenant));

  const userData = async (): Promise<void> => {
    const tenant = pick(living());
    const id = random() < 0.3 ? pick(lookAlikes) : `notes/${below(count / 8)}`;
    const value = pick(awkward);
    const payload = random() < 0.5 ? value : { value, text: `note ${below(1000)}`, list: [value, below(9)] };
    const links = Array.from({ length: below(3) }, (_, at) => ({
      label: pick(["", "see", "la\0bel", `link ${at}`]),
      target: pick(places).hash,
    })).filter(({ label }) => label !== "");
    const before = newest.get(`${tenant}/user/${id}`);
    const isEnding = before !== undefined && before.body.kind !== "tombstone" && random() < 0.1;
    const kind = pick(["user_data", "config", "note\0kind"]);
    await append(
      isEnding
        ? bodyOf({
            kind: "tombstone",
            id,
            tenant,
            space: "user",
            payload: formatTombstone({ kind: before.body.kind }),
          })
        : bodyOf({ kind, id, tenant, space: "user", payload, links }),
    );
  };

  const numbered = new Map<string, number>();
  const decision = async (): Promise<void> => {
    const tenant = pick(living());
    const verdict = pick(["allow", "deny", "review"] as const);
    const isScored = verdict !== "deny" || random() < 0.7;
    const numbers = {
      action_risk: random(),
      target_sensitivity: random(),
      level: pick([0, 0.25, 1]),
      rate: random(),
      entropy: 0,
    };
    const features = random() < 0.05 ? { ...numbers, of_another_time: random() } : numbers;
    const input = random() < 0.2 ? bytes(places.length) : null;
    const chain: Chain1 = {
      request: {
        action: pick(["read", "write", "deploy", "rea\0d"]),
        target: pick(["public/docs", "user/notes", "prod/db", "ünï/cøde"]),
        subject: pick(["svc", "ann", "bob", ""]),
        caller: pick(["svc", "gateway"]),
        tenant,
        loa: pick(["guest", "observer", "operator", "mentor", "root"] as const),
        ...(random() < 0.2 ? { minLoa: "operator" as const } : {}),
        session: random() < 0.5 ? "" : `session-${below(50)}`,
        inputDigest: input === null ? sha256(new Uint8Array(0)) : sha256(input),
        inputBytes: input?.length ?? 0,
        input,
        metadata: random() < 0.2 ? { "": "empty", "k\0": "v\0", plain: "x" } : {},
      },
      features: isScored ? features : {},
      model: { id: "trust_model/active", hash: isScored ? bytes("model") : null },
      contributions: isScored ? features : {},
      z: isScored ? random() * 8 - 4 : null,
      score: isScored ? random() : null,
      threshold: isScored ? 0.5 : null,
      review: random() < 0.3 ? { low: 0.4, high: 0.6 } : null,
      verdict,
      reason: isScored ? "SCORE" : "MODEL_MISSING",
      steps: [
        { name: "subject", detail: "" },
        { name: "verdict", detail: `${verdict}\0` },
      ],
      durationUs: below(5000),
    };
    const named = { kind: "frozen_chain", id: `decision/${places.length}`, tenant, space: "user" } as const;
    if (random() < 0.4) return void (await append(bodyOf({ ...named, payload: formatFrozenChain1(chain) })));
    const { request, steps: _, ...outcome } = chain;
    const made = recordChain(new ReasoningChain(request).freeze(outcome), bytes(places.length));
    const { payload, disclosures } = made;
    const target = chain.model.hash;
    const links = target === null ? [] : [{ label: "model", target }];
    const caller = `${tenant}/${request.caller}`;
    const number = (numbered.get(caller) ?? 0) + 1;
    numbered.set(caller, number);
    await append(withNumber(bodyOf({ ...named, schemaVersion: 2, payload, links }), number));
    places.push({ ...(places.pop() as GoldenPlace), disclosures });
  };

  /** A model, whose flip report is in the ledger. */
  const reportedModel = async (serial: number): Promise<RecordBody> => {
    const payload = goldenFlips(places, `proposal/${serial}`, defaultModelPayload);
    const named = { kind: "flip_report", id: `flip_report/${serial}`, space: "user" } as const;
    const report = await append(bodyOf({ ...named, payload }));
    const links = [flipReportLink(report.hash)];
    return bodyOf({ kind: "trust_model", id: `trust_model/p${serial}`, payload: defaultModelPayload, links });
  };

  let proposals = 0;
  const proposal = async (): Promise<void> => {
    proposals += 1;
    const serial = proposals;
    const id = `proposal/${serial}`;
    const outcome = serial % 6 === 0 ? undefined : proposalOutcomes[(serial % 6) - 1];
    const candidate =
      serial % 3 === 1
        ? await reportedModel(serial)
        : bodyOf({
            kind: "suspension",
            id: `suspension/p${serial}`,
            payload: formatSuspension({ reason: "of a test", by: "root" }),
          });
    const put = await append(
      bodyOf({
        kind: "proposal",
        id,
        space: "user",
        payload: formatProposal({
          body: encodeBody(candidate),
          with: [],
          base: null,
          epoch: 1,
          expiresMs: startMs + 86_400_000,
          proposer: "root",
          reason: pick(["", "because", "nul \0"]),
          commit: "auto",
        }),
      }),
    );
    const links = [{ label: "proposal", target: put.hash }];
    const statement = bytes(`statement ${serial}`);
    const attest = (witness: string, role: "approve" | "reject"): Promise<GoldenPlace> =>
      append(
        bodyOf({
          kind: "attestation",
          id: `attestation/${serial}/${witness}`,
          space: "user",
          links,
          payload: formatAttestationRecord({ proposal: id, witness, role, statement }),
        }),
      );
    await attest("w1", outcome === "rejected" ? "reject" : "approve");
    if (outcome === undefined) return;
    if (outcome === "committed") {
      await attest("w2", "approve");
      await append(candidate, [statement, statement]);
    }
    await append(
      bodyOf({
        kind: "proposal_ending",
        id: `proposal_ending/${serial}`,
        space: "user",
        links,
        payload: formatProposalEnding({
          proposal: id,
          outcome,
          reason: outcome === "withdrawn" ? "n\0" : "",
        }),
      }),
    );
  };

  const moduleRun = async (): Promise<void> => {
    const run = goldenRun({ random, below, pick, bytes });
    const named = {
      kind: "module_run",
      id: `module_run/${places.length}`,
      tenant: pick(living()),
      space: "user",
    } as const;
    if (random() < 0.4) return void (await append(bodyOf({ ...named, payload: formatModuleRun1(run) })));
    const { inputDigest: _, inputBytes: __, outputDigest, ...ran } = run;
    const payload = formatModuleRun({
      ...ran,
      input: bytes("commitment to an input"),
      ...(outputDigest === null ? {} : { output: bytes("commitment to an output") }),
    });
    await append(bodyOf({ ...named, schemaVersion: 2, payload }));
  };

  const rotate = async (role: "record" | "checkpoint"): Promise<void> => {
    const serial = serials[role] + 1;
    const next = signerOf(seed, `${role} ${serial}`);
    // What a key signed last is about what was there while it was in office.
    await note();
    await append(
      bodyOf({
        kind: "signing_key",
        id: `signing_key/${role}/${serial}`,
        payload: formatSigningKey({ role, publicKey: next.publicKey, validFrom: position() + 1n }),
      }),
    );
    serials[role] = serial;
    if (role === "record") record = next;
    else checkpointSigner = next;
  };

  const erase = async (tenant: string): Promise<void> => {
    const records = places.filter(({ body }) => body.tenant === tenant).length;
    erasures.set(tenant, position());
    const asked = formatErasure({ tenant, reason: "asked for" });
    const order = await append(bodyOf({ kind: "erasure", id: `erasure/${tenant}`, payload: asked }));
    await userData();
    const report = { tenant, order: order.hash, records: BigInt(records), positions: bytes("positions") };
    await append(bodyOf({ kind: "erased", id: `erased/${tenant}`, payload: formatErased(report) }));
  };

  /** What happens once, when so much of the ledger is there. */
  const milestones: readonly (readonly [number, () => Promise<void>])[] = [
    [0.2, () => rotate("record")],
    [0.35, () => erase("gone-1")],
    [0.5, () => rotate("checkpoint")],
    [0.7, () => rotate("record")],
    [0.8, () => erase("gone-2")],
  ];
  let passed = 0;
  while (places.length < count) {
    const due = milestones[passed];
    if (due !== undefined && places.length >= due[0] * count) {
      passed += 1;
      await due[1]();
    } else {
      const dice = random();
      if (dice < 0.45) await userData();
      else if (dice < 0.85) await decision();
      else if (dice < 0.93) await proposal();
      else await moduleRun();
    }
    if (random() < 0.02) await note();
  }
  await note();
  return { origin, genesis: parseHash(genesis), places, erasures, checkpoints };
};
