/**
 * Verifies keys, checkpoints and records from the genesis record's hash alone, without trusting the server. The rules
 * are those of docs/spec/keys.md and docs/spec/ledger.md, with the same code as the server.
 */
import type { CallOptions } from "./call.ts";
import type { KeyClient } from "./services/operation.ts";
import { checkpointSigner, keyState, type KeyRing, verifyForeign } from "@sigil/core/keys";
import {
  parseCheckpoint,
  verifyCheckpoint,
  parseNote,
  parseTlogProof,
  checkConsistency,
  checkInclusion,
  type ProofOutcome,
  type TrustedLog,
} from "@sigil/core/merkle";
import { parseHash, toHex, type Hash } from "@sigil/core/bytes";
import {
  requireInclusion,
  verifyReceipt,
  verifySigned,
  verifyTlogProof,
  walkKeys as walkRecords,
} from "@sigil/core/verify";
import { parseReceipt } from "@sigil/core/cose";
import { Fault } from "@sigil/core/errors";
import { plainJsonable } from "@sigil/proto/jsonable";

/** A verification failed. The message says what, and where in the ledger. */
export class ProofError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "ProofError";
  }
}

/** A checkpoint and the tree that it is over. */
export type SignedTree = VerifiedTree & { readonly checkpoint: string };

/** The ledger has two pasts: both checkpoints are signed, and no tree holds both. Keep them: they prove it. */
export class ForkError extends ProofError {
  readonly known: SignedTree;
  readonly newer: SignedTree;

  constructor(known: SignedTree, newer: SignedTree, rule: string) {
    const [old, now] = [known, newer].map(({ size, root }) => `size ${size} and root ${toHex(root)}`);
    super(`the tree of ${now} does not begin with that of ${old}: ${rule}`);
    this.name = "ForkError";
    this.known = known;
    this.newer = newer;
  }
}

/** A key derived from genesis. */
export type WalkedKey = {
  readonly role: "record" | "checkpoint" | "checkpoint_mldsa44";
  /** Of Ed25519 32 bytes, of ML-DSA-44 1,312. */
  readonly publicKey: Uint8Array;
  /** Its COSE key thumbprint: the kid of what it signs. */
  readonly thumbprint: Uint8Array;
  readonly firstPosition: bigint;
  /** Null while it is in use. */
  readonly lastPosition: bigint | null;
  readonly state: "active" | "ended" | "retired";
};

/** A record as returned by `ListKeyRecords`. */
export type LedgerRecord = { readonly ledgerPosition: bigint; readonly envelope: Uint8Array };

export type VerifiedTree = { readonly size: bigint; readonly root: Uint8Array };

/** Evidence for a record, as returned by `GetInclusionProof` and `VerifyFrozenChain`. */
export type RecordEvidence = {
  readonly position: bigint;
  readonly envelope: Uint8Array;
  /** A signed checkpoint. */
  readonly checkpoint: string;
  /** From the leaf's sibling to the root. */
  readonly inclusionProof: readonly Uint8Array[];
};

/** Where a verified proof says that an entry stands. */
export type VerifiedInclusion = {
  readonly leafIndex: bigint;
  readonly treeSize: bigint;
  /** 32 bytes. */
  readonly root: Uint8Array;
};

/** A record verified at its position, signed by the key valid there. */
export type VerifiedRecord = {
  readonly position: bigint;
  readonly hash: Uint8Array;
  readonly kind: string;
  readonly schemaVersion: number;
  readonly id: string;
  readonly tenant: string;
  readonly space: "user" | "system";
  /** Unix milliseconds, as written by the server. */
  readonly timeMs: number;
  /** The canonical value: numbers, bigints, text, bytes, lists and objects. */
  readonly payload: unknown;
  /** COSE_Sign1 statements of witnesses, not verified here. */
  readonly attestations: readonly Uint8Array[];
  readonly signedBy: WalkedKey;
};

const refuse = (rule: string): never => {
  throw new ProofError(rule);
};

/** Converts errors about data to ProofError; anything else is a bug and is rethrown. */
export const proving = async <T>(work: () => Promise<T>): Promise<T> => {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    throw new ProofError(error.message, { cause: error });
  }
};

const requireOk = (outcome: ProofOutcome, what: string): void => {
  if (outcome.kind === "refused") refuse(`${what}: ${outcome.rule}`);
};

const growthOf = (known: VerifiedTree, newer: VerifiedTree, proof: readonly Uint8Array[]): ProofOutcome =>
  checkConsistency({
    oldSize: known.size,
    newSize: newer.size,
    oldRoot: known.root,
    newRoot: newer.root,
    proof,
  });

type Entry = KeyRing["entries"][number];

const keyOf = (entry: Entry): WalkedKey =>
  plainJsonable({
    role: entry.role,
    publicKey: entry.publicKey,
    thumbprint: entry.thumbprint,
    firstPosition: entry.validFrom,
    lastPosition: entry.validTo,
    state: keyState(entry),
  });

/** The keys of a deployment, derived from its genesis record. After a later rotation, walk again. */
export class KeyWalk {
  readonly origin: string;
  /** Oldest first within each role. */
  readonly keys: readonly WalkedKey[];
  /** Number of records verified. */
  readonly records: number;
  readonly #ring: KeyRing;
  /** Cache of the last verified checkpoint, since many proofs share one. */
  #verified: { readonly note: string; readonly tree: VerifiedTree } | undefined;

  private constructor(origin: string, ring: KeyRing, records: number) {
    this.origin = origin;
    this.#ring = ring;
    this.keys = ring.entries.map(keyOf);
    this.records = records;
  }

  /**
   * Walks stored records, without a server.
   * @param genesis the hash of the genesis record, 32 bytes, from a trusted channel. @param records genesis, then every
   * `signing_key` and `key_retirement` record in ledger order. @throws ProofError naming the position and the rule.
   */
  static of(genesis: Uint8Array, records: readonly LedgerRecord[]): Promise<KeyWalk> {
    return proving(async () => {
      const taken = records.map(({ ledgerPosition, envelope }) => ({ position: ledgerPosition, envelope }));
      const { origin, ring } = await walkRecords(parseHash(genesis), taken, { verify: verifyForeign });
      return new KeyWalk(origin, ring, records.length);
    });
  }

  /** Verifies with the key that is valid and trusted at the checkpoint's size. @throws ProofError. */
  verifyCheckpoint(note: string): Promise<VerifiedTree> {
    return proving(async () => {
      if (this.#verified?.note === note) return this.#verified.tree;
      const { size } = parseCheckpoint(parseNote(note).text);
      const { root } = await verifyCheckpoint(note, this.#logAt(size));
      const tree = plainJsonable({ size, root });
      this.#verified = { note, tree };
      return tree;
    });
  }

  /**
   * Verifies a newer checkpoint whose tree extends the known one.
   * @throws ProofError: the ledger has forked from the known state, and both checkpoints together prove it.
   */
  async verifyGrowth(
    known: VerifiedTree,
    newer: { readonly checkpoint: string; readonly consistencyProof: readonly Uint8Array[] },
  ): Promise<VerifiedTree> {
    const tree = await this.verifyCheckpoint(newer.checkpoint);
    requireOk(
      growthOf(known, tree, newer.consistencyProof),
      `the tree of size ${tree.size} does not begin with that of ${known.size}`,
    );
    return tree;
  }

  /** Of checkpoints that were both verified. @throws ForkError. */
  requireGrowth(known: SignedTree, newer: SignedTree, consistencyProof: readonly Uint8Array[]): void {
    const outcome = growthOf(known, newer, consistencyProof);
    if (outcome.kind === "refused") throw new ForkError(known, newer, outcome.rule);
  }

  /** A leaf's place in the tree of a checkpoint: all that is left of an erased record. @throws ProofError. */
  verifyLeaf({
    position,
    leaf,
    checkpoint,
    inclusionProof,
  }: Omit<RecordEvidence, "envelope"> & { readonly leaf: Uint8Array }): Promise<void> {
    return proving(async () => {
      const { size, root } = await this.verifyCheckpoint(checkpoint);
      const claim = {
        leafIndex: position,
        treeSize: size,
        leafHash: leaf,
        root,
        proof: inclusionProof,
      };
      requireOk(checkInclusion(claim), `the leaf at position ${position} is not in the tree of size ${size}`);
    });
  }

  /**
   * Verifies a COSE receipt of inclusion (RFC 9942) for a record's ledger entry, SHA-256 of its envelope. @throws
   * ProofError.
   */
  verifyReceipt(receipt: Uint8Array, entry: Uint8Array): Promise<VerifiedInclusion> {
    return proving(async () => {
      const log = this.#logAt(parseReceipt(receipt).treeSize);
      return plainJsonable(await verifyReceipt(receipt, parseHash(entry), log));
    });
  }

  /** Verifies a C2SP tlog-proof for a record's ledger entry, SHA-256 of its envelope. @throws ProofError. */
  verifyTlogProof(text: string, entry: Uint8Array): Promise<VerifiedInclusion> {
    return proving(async () => {
      const { size } = parseCheckpoint(parseNote(parseTlogProof(text).checkpoint).text);
      return plainJsonable(await verifyTlogProof(text, parseHash(entry), this.#logAt(size)));
    });
  }

  /** The key that is trusted to sign checkpoints of this size. */
  #logAt(size: bigint): TrustedLog {
    const signer = checkpointSigner(this.#ring, size);
    if (signer.kind === "refused") return refuse(signer.rule);
    const { entry, mldsa44Key } = signer;
    return { origin: this.origin, publicKey: entry.publicKey, verify: verifyForeign, mldsa44Key };
  }

  /** Verifies signature, key, schema, inclusion in the tree and the tree's checkpoint. @throws ProofError. */
  verifyRecord(evidence: RecordEvidence): Promise<VerifiedRecord> {
    return proving(async () => {
      const { position, envelope, checkpoint, inclusionProof } = evidence;
      const record = await verifySigned(position, envelope, {
        origin: this.origin,
        ring: this.#ring,
        verify: verifyForeign,
      });
      const { size, root } = await this.verifyCheckpoint(checkpoint);
      requireInclusion(record, { size, root: root as Hash }, inclusionProof as readonly Hash[]);
      const { kind, schemaVersion, id, tenant, space, ts, payload } = record.body;
      return plainJsonable({
        position,
        hash: record.hash,
        kind,
        schemaVersion,
        id,
        tenant,
        space,
        timeMs: ts,
        payload,
        attestations: record.attestations,
        signedBy: keyOf(record.signedBy),
      });
    });
  }
}

/**
 * Fetches a server's key records and walks them. Needs no authentication.
 * @param genesis the hash of the genesis record, 32 bytes, as printed by `sigil init`; not from the server.
 * @throws ProofError if they do not verify, SigilError if the call fails.
 */
export const walkKeys = async (
  { keys }: { readonly keys: KeyClient },
  genesis: Uint8Array,
  options: CallOptions = {},
): Promise<KeyWalk> => {
  const records: LedgerRecord[] = [];
  for (let pageToken = ""; ;) {
    const page = await keys.listKeyRecords({ pageToken }, options);
    for (const record of page.records) records.push(record);
    if (page.nextPageToken === "") return KeyWalk.of(genesis, records);
    // The server is untrusted: each page must make progress, or the walk would never end.
    if (page.records.length === 0) throw new ProofError("a page of key records is empty, and there are more");
    pageToken = page.nextPageToken;
  }
};
