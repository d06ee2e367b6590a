/**
 * A whole ledger in memory: real records, signatures, seals and tree over a memory store, with the disk, the anchor,
 * the clock and the keys in the test's hands. What outlives a closing lives in the `World`.
 */
import { sha256 } from "@sigil/core/hash";
import { createHash, createSecretKey, generateKeyPairSync, randomBytes } from "node:crypto";
import { parseHash, type Hash } from "../../src/core/bytes.ts";
import type { CborMap, CborValue } from "../../src/core/cbor/cbor.ts";
import { fail, SigilFault, type SigilError } from "../../src/errors.ts";
import { commitTo, digestValue } from "../../src/core/record/commitment.ts";
import { formatFrozenChain, formatGenesis, parseGenesis } from "../../src/core/record/kinds.ts";
import type { RecordBody } from "../../src/core/record/record.ts";
import {
  createMldsa44Signer,
  createSigner,
  rawPublicKey,
  type Mldsa44Signer,
  type Signer,
} from "../../src/crypto/signing/sign.ts";
import type { DataKey } from "../../src/crypto/seal.ts";
import { memoryAnchor, type Anchor } from "../../src/ledger/append/anchor.ts";
import { createLedger } from "../../src/ledger/create.ts";
import { Ledger, type LedgerOptions } from "../../src/ledger/ledger.ts";
import type { SigningKeys } from "../../src/ledger/append/signers.ts";
import type { DataKeys } from "../../src/ledger/sealing/sealer.ts";
import { createMemoryBacking, openMemoryStore, type MemoryBacking } from "../../src/storage/memory.ts";
import type { Store } from "../../src/storage/store.ts";
import { defaultModelPayload } from "../../src/trust/default-model.ts";
import { formatFrozenChain1 } from "./version-1.ts";

export const newSigner = (): Signer => createSigner(generateKeyPairSync("ed25519").privateKey);

/** Data keys as custody gives them, in memory. */
export const memoryDataKeys = (): DataKeys => {
  const held = new Map<string, DataKey[]>();
  const rotate = async (tenant: string): Promise<DataKey> => {
    const keys = held.get(tenant) ?? [];
    held.set(tenant, keys);
    const key = { dataKey: createSecretKey(randomBytes(32)), keyVersion: keys.length + 1 };
    keys.push(key);
    return key;
  };
  return {
    rotate,
    newest: (tenant) => held.get(tenant)?.length ?? 0,
    destroy: async (tenant) => void held.delete(tenant),
    at: async (tenant, version) =>
      held.get(tenant)?.[version - 1] ?? fail({ kind: "keyUnavailable", rule: "there is no such key" }),
  };
};

/** Signing keys as custody gives them, in memory. Those that were made later outlive a closing. */
const memorySigningKeys = (...first: readonly Signer[]) => {
  const held = [...first];
  const mldsa44: Mldsa44Signer[] = [];
  const isOf = (publicKey: Uint8Array) => (signer: Signer | Mldsa44Signer) =>
    Buffer.compare(signer.publicKey, publicKey) === 0;
  return {
    held,
    open: async (_role, publicKey) =>
      held.find(isOf(publicKey)) ?? fail({ kind: "keyUnavailable", rule: "there is no such key" }),
    create: async () => {
      const signer = newSigner();
      held.push(signer);
      return signer;
    },
    mldsa44: {
      open: async (publicKey) =>
        mldsa44.find(isOf(publicKey)) ?? fail({ kind: "keyUnavailable", rule: "there is no such key" }),
      create: async () => {
        const signer = createMldsa44Signer(generateKeyPairSync("ml-dsa-44").privateKey);
        mldsa44.push(signer);
        return signer;
      },
    },
    discard: async (ended) => {
      for (const [keys, publicKey] of ended.flatMap((each) => [
        [held, each] as const,
        [mldsa44, each] as const,
      ])) {
        const index = keys.findIndex(isOf(publicKey));
        if (index >= 0) keys.splice(index, 1);
      }
    },
  } satisfies SigningKeys & { readonly held: readonly Signer[] };
};

export type WorldOptions = LedgerOptions & {
  /** The first keys. */
  readonly recordSigner: Signer;
  readonly checkpointSigner: Signer;
};

export type World = {
  readonly backing: MemoryBacking;
  readonly anchor: Anchor;
  readonly options: WorldOptions;
  /** Milliseconds since 1970; the test moves it. */
  timeMs: number;
};

const genesisBody = (origin: string, recordSigner: Signer, checkpointSigner: Signer): RecordBody => {
  const principal = { public_keys: [newSigner().publicKey], loa: "root", tenant: "system", active: true };
  const witness = { public_key: rawPublicKey(generateKeyPairSync("ed25519").privateKey) };
  const payload = formatGenesis(
    parseGenesis({
      format: 1,
      origin,
      root: { id: "root", ...principal },
      witnesses: [{ id: "w1", ...witness, owner: "a", authority: "", description: "" }],
      k: 1,
      model: defaultModelPayload,
      keys: { record: recordSigner.publicKey, checkpoint: checkpointSigner.publicKey },
    }),
  );
  return systemBody("genesis", "genesis", payload);
};

export const systemBody = (kind: string, id: string, payload: CborMap): RecordBody => ({
  kind,
  schemaVersion: 1,
  id,
  tenant: "system",
  ts: 1_700_000_000_000,
  space: "system",
  payload,
  links: [],
  prev: null,
});

export const userBody = (
  id: string,
  payload: CborValue = { note: id },
  { tenant = "acme", prev = null }: { readonly tenant?: string; readonly prev?: Hash | null } = {},
): RecordBody => ({
  kind: "user_data",
  schemaVersion: 1,
  id,
  tenant,
  ts: 1_700_000_000_001,
  space: "user",
  payload,
  links: [],
  prev,
});

export const decisionBody = (
  id: string,
  options: { readonly tenant?: string; readonly verdict?: "deny" | "review"; readonly action?: string } = {},
): RecordBody => {
  const { tenant = "acme", verdict = "deny", action = "read" } = options;
  const payload = formatFrozenChain1({
    request: {
      action,
      target: "public/docs",
      subject: "svc",
      caller: "svc",
      tenant,
      loa: "operator",
      session: "",
      inputDigest: sha256(new Uint8Array(0)),
      inputBytes: 0,
      input: null,
      metadata: {},
    },
    features: {},
    model: { id: "trust_model/active", hash: null },
    contributions: {},
    z: null,
    score: null,
    threshold: null,
    review: null,
    verdict,
    reason: "MODEL_SCORE",
    steps: [{ name: "verdict", detail: verdict }],
    durationUs: 12,
  });
  return { ...userBody(id, payload, { tenant }), kind: "frozen_chain" };
};

/** As servers record today: numbered among its caller's when it is appended. */
export const numberedBody = (
  id: string,
  { caller = "svc", tenant = "acme" }: { readonly caller?: string; readonly tenant?: string } = {},
): RecordBody => {
  const opening = {
    salt: new Uint8Array(32),
    value: digestValue({ digest: sha256(new Uint8Array(0)), bytes: 0 }),
  };
  const payload = formatFrozenChain({
    request: {
      action: "read",
      target: "public/docs",
      subject: caller,
      caller,
      loa: "operator",
      input: commitTo("input", opening),
      metadata: {},
    },
    features: {},
    contributions: {},
    model: "",
    verdict: "deny",
    reason: "MODEL_MISSING",
    durationUs: 12,
  });
  return { ...userBody(id, payload, { tenant }), kind: "frozen_chain", schemaVersion: 2 };
};

/** A new ledger with its genesis record; nobody has it open. */
export const createWorld = async (changes: Partial<WorldOptions> = {}): Promise<World> => {
  const backing = createMemoryBacking();
  const anchor = changes.anchor ?? memoryAnchor();
  const recordSigner = changes.recordSigner ?? newSigner();
  const checkpointSigner = changes.checkpointSigner ?? newSigner();
  const origin = changes.origin ?? "ledger.test";
  const world = { backing, anchor, timeMs: 1_700_000_000_000 };
  const options: WorldOptions = {
    origin,
    genesis: parseHash(new Uint8Array(32)),
    openStore: () => openMemoryStore(backing),
    anchor,
    recordSigner,
    checkpointSigner,
    signingKeys: memorySigningKeys(recordSigner, checkpointSigner),
    dataKeys: memoryDataKeys(),
    indexKey: async (tenant) => new Uint8Array(createHash("sha256").update(`index ${tenant}`).digest()),
    summaryKey: async () => new Uint8Array(createHash("sha256").update("summary").digest()),
    nowMs: () => whole.timeMs,
    ...changes,
  };
  const store = await openMemoryStore(backing);
  const genesis = await createLedger([genesisBody(origin, recordSigner, checkpointSigner)], options, store);
  await store.close();
  const whole: World = Object.assign(world, { options: { ...options, genesis } });
  return whole;
};

/** First keys among the changes are custody's only ones. */
export const openWorld = (world: World, changes: Partial<WorldOptions> = {}): Promise<Ledger> => {
  const options = { ...world.options, ...changes };
  const { recordSigner, checkpointSigner } = options;
  const isOther = changes.recordSigner !== undefined || changes.checkpointSigner !== undefined;
  const others = isOther ? { signingKeys: memorySigningKeys(recordSigner, checkpointSigner) } : {};
  return Ledger.open({ ...options, ...others });
};

/** A copy that can be damaged without the original: same keys, own disk and anchor. */
export const copyWorld = async (world: World): Promise<World> => {
  const backing = createMemoryBacking();
  backing.entries = world.backing.entries.map(([key, value]) => [key.slice(), value.slice()] as const);
  const anchor = memoryAnchor();
  const note = await world.anchor.read();
  if (note !== undefined) await anchor.write(note);
  const options = { ...world.options, anchor, openStore: () => openMemoryStore(backing) };
  return { backing, anchor, options, timeMs: world.timeMs };
};

/** Works on the disk of a closed world. */
export const withStore = async <T>(world: World, work: (store: Store) => Promise<T>): Promise<T> => {
  const store = await openMemoryStore(world.backing);
  try {
    return await work(store);
  } finally {
    await store.close();
  }
};

/** The error a call fails with, or undefined. @throws what is no SigilFault. */
export const faultOf = async (work: Promise<unknown>): Promise<SigilError | undefined> => {
  try {
    await work;
    return undefined;
  } catch (error) {
    if (error instanceof SigilFault) return error.error;
    throw error;
  }
};

/** Waits until the ledger's status is of this kind. */
export const untilStatus = async (ledger: Ledger, kind: Ledger["status"]["kind"]): Promise<void> => {
  for (let turns = 0; ledger.status.kind !== kind; turns += 1) {
    if (turns > 1000) throw new Error(`the ledger is ${ledger.status.kind}, not ${kind}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
};
