/**
 * Keys, checkpoints and records believed because of the genesis record's hash, and of nothing that a server says about
 * itself. The rules are those of docs/spec/keys.md and docs/spec/ledger.md, in the very lines that the server runs.
 */
import type { CallOptions } from "./call.ts";
import type { SigilConnection } from "./connect.ts";
import { findSigner, keyState, officeHolder, type KeyRing, verifyForeign } from "@sigil/core/keys";
import {
  parseCheckpoint,
  verifyCheckpoint,
  parseNote,
  checkConsistency,
  type ProofOutcome,
} from "@sigil/core/merkle";
import { parseHash, type Hash } from "@sigil/core/bytes";
import { requireInclusion, verifySigned, walkKeys as walkRecords } from "@sigil/core/verify";
import { Fault } from "@sigil/core/errors";
import { plainJsonable } from "@sigil/proto/jsonable";

/** Something does not hold. The message says what, and where in the ledger. */
export class ProofError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "ProofError";
  }
}

/** A key that follows from genesis. */
export type WalkedKey = {
  readonly role: "record" | "checkpoint";
  readonly publicKey: Uint8Array;
  /** Its COSE key thumbprint: the kid of what it signs. */
  readonly thumbprint: Uint8Array;
  readonly firstPosition: bigint;
  /** Null while it is in use. */
  readonly lastPosition: bigint | null;
  readonly state: "active" | "ended" | "retired";
};

/** A record of the ledger as `ListKeyRecords` gives it. */
export type LedgerRecord = { readonly ledgerPosition: bigint; readonly envelope: Uint8Array };

export type VerifiedTree = { readonly size: bigint; readonly root: Uint8Array };

/** What `GetInclusionProof` and `VerifyFrozenChain` give beside a record's envelope. */
export type RecordEvidence = {
  readonly position: bigint;
  readonly envelope: Uint8Array;
  /** A signed checkpoint. */
  readonly checkpoint: string;
  /** From the leaf's sibling to the root. */
  readonly inclusionProof: readonly Uint8Array[];
};

/** A record that stands where it is said to, signed by the key that held the office there. */
export type VerifiedRecord = {
  readonly position: bigint;
  readonly hash: Uint8Array;
  readonly kind: string;
  readonly schemaVersion: number;
  readonly id: string;
  readonly tenant: string;
  readonly space: "user" | "system";
  /** Milliseconds since 1970, as the server wrote it. */
  readonly timeMs: number;
  /** The canonical value: numbers, bigints, text, bytes, lists and objects. */
  readonly payload: unknown;
  /** COSE_Sign1 statements of witnesses, as they were kept; they are not verified here. */
  readonly attestations: readonly Uint8Array[];
  readonly signedBy: WalkedKey;
};

const refuse = (rule: string): never => {
  throw new ProofError(rule);
};

/** What the rules throw about bytes becomes a ProofError; anything else is a bug and stays what it is. */
const proving = async <T>(work: () => Promise<T>): Promise<T> => {
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

/**
 * The keys of a deployment as they followed from its genesis record. Knows nothing of later rotations: walk again then.
 */
export class KeyWalk {
  readonly origin: string;
  /** By role as they were announced, oldest first. */
  readonly keys: readonly WalkedKey[];
  /** How many records were verified on the way. */
  readonly records: number;
  readonly #ring: KeyRing;
  /** The checkpoint verified last: many proofs lead to one. */
  #verified: { readonly note: string; readonly tree: VerifiedTree } | undefined;

  private constructor(origin: string, ring: KeyRing, records: number) {
    this.origin = origin;
    this.#ring = ring;
    this.keys = ring.entries.map(keyOf);
    this.records = records;
  }

  /**
   * Without a server: from records that somebody kept.
   * @param genesis the hash of the genesis record, 32 bytes, which must have come another way.
   * @param records genesis, then every `signing_key` and `key_retirement` record in ledger order.
   * @throws ProofError naming the position and the rule.
   */
  static of(genesis: Uint8Array, records: readonly LedgerRecord[]): Promise<KeyWalk> {
    return proving(async () => {
      const taken = records.map(({ ledgerPosition, envelope }) => ({ position: ledgerPosition, envelope }));
      const { origin, ring } = await walkRecords(parseHash(genesis), taken, { verify: verifyForeign });
      return new KeyWalk(origin, ring, records.length);
    });
  }

  /** By the key that holds the office at its size, and is believed there. @throws ProofError. */
  verifyCheckpoint(note: string): Promise<VerifiedTree> {
    return proving(async () => {
      if (this.#verified?.note === note) return this.#verified.tree;
      const { size } = parseCheckpoint(parseNote(note).text);
      const position = size === 0n ? 0n : size - 1n;
      const holder = officeHolder(this.#ring, "checkpoint", position);
      if (holder === undefined) return refuse(`no key signs checkpoints of size ${size}`);
      const believed = findSigner(this.#ring, "checkpoint", holder.thumbprint, position);
      if (believed.kind === "refused") return refuse(`the checkpoint of size ${size} is ${believed.rule}`);
      const { publicKey } = holder;
      const { root } = await verifyCheckpoint(note, {
        origin: this.origin,
        publicKey,
        verify: verifyForeign,
      });
      const tree = plainJsonable({ size, root });
      this.#verified = { note, tree };
      return tree;
    });
  }

  /**
   * A newer checkpoint over a tree that begins with the one known. @throws ProofError: then the ledger has another past
   * than the one that was seen, and both checkpoints together prove it.
   */
  async verifyGrowth(
    known: VerifiedTree,
    newer: { readonly checkpoint: string; readonly consistencyProof: readonly Uint8Array[] },
  ): Promise<VerifiedTree> {
    const tree = await this.verifyCheckpoint(newer.checkpoint);
    const claim = {
      oldSize: known.size,
      newSize: tree.size,
      oldRoot: known.root as Hash,
      newRoot: tree.root as Hash,
      proof: newer.consistencyProof as readonly Hash[],
    };
    requireOk(
      checkConsistency(claim),
      `the tree of size ${tree.size} does not begin with that of ${known.size}`,
    );
    return tree;
  }

  /** Signature, key, schema, place in the tree and the tree's checkpoint. @throws ProofError. */
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
 * Asks a server for the records about its keys and walks them. Anybody may.
 * @param genesis the hash of the genesis record, 32 bytes: `sigil init` printed it. Not from the server.
 * @throws ProofError when they do not follow from it, SigilError when the call fails.
 */
export const walkKeys = async (
  { keys }: Pick<SigilConnection, "keys">,
  genesis: Uint8Array,
  options: CallOptions = {},
): Promise<KeyWalk> => {
  const records: LedgerRecord[] = [];
  for (let pageToken = ""; ;) {
    const page = await keys.listKeyRecords({ pageToken }, options);
    for (const record of page.records) records.push(record);
    if (page.nextPageToken === "") return KeyWalk.of(genesis, records);
    // A server may be anybody's: each page has to get further, or the walk would never end.
    if (page.records.length === 0) throw new ProofError("a page of key records is empty, and there are more");
    pageToken = page.nextPageToken;
  }
};
