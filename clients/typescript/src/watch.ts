/**
 * A watch by somebody who trusts nobody: every checkpoint is signed by the key that follows from genesis and leads on
 * from the one before, every record stands where it is said to. A reader of everything can also rebuild the tree, which
 * shows what was left out. Nothing is handed on before it is verified. Source: docs/spec/feed.md §4.
 */
import type { CallOptions } from "./call.ts";
import type { CanonClient } from "./services/canon.ts";
import type { KeyClient } from "./services/operation.ts";
import {
  appendLeaves,
  emptyFrontier,
  parseCheckpoint,
  parseNote,
  restoreFrontier,
  rootOf,
  type Frontier,
} from "@sigil/core/merkle";
import { equalBytes, parseHash, toHex, type Hash } from "@sigil/core/bytes";
import { cborDecode } from "@sigil/core/cbor";
import { decodeEnvelope, parseRecordStatement, readDisclosures, type Disclosures } from "@sigil/core/record";
import { leafOf } from "@sigil/core/verify";
import type {
  Heartbeat,
  VersionedRecord,
  WatchRequest,
  WatchResponse,
} from "@sigil/proto/sigil/canon/v1/canon";
import { RecordProof } from "@sigil/proto/sigil/type/v1/type";
import {
  ProofError,
  proving,
  walkKeys,
  type KeyWalk,
  type SignedTree,
  type VerifiedRecord,
  type VerifiedTree,
} from "./walk.ts";

import { resuming, silenceMsOf, type Resumable, type WatchOptions } from "./watch/resume.ts";

/** A tree whose leaves somebody has read from position 0 on. To be kept with the position that a reader goes on at. */
export type RebuiltTree = {
  /** As many leaves as were read. */
  readonly size: bigint;
  /** Roots of the complete subtrees that the size splits into, largest first; 32 bytes each. */
  readonly peaks: readonly Uint8Array[];
};

export type VerifiedWatchOptions = CallOptions & {
  /** The hash of the genesis record, 32 bytes: `sigil init` printed it. Not from the server. */
  readonly genesis: Uint8Array;
  /** The newest checkpoint that an earlier watch verified: a ledger with another past is found out. */
  readonly known?: SignedTree;
  /**
   * Rebuild the tree from every leaf and compare its root with each checkpoint's, so that nothing can be left out.
   * Takes a watch of every kind in both spaces of every tenant that begins at `size`: 0 for "from the beginning".
   */
  readonly rebuild?: RebuiltTree;
  /** When the stream breaks off: "throw", the default, or go on as `sigil.watch` does, over anything that passes. */
  readonly onBreak?: "throw" | "resume";
  /** Told why the stream broke off, before it is opened again. */
  readonly onInterrupted?: WatchOptions["onInterrupted"];
};

export type VerifiedEvent =
  | {
      readonly kind: "record";
      readonly position: bigint;
      /** Of the tree, 32 bytes. */
      readonly leaf: Uint8Array;
      readonly record: VerifiedRecord;
      /** The bytes that were verified. */
      readonly envelope: Uint8Array;
      /**
       * What opens the record's commitments, each checked against the record; only with `disclosures` in the request.
       * A server can leave any out.
       */
      readonly disclosures?: Disclosures;
      /** As the server says: nothing proves it. */
      readonly version: bigint;
      /** Where a watch goes on after this. */
      readonly nextPosition: bigint;
    }
  | {
      /** What is left of a record whose tenant was erased. */
      readonly kind: "erased";
      readonly position: bigint;
      readonly leaf: Uint8Array;
      readonly nextPosition: bigint;
    }
  | {
      /** What follows is proved against this; give it as `known` to a later watch. */
      readonly kind: "checkpoint";
      readonly checkpoint: string;
      readonly tree: VerifiedTree;
      /** With `rebuild`: the leaves read so far. */
      readonly rebuilt?: RebuiltTree;
      readonly nextPosition: bigint;
    };

/** The tree of all leaves that were read, held against the checkpoints that come. */
class Rebuilding {
  #frontier: Frontier;
  /** The first checkpoint ahead of what was read. */
  #ahead: SignedTree | undefined;

  constructor({ size, peaks }: RebuiltTree) {
    this.#frontier = size === 0n ? emptyFrontier : restoreFrontier(size, peaks.map(parseHash));
  }

  get tree(): RebuiltTree {
    return this.#frontier;
  }

  /** @throws ProofError when a position was left out. */
  take(position: bigint, leaf: Hash): void {
    this.requireReached(position);
    this.#frontier = appendLeaves(this.#frontier, [leaf]).frontier;
    this.#compare();
  }

  /** @throws ProofError when the reader is said to be elsewhere than it is. */
  requireReached(position: bigint): void {
    const { size } = this.#frontier;
    if (position === size) return;
    throw new ProofError(`position ${size} was left out: the watch goes on at ${position}`);
  }

  expect(known: SignedTree): void {
    // One at a time is enough: each later checkpoint begins with it.
    if (known.size >= this.#frontier.size) this.#ahead ??= known;
    this.#compare();
  }

  #compare(): void {
    if (this.#ahead?.size !== this.#frontier.size) return;
    const { root, size } = this.#ahead;
    const rebuilt = rootOf(this.#frontier);
    this.#ahead = undefined;
    if (equalBytes(rebuilt, root)) return;
    throw new ProofError(
      `the ${size} records that were read have the root ${toHex(rebuilt)}, the checkpoint says ${toHex(root)}`,
    );
  }
}

/** @throws ProofError unless each opens a commitment of the record. */
const openingsOf = (envelope: Uint8Array, disclosures: Uint8Array): Promise<Disclosures> =>
  proving(async () => {
    const { body } = parseRecordStatement(decodeEnvelope(envelope).statement);
    return readDisclosures(cborDecode(disclosures), body);
  });

class VerifiedWatch {
  readonly #connection: { readonly keys: KeyClient };
  readonly #options: VerifiedWatchOptions;
  readonly #rebuilding: Rebuilding | undefined;
  #walk: KeyWalk;
  #known: SignedTree | undefined;
  /** Of the stream's last heartbeat. */
  #checkpoint: string | undefined;
  /** Nothing comes twice, nor backwards. */
  #next: bigint;

  constructor(
    connection: { readonly keys: KeyClient },
    walk: KeyWalk,
    options: VerifiedWatchOptions,
    from: bigint,
  ) {
    this.#connection = connection;
    this.#walk = walk;
    this.#options = options;
    this.#known = options.known;
    this.#next = from;
    this.#rebuilding = options.rebuild && new Rebuilding(options.rebuild);
  }

  /** @throws ProofError, ForkError. */
  async take({ event, nextPosition, proof }: WatchResponse): Promise<VerifiedEvent> {
    const hashes = proof?.hashes ?? [];
    switch (event?.$case) {
      case "heartbeat":
        return this.#heartbeat(event.value, hashes, nextPosition);
      case "record":
        return this.#record(event.value, hashes, nextPosition);
      case "erased":
        return this.#erased(event.value.position, event.value.leaf, hashes, nextPosition);
      case undefined:
        throw new ProofError("a message of the watch holds no event that this client knows");
    }
  }

  async #heartbeat(
    { checkpoint }: Heartbeat,
    consistencyProof: readonly Uint8Array[],
    nextPosition: bigint,
  ): Promise<VerifiedEvent> {
    if (nextPosition < this.#next) throw new ProofError(`the watch goes back to position ${nextPosition}`);
    const tree = await this.#verifying((walk) => walk.verifyCheckpoint(checkpoint));
    if (this.#known !== undefined)
      this.#walk.requireGrowth(this.#known, { checkpoint, ...tree }, consistencyProof);
    this.#known = { checkpoint, ...tree };
    this.#checkpoint = checkpoint;
    this.#next = nextPosition;
    this.#rebuilding?.requireReached(nextPosition);
    this.#rebuilding?.expect(this.#known);
    const rebuilt = this.#rebuilding?.tree;
    return {
      kind: "checkpoint",
      checkpoint,
      tree,
      ...(rebuilt === undefined ? {} : { rebuilt }),
      nextPosition,
    };
  }

  async #record(
    { record, version }: VersionedRecord,
    inclusionProof: readonly Uint8Array[],
    nextPosition: bigint,
  ): Promise<VerifiedEvent> {
    if (record === undefined) throw new ProofError("a message of the watch has no record");
    const { position, envelope, disclosures } = record;
    const checkpoint = this.#requireNext(position, nextPosition);
    const evidence = { position, envelope, checkpoint, inclusionProof };
    const verified = await this.#verifying((walk) => walk.verifyRecord(evidence));
    const leaf = leafOf(envelope);
    this.#rebuilding?.take(position, leaf);
    const opened = disclosures.length === 0 ? {} : { disclosures: await openingsOf(envelope, disclosures) };
    return { kind: "record", position, leaf, record: verified, envelope, ...opened, version, nextPosition };
  }

  async #erased(
    position: bigint,
    leaf: Uint8Array,
    inclusionProof: readonly Uint8Array[],
    nextPosition: bigint,
  ): Promise<VerifiedEvent> {
    const checkpoint = this.#requireNext(position, nextPosition);
    await this.#verifying((walk) => walk.verifyLeaf({ position, leaf, checkpoint, inclusionProof }));
    this.#rebuilding?.take(position, parseHash(leaf));
    return { kind: "erased", position, leaf, nextPosition };
  }

  /** @returns the checkpoint that a proof leads to. */
  #requireNext(position: bigint, nextPosition: bigint): string {
    if (this.#checkpoint === undefined) throw new ProofError("the watch does not begin with a checkpoint");
    if (position < this.#next || nextPosition !== position + 1n) {
      throw new ProofError(`position ${position} is not the next of the watch, which is at ${this.#next}`);
    }
    this.#next = nextPosition;
    return this.#checkpoint;
  }

  /** Keys change while a watch goes on: what does not hold is looked at again with those that were announced since. */
  async #verifying<Result>(verify: (walk: KeyWalk) => Promise<Result>): Promise<Result> {
    try {
      return await verify(this.#walk);
    } catch (error) {
      if (!(error instanceof ProofError)) throw error;
      const { genesis, signal, metadata } = this.#options;
      const walk = await walkKeys(this.#connection, genesis, { signal, metadata });
      if (walk.records <= this.#walk.records) throw error;
      this.#walk = walk;
      return verify(walk);
    }
  }
}

type Watched = { readonly canon: CanonClient; readonly keys: KeyClient };

/** What was kept of a checkpoint is of that checkpoint. @throws ProofError. */
const requireSame = ({ checkpoint, size, root }: SignedTree): void => {
  const kept = parseCheckpoint(parseNote(checkpoint).text);
  if (kept.size !== size || !equalBytes(kept.root, root)) {
    throw new ProofError("the size and root of the known checkpoint are not those in its note");
  }
};

/** One stream. */
async function* verifiedOnce(
  connection: Watched,
  request: Partial<WatchRequest>,
  options: VerifiedWatchOptions,
): AsyncGenerator<VerifiedEvent, void, undefined> {
  const { genesis, known, rebuild, onBreak: _, onInterrupted: __, ...call } = options;
  const { signal, metadata } = call;
  const walk = await walkKeys(connection, genesis, { signal, metadata });
  if (known !== undefined) requireSame(known);
  const from = rebuild?.size ?? request.fromPosition;
  const watch = new VerifiedWatch(connection, walk, options, from ?? 0n);
  const messages = connection.canon.watch(
    {
      ...request,
      ...(from === undefined ? {} : { fromPosition: from }),
      ...(known === undefined ? {} : { knownSize: known.size }),
      proof: RecordProof.RECORD_PROOF_INCLUSION,
    },
    call,
  );
  for await (const message of messages) yield await watch.take(message);
}

/**
 * Goes on from the last checkpoint that was verified, so that a server whose past differs after the break is found out;
 * with `rebuild` from the leaves up to there. What was handed on since does not come again.
 */
const verifiedResuming = (
  connection: Watched,
  request: Partial<WatchRequest>,
  options: VerifiedWatchOptions,
): AsyncGenerator<VerifiedEvent, void, undefined> => {
  let { known, rebuild } = options;
  let next = rebuild?.size ?? request.fromPosition;
  const resumable: Resumable<VerifiedEvent> = {
    open: (signal) =>
      verifiedOnce(
        connection,
        { ...request, ...(next === undefined ? {} : { fromPosition: next }) },
        { ...options, ...(known && { known }), ...(rebuild && { rebuild }), signal },
      ),
    take: (event) => {
      if (event.kind === "checkpoint") {
        known = { checkpoint: event.checkpoint, ...event.tree };
        rebuild = event.rebuilt ?? rebuild;
      }
      const { nextPosition } = event;
      const isNews =
        next === undefined || nextPosition > next || (event.kind === "checkpoint" && nextPosition === next);
      if (isNews) next = nextPosition;
      return isNews;
    },
    silenceMs: silenceMsOf(request),
  };
  return resuming(resumable, options);
};

/**
 * The same as `canon.watch`, of which only what was verified comes out. Goes on at `nextPosition`, with the last
 * checkpoint as `known`, when it breaks off: by itself with `onBreak: "resume"`.
 * @throws ProofError when something does not hold, ForkError with both checkpoints when the ledger has two pasts;
 * SigilError when a call fails.
 */
export const watchVerified = (
  connection: Watched,
  request: Partial<WatchRequest>,
  options: VerifiedWatchOptions,
): AsyncGenerator<VerifiedEvent, void, undefined> =>
  options.onBreak === "resume"
    ? verifiedResuming(connection, request, options)
    : verifiedOnce(connection, request, options);
