/**
 * The consumer's half of the feed: duplicates change nothing, a lane without a gap, every record verified by keys that
 * follow from the genesis hash, and the Merkle tree rebuilt and compared with each checkpoint. Pure: what verifies
 * signatures is an argument, and nothing is stored here. Of several lanes at most `projectionReorderMax` messages wait
 * for one of another lane. Source: docs/spec/projections.md.
 */
import { equalBytes, parseHash, toHex, type Hash } from "@sigil/core/bytes";
import { cborDecode } from "@sigil/core/cbor";
import { Fault } from "@sigil/core/errors";
import { applyKeyRecord, checkpointSigner, isKeyRecord, type Verify } from "@sigil/core/keys";
import {
  appendLeaves,
  emptyFrontier,
  parseCheckpoint,
  parseNote,
  rootOf,
  verifyCheckpoint,
  type Frontier,
} from "@sigil/core/merkle";
import {
  keyRetirementPrefix,
  readDisclosures,
  signingKeyPrefix,
  systemTenant,
  type RecordBody,
} from "@sigil/core/record";
import {
  leafOf,
  openRecord,
  readRecord,
  requireSignature,
  signerOf,
  walkKeys,
  type OpenedRecord,
  type WalkedKeys,
} from "@sigil/core/verify";
import { projectionReorderMax } from "../limits.ts";
import { failProjection, ProjectionFault } from "./fault.ts";
import type { LaneBatch, LaneCursor, LaneMessage } from "./message.ts";

/** A verified place of the ledger. */
export type Place = {
  readonly position: bigint;
  /** Of the Merkle tree. */
  readonly leaf: Hash;
  /** Undefined where its tenant was erased. */
  readonly record: PlacedRecord | undefined;
};

export type PlacedRecord = {
  readonly envelope: Uint8Array;
  readonly hash: Hash;
  readonly body: RecordBody;
};

/** What is stored with the rows, in one transaction where there is one. */
export type Progress = {
  /** Low-water mark: every position below was taken. */
  readonly next: bigint;
  readonly lanes: ReadonlyMap<string, LaneCursor>;
  /** Over the leaves below `next`: a compact range. Empty where a filter left some out. */
  readonly frontier: Frontier;
};

export const noProgress: Progress = { next: 0n, lanes: new Map(), frontier: emptyFrontier };

export type Consumer = Progress & {
  /** Undefined before the genesis record. */
  readonly keys: WalkedKeys | undefined;
  /** Messages of lanes that are ahead, by position. */
  readonly waiting: ReadonlyMap<bigint, LaneMessage>;
  /** Where each lane has been received up to; `lanes` is where it is taken up to. */
  readonly received: ReadonlyMap<string, LaneCursor>;
  /** The smallest checkpoint whose size is not reached yet. */
  readonly due: string | undefined;
  /** Of the largest checkpoint whose root was compared; 0 before the first. */
  readonly checked: bigint;
};

export type ConsumerOptions = {
  /** Hash of the genesis record; everything is believed because of it. */
  readonly genesis: Hash;
  readonly verify: Verify;
  /**
   * One lane never waits: what is not next is missing. Of several the cursors are kept. Keys are lanes without a bound,
   * of which none is kept: what is below the low-water mark was taken, and what is above waits.
   */
  readonly lanes: "one" | "several" | "keys";
  /** Of one lane: positions that its filter left out are no gaps, and no root can be compared. False unless told. */
  readonly isFiltered?: boolean;
};

const sizeOfNote = (note: string): bigint => {
  try {
    return parseCheckpoint(parseNote(note).text).size;
  } catch (cause) {
    if (!(cause instanceof Fault)) throw cause;
    return failProjection({ kind: "checkpointRefused", rule: cause.message }, { cause });
  }
};

/**
 * @param keys as they follow from the key records below `next`.
 * @param checkpoint the newest one that was compared. @throws ProjectionFault checkpointRefused.
 */
export const resumeConsumer = (
  progress: Progress,
  keys: WalkedKeys | undefined,
  checkpoint?: string,
): Consumer => ({
  ...progress,
  keys,
  waiting: new Map(),
  received: progress.lanes,
  due: undefined,
  checked: checkpoint === undefined ? 0n : sizeOfNote(checkpoint),
});

export type Taken = {
  readonly consumer: Consumer;
  /** In ledger order, each once. */
  readonly places: readonly Place[];
  /** Of the last checkpoint whose root was compared; undefined when there was none. */
  readonly checkpoint: { readonly note: string; readonly size: bigint } | undefined;
};

const receive = (consumer: Consumer, messages: readonly LaneMessage[]) => {
  const [received, waiting] = [new Map(consumer.received), new Map(consumer.waiting)];
  for (const message of messages) {
    const { lane, position, prev } = message;
    const taken = received.get(lane)?.position ?? null;
    if (taken !== null && position <= taken) continue;
    if (prev !== taken) failProjection({ kind: "linkMissing", lane, position, prev, taken });
    received.set(lane, { position });
    if (position >= consumer.next) waiting.set(position, message);
  }
  return { received, waiting };
};

/** Links by positions alone: a lane that waits for nothing is not remembered. */
const receiveKeyed = ({ next, received, waiting: held }: Consumer, messages: readonly LaneMessage[]) => {
  const waiting = new Map(held);
  for (const message of messages) {
    const { lane, position, prev } = message;
    if (position < next || waiting.has(position)) continue;
    if (prev !== null && prev >= next && !waiting.has(prev)) {
      const taken = next === 0n ? null : next - 1n;
      failProjection({ kind: "linkMissing", lane, position, prev, taken });
    }
    waiting.set(position, message);
  }
  return { received, waiting };
};

const leastOf = (positions: Iterable<bigint>): bigint | undefined => {
  let least: bigint | undefined;
  for (const position of positions) if (least === undefined || position < least) least = position;
  return least;
};

/** What is next, as far as it has come; the rest waits. */
const release = (
  next: bigint,
  waiting: Map<bigint, LaneMessage>,
  waitingMax: number,
): readonly LaneMessage[] => {
  const released: LaneMessage[] = [];
  for (let position = next; ; position += 1n) {
    const message = waiting.get(position);
    if (message === undefined) break;
    waiting.delete(position);
    released.push(message);
  }
  const found = leastOf(waiting.keys());
  if (found !== undefined && waiting.size > waitingMax) {
    failProjection({ kind: "positionMissing", expected: next + BigInt(released.length), found });
  }
  return released;
};

/** One lane, whose links hold: in order, whatever is missing between. */
const releaseAll = (waiting: Map<bigint, LaneMessage>): readonly LaneMessage[] => {
  const released = [...waiting.values()];
  waiting.clear();
  return released;
};

/** What the formats throw about a record becomes the reason to stop; anything else is a bug and stays what it is. */
const refusing = async <T>(position: bigint, step: string, work: () => T | Promise<T>): Promise<T> => {
  try {
    return await work();
  } catch (cause) {
    if (!(cause instanceof Fault)) throw cause;
    const { error } = cause as Fault;
    const [at, rule] = error.kind === "recordCorrupt" ? [error.step, error.rule] : [step, cause.message];
    return failProjection({ kind: "recordRefused", position, step: at, rule }, { cause });
  }
};

const verifyOpened = (
  opened: OpenedRecord,
  disclosures: Uint8Array | undefined,
  { ring, origin }: WalkedKeys,
  verify: Verify,
): Promise<PlacedRecord> =>
  refusing(opened.position, "schema", async () => {
    await requireSignature(opened, signerOf(opened, ring), verify);
    const { envelope, hash } = opened;
    const body = readRecord(opened, { origin });
    if (disclosures !== undefined) readDisclosures(cborDecode(disclosures), body);
    return { envelope, hash, body };
  });

const requireLeaf = ({ position, leaf, envelope, isReference }: LaneMessage): Hash => {
  const refuse = (rule: string): never =>
    failProjection({ kind: "recordRefused", position, step: "inclusion", rule });
  // Without this what nobody fetched would pass as erased.
  if (isReference === true) return refuse("its envelope was not fetched");
  if (leaf.length !== 32) return refuse("the leaf is not a SHA-256");
  if (envelope !== undefined && !equalBytes(leafOf(envelope), leaf)) {
    return refuse("the envelope is not the one of the leaf beside it");
  }
  return parseHash(leaf);
};

/** Whether what follows may need keys that this record announces. Only a hint: its body is what counts. */
const namesKeys = ({ statement }: OpenedRecord): boolean =>
  [signingKeyPrefix, keyRetirementPrefix].some((prefix) =>
    statement.subject.startsWith(`${systemTenant}/system/${prefix}`),
  );

type Verified = { readonly places: readonly Place[]; readonly keys: WalkedKeys | undefined };

/** Records up to the next one about keys are verified side by side: signatures are verified in a pool of threads. */
const verifyPlaces = async (
  messages: readonly LaneMessage[],
  begun: WalkedKeys | undefined,
  { genesis, verify }: ConsumerOptions,
): Promise<Verified> => {
  const places: Place[] = [];
  let keys = begun;
  let run: Promise<Place>[] = [];
  const settle = async (): Promise<void> => {
    for (const place of await Promise.all(run)) {
      places.push(place);
      const { position, record } = place;
      if (record === undefined || keys === undefined || !isKeyRecord(record.body)) continue;
      const before = keys;
      keys = await refusing(position, "schema", () => ({
        ...before,
        ring: applyKeyRecord(before.ring, position, record.body),
      }));
    }
    run = [];
  };
  for (const message of messages) {
    const { position, envelope, disclosures } = message;
    const leaf = requireLeaf(message);
    if (envelope === undefined) {
      run.push(Promise.resolve({ position, leaf, record: undefined }));
      continue;
    }
    keys ??= await refusing(position, "genesis", () =>
      walkKeys(genesis, [{ position, envelope }], { verify }),
    );
    const opened = await refusing(position, "envelope", () => openRecord(position, envelope));
    const verified = verifyOpened(opened, disclosures, keys, verify).then((record) => ({
      position,
      leaf,
      record,
    }));
    // Awaited below; a refusal meanwhile must not count as unhandled.
    verified.catch(() => {});
    run.push(verified);
    if (namesKeys(opened)) await settle();
  }
  await settle();
  return { places, keys };
};

const requireRoot = async (note: string, frontier: Frontier, keys: WalkedKeys, verify: Verify) => {
  try {
    const signer = checkpointSigner(keys.ring, sizeOfNote(note));
    if (signer.kind === "refused") return failProjection({ kind: "checkpointRefused", rule: signer.rule });
    const { entry, mldsa44Key } = signer;
    const log = { origin: keys.origin, publicKey: entry.publicKey, verify, mldsa44Key };
    const { size, root } = await verifyCheckpoint(note, log);
    const computed = rootOf(frontier);
    if (!equalBytes(computed, root)) {
      failProjection({ kind: "rootDiffers", size, computed: toHex(computed), signed: toHex(root) });
    }
    return { note, size };
  } catch (cause) {
    if (!(cause instanceof Fault) || cause instanceof ProjectionFault) throw cause;
    return failProjection({ kind: "checkpointRefused", rule: cause.message }, { cause });
  }
};

const noNotes = { reached: undefined, due: undefined };

/** The largest note that is reached, which covers the smaller ones, and the smallest one that is not. */
const notesFor = ({ next: from, due }: Consumer, { checkpoint, messages }: LaneBatch, next: bigint) => {
  const notes = [due, checkpoint, ...messages.map((message) => message.checkpoint)]
    .filter((note) => note !== undefined)
    .map((note) => ({ note, size: sizeOfNote(note) }))
    .filter(({ size }) => size >= from && size > 0n)
    .sort((one, two) => (one.size < two.size ? -1 : 1));
  return {
    reached: notes.findLast(({ size }) => size <= next),
    due: notes.find(({ size }) => size > next)?.note,
  };
};

/** @throws ProjectionFault positionMissing unless every place below `size` was taken. */
export const requireTaken = ({ next, waiting }: Consumer, size: bigint): void => {
  if (next >= size) return;
  failProjection({ kind: "positionMissing", expected: next, found: leastOf(waiting.keys()) ?? size });
};

/**
 * Takes a batch whole or not at all; what it gives is to be stored before the next one is taken.
 * @throws ProjectionFault: linkMissing, positionMissing, recordRefused, checkpointRefused, rootDiffers.
 */
export const takeBatch = async (
  consumer: Consumer,
  batch: LaneBatch,
  options: ConsumerOptions,
): Promise<Taken> => {
  const isKeyed = options.lanes === "keys";
  const { received, waiting } = (isKeyed ? receiveKeyed : receive)(consumer, batch.messages);
  const waitingMax = options.lanes === "one" ? 0 : projectionReorderMax;
  const isFiltered = options.isFiltered === true;
  const released = isFiltered ? releaseAll(waiting) : release(consumer.next, waiting, waitingMax);
  const { places, keys } = await verifyPlaces(released, consumer.keys, options);
  const next = (places.at(-1)?.position ?? consumer.next - 1n) + 1n;
  if (batch.settled !== undefined && !isFiltered) requireTaken({ ...consumer, next, waiting }, batch.settled);
  const lanes = new Map(consumer.lanes);
  if (!isKeyed) for (const { lane, position } of released) lanes.set(lane, { position });

  let { frontier } = consumer;
  const grow = (size: bigint): void => {
    const [from, to] = [Number(frontier.size - consumer.next), Number(size - consumer.next)];
    const leaves = places.slice(from, to).map(({ leaf }) => leaf);
    ({ frontier } = appendLeaves(frontier, leaves));
  };
  // A message that waited may have come with a larger checkpoint than the one that was due.
  const messages = [...batch.messages, ...released];
  const { reached, due } = isFiltered ? noNotes : notesFor(consumer, { ...batch, messages }, next);
  let checkpoint: Taken["checkpoint"];
  if (reached !== undefined && keys !== undefined) {
    grow(reached.size);
    checkpoint = await requireRoot(reached.note, frontier, keys, options.verify);
  }
  if (!isFiltered) grow(next);
  const checked = checkpoint?.size ?? consumer.checked;
  return { consumer: { next, lanes, frontier, keys, waiting, received, due, checked }, places, checkpoint };
};
