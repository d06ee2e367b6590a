/**
 * Verifies one stored record step by step: the seal opens, the envelope parses, its hash matches the index, the signing
 * key was valid at that position, the signature verifies, the body matches its schema, the leaf is in the tree, the
 * tree is the checkpoint's. A serving read returns DATA_LOSS for the first failed step; a verification reports them
 * all. Source: docs/spec/ledger.md.
 */
import {
  openRecord,
  readRecord,
  recordSteps,
  requireInclusion,
  requireSignature,
  signerOf,
  type RecordStep,
} from "@sigil/core/verify";
import { equalBytes, toHex, type Hash } from "@sigil/core/bytes";
import { type Statement } from "@sigil/core/cose";
import { fail, SigilFault } from "../../errors.ts";
import { readDisclosures, type Disclosures, type RecordBody } from "@sigil/core/record";
import { verifyCheckpoint, proveInclusion } from "@sigil/core/merkle";
import { checkpointPosition, officeHolder, type KeyEntry, type KeyRing, verifyOwn } from "@sigil/core/keys";
import type { Store } from "../../storage/store.ts";
import { recordKey } from "../layout/keyspace.ts";
import { readPositionOfHash } from "../layout/lookup.ts";
import type { Sealer } from "../sealing/sealer.ts";
import { sizeOf, type LedgerState } from "../append/state.ts";
import type { TreeReader } from "../layout/tree.ts";

export type Step = {
  readonly name: string;
  readonly outcome: "passed" | "failed" | "skipped";
  readonly detail: string;
};

/** A record that passed every step. */
export type VerifiedRecord = {
  readonly position: bigint;
  readonly body: RecordBody;
  readonly hash: Hash;
  readonly envelope: Uint8Array;
  readonly attestations: readonly Uint8Array[];
  readonly statement: Statement;
  readonly signedBy: KeyEntry;
  /** What was disclosed of it, checked against its body. */
  readonly disclosures: Disclosures;
};

/** The steps' results for a position. `record` is set only if every step passed. */
export type Examination = {
  readonly position: bigint;
  readonly steps: readonly Step[];
  readonly record: VerifiedRecord | undefined;
  readonly envelope: Uint8Array | undefined;
  readonly proof: readonly Hash[];
  readonly checkpoint: string;
};

export type ExamineContext = {
  readonly store: Store;
  readonly sealer: Sealer;
  readonly tree: TreeReader;
  readonly ring: KeyRing;
  readonly state: LedgerState;
  readonly origin: string;
  /**
   * "full" also verifies the checkpoint's signature; "serving" relies on it having been verified or made by this
   * process.
   */
  readonly depth: "serving" | "full";
};

/** Thrown by a step that fails; caught in this file. */
class Broken extends Error {}
const broken = (rule: string): never => {
  throw new Broken(rule);
};

const ruleOf = (error: unknown): string => {
  if (error instanceof Broken) return error.message;
  if (error instanceof SigilFault) {
    // A store error says nothing about the record, and an erased tenant's record is not damaged.
    const { kind } = error.error;
    if (kind === "storeFailed" || kind === "notServing" || kind === "erased") throw error;
    return "rule" in error.error ? error.error.rule : error.message;
  }
  throw error;
};

/** Runs the steps; after the first failure the rest are skipped. */
export const examineRecord = async (position: bigint, context: ExamineContext): Promise<Examination> => {
  const { store, state } = context;
  const steps: Step[] = [];
  let envelope: Uint8Array | undefined;
  let proof: readonly Hash[] = [];
  const step = async <T>(name: RecordStep, run: () => Promise<readonly [T, string]>): Promise<T> => {
    try {
      const [value, detail] = await run();
      steps.push({ name, outcome: "passed", detail });
      return value;
    } catch (error) {
      steps.push({ name, outcome: "failed", detail: ruleOf(error) });
      throw new Broken(name, { cause: error });
    }
  };
  const finish = (record: VerifiedRecord | undefined): Examination => {
    for (const name of recordSteps.slice(steps.length)) {
      steps.push({ name, outcome: "skipped", detail: "a step before it failed" });
    }
    return { position, steps, record, envelope, proof, checkpoint: state.checkpoint };
  };
  try {
    const sealed = await step("seal", async () => {
      const stored = await store.get(recordKey(position));
      if (stored === undefined) return broken("no record is stored at this position");
      const value = await context.sealer.open(stored, position);
      return [value, `AES-256-GCM, tenant "${value.tenant}"`];
    });
    ({ envelope } = sealed);
    const opened = await step("envelope", async () => {
      const record = openRecord(position, sealed.envelope);
      return [record, `${sealed.envelope.length} bytes, COSE_Sign1`];
    });
    await step("hash", async () => {
      if ((await readPositionOfHash(store, opened.hash)) !== position) {
        broken("the body's hash is not the one indexed for this position");
      }
      return [undefined, `SHA-256 ${toHex(opened.hash)}`];
    });
    const signedBy = await step("key", async () => {
      const entry = signerOf(opened, context.ring);
      return [entry, `record key ${toHex(entry.thumbprint)}`];
    });
    await step("signature", async () => {
      await requireSignature(opened, signedBy, verifyOwn);
      return [undefined, "Ed25519 over COSE Sig_structure"];
    });
    const { body, disclosures } = await step("schema", async () => {
      const decoded = readRecord(opened, { origin: context.origin, tenant: sealed.tenant });
      const disclosed = readDisclosures(sealed.disclosures, decoded);
      const detail = `${decoded.kind} version ${decoded.schemaVersion}`;
      return [{ body: decoded, disclosures: disclosed }, detail];
    });
    proof = await step("inclusion", async () => {
      const size = sizeOf(state);
      if (position >= size) broken("the position is past the tree");
      const hashes = await proveInclusion(position, size, context.tree.readHashes(state.tree));
      requireInclusion(opened, { size, root: state.root }, hashes);
      return [hashes, `leaf ${position} of ${size}, ${hashes.length} hashes`];
    });
    await step("checkpoint", async () => {
      const size = sizeOf(state);
      if (context.depth === "full") await checkNote(context);
      return [undefined, `${context.origin} at size ${size}, root ${toHex(state.root)}`];
    });
    return finish({ ...opened, body, signedBy, disclosures });
  } catch (error) {
    if (error instanceof Broken) return finish(undefined);
    throw error;
  }
};

/** The key that signs checkpoints of this size: the one valid at position `size - 1`. */
export const checkpointKeyOf = (ring: KeyRing, size: bigint): KeyEntry<"checkpoint"> =>
  officeHolder(ring, "checkpoint", checkpointPosition(size)) ??
  fail({ kind: "keyUnavailable", rule: `no checkpoint key is valid at size ${size}` });

const checkNote = async ({ state, origin, ring }: ExamineContext): Promise<void> => {
  const { publicKey } = checkpointKeyOf(ring, sizeOf(state));
  const checkpoint = await verifyCheckpoint(state.checkpoint, { origin, publicKey, verify: verifyOwn });
  if (checkpoint.size !== sizeOf(state) || !equalBytes(checkpoint.root, state.root)) {
    broken("the checkpoint is over another tree");
  }
};

/** Returns the record if every step passed. @throws recordCorrupt naming the first failed step. */
export const requireVerified = (examination: Examination): VerifiedRecord => {
  if (examination.record !== undefined) return examination.record;
  const failed = examination.steps.find((step) => step.outcome === "failed");
  return fail({
    kind: "recordCorrupt",
    position: examination.position,
    step: failed?.name ?? "seal",
    rule: failed?.detail ?? "unknown",
  });
};
