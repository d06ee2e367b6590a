/**
 * Walks the whole ledger from position 0, group by group, trusting nothing: opens and parses each record, verifies its
 * signature with the key ring of its predecessors, recomputes each tree and compares it with its signed checkpoint.
 * Holds one group in memory. Unreadable records are reported and skipped.
 */
import {
  inStep,
  leafOf,
  openRecord,
  readRecord,
  requireSignature,
  signerOf,
  type OpenedRecord,
} from "@sigil/core/verify";
import { equalBytes, toHex, type Hash, type PublicKey } from "@sigil/core/bytes";
import { fail, SigilFault } from "../../errors.ts";
import { parseGenesis, readDisclosures, type RecordBody } from "@sigil/core/record";
import { leafHash, parseCheckpoint, verifyCheckpoint, parseNote, rootOf } from "@sigil/core/merkle";
import {
  applyKeyRecord,
  findSigner,
  ringOfGenesis,
  emptyRing,
  type KeyRing,
  verifyOwn,
} from "@sigil/core/keys";
import { sealedKeyVersion } from "../../crypto/seal.ts";
import type { Store, StoreEntry } from "../../storage/store.ts";
import type { DecisionEntry } from "../decisions/rows.ts";
import { checkpointKeyOf } from "../read/examine.ts";
import type { Findings } from "./findings.ts";
import { parseGroup, type GroupEntry } from "../layout/group.ts";
import type { Keyless } from "./keyless.ts";
import { erasedEntryKey, familyRange, positionOf } from "../layout/keyspace.ts";
import { ReadAhead, type Prepared, type Readers, type RecordCursor, type StoredRecord } from "./readers.ts";
import type { ReadingSigner } from "./reading-messages.ts";
import { sealedPart, type Sealer } from "../sealing/sealer.ts";
import { emptyTree, planLeaves, type TreePlan } from "../layout/tree.ts";

export type WalkedRecord = {
  readonly position: bigint;
  readonly body: RecordBody;
  readonly hash: Hash;
  /** Witness statements from the envelope, not parsed. */
  readonly attestations: readonly Uint8Array[];
  /** Version of the data key that sealed it. */
  readonly keyVersion: number;
};

/** A decision of user space that a thread has read: of its body nothing but its index entry is left. */
export type WalkedDecision = Pick<WalkedRecord, "position" | "hash" | "keyVersion"> & {
  readonly body: Pick<RecordBody, "tenant" | "kind" | "space">;
  readonly entry: DecisionEntry;
};

export const isWhole = (record: WalkedRecord | WalkedDecision): record is WalkedRecord =>
  "attestations" in record;

export type WalkedGroup = {
  /** Exclusive end position. */
  readonly end: bigint;
  /** The readable records of the group. */
  readonly records: readonly (WalkedRecord | WalkedDecision)[];
  /** Undefined once a leaf is unknown or a root differs from the signed one: from there the tree cannot be computed. */
  readonly tree: { readonly plan: TreePlan; readonly root: Hash; readonly checkpoint: string } | undefined;
};

type WalkContext = {
  readonly store: Store;
  readonly sealer: Sealer;
  readonly origin: string;
  readonly genesis: Hash;
  readonly findings: Findings;
  /** Receives records without a key: erased or damaged. */
  readonly keyless: Keyless;
  readonly signal: AbortSignal | undefined;
  /** Threads that read records ahead; without them the walk reads each itself. */
  readonly readers?: Readers | undefined;
};

/** Iterates over a family's entries in order with one entry of lookahead. Reports malformed keys. */
class Cursor implements RecordCursor {
  readonly #entries: AsyncIterator<StoreEntry>;
  readonly #onMalformed: () => void;
  #next: StoredRecord | undefined;

  constructor(entries: AsyncIterable<StoreEntry>, onMalformed: () => void) {
    this.#entries = entries[Symbol.asyncIterator]();
    this.#onMalformed = onMalformed;
  }

  async peek(): Promise<StoredRecord | undefined> {
    while (this.#next === undefined) {
      const { done, value: entry } = await this.#entries.next();
      if (done === true) return undefined;
      if (entry[0].length === 9) {
        this.#next = { position: positionOf(entry[0]), value: entry[1], prepared: undefined };
      } else this.#onMalformed();
    }
    return this.#next;
  }

  skip(): void {
    this.#next = undefined;
  }

  async close(): Promise<void> {
    await this.#entries.return?.();
  }
}

/** Result of reading a record. A leaf without a record means that the seal opened but a later step failed. */
type Read = {
  readonly leaf: Hash | undefined;
  readonly record: WalkedRecord | WalkedDecision | undefined;
};

const ruleOf = (error: unknown): string => {
  if (!(error instanceof SigilFault) || error.error.kind === "storeFailed") throw error;
  return "rule" in error.error ? error.error.rule : error.message;
};

/** The step that failed; errors without a step come from the seal. */
const stepOf = (error: unknown): string =>
  error instanceof SigilFault && error.error.kind === "recordCorrupt" ? error.error.step : "seal";

/** A tree after some leaves. */
type Grown = { readonly plan: TreePlan; readonly root: Hash };

/** Undefined if the previous tree or a leaf is unknown. */
const growBy = (
  before: TreePlan["tree"] | undefined,
  leaves: readonly (Hash | undefined)[],
): Grown | undefined => {
  if (before === undefined || leaves.some((leaf) => leaf === undefined)) return undefined;
  const plan = planLeaves(before, leaves as readonly Hash[]);
  return { plan, root: rootOf(plan.tree.frontier) };
};

/** Records without a group entry are walked in steps of this many. */
const stepRecords = 256n;

/** Single use. @throws cancelled, storeFailed; everything else becomes a finding. */
export class Walk {
  readonly #context: WalkContext;
  readonly #records: RecordCursor;
  readonly #groups: Cursor;
  /** Undefined if the genesis record is not the expected one: then no signature can be verified. */
  #ring: KeyRing | undefined = emptyRing;
  /** The keys that may have signed records; the same array while the ring is the same. */
  #signers: { readonly ring: KeyRing | undefined; readonly list: readonly ReadingSigner[] } = {
    ring: undefined,
    list: [],
  };
  #size = 0n;
  #tree: TreePlan["tree"] | undefined = emptyTree;

  constructor(context: WalkContext) {
    this.#context = context;
    const { store, findings, readers } = context;
    const [records, groups] = [store.range(familyRange("r")), store.range(familyRange("b"))];
    const malformed = (step: string) => (): void => findings.add(null, step, "a key is malformed");
    const onMalformed = malformed("sequence");
    this.#records =
      readers === undefined
        ? new Cursor(records, onMalformed)
        : new ReadAhead(records, readers, () => this.#signersNow(), onMalformed);
    this.#groups = new Cursor(groups, malformed("group"));
  }

  /** The ring after the records walked so far. */
  get ring(): KeyRing | undefined {
    return this.#ring;
  }

  async *run(): AsyncGenerator<WalkedGroup> {
    const { findings, signal } = this.#context;
    try {
      for (let raw = await this.#groups.peek(); raw !== undefined; raw = await this.#groups.peek()) {
        this.#groups.skip();
        if (raw.position < this.#size) {
          findings.add(raw.position, "group", "the group entry overlaps the one before it");
          continue;
        }
        const group = this.#parse(raw.position, raw.value);
        if (group === undefined) continue;
        if (raw.position > this.#size && (await this.#records.peek()) !== undefined) {
          const rule = `no group entry covers positions ${this.#size} to ${raw.position - 1n}`;
          findings.add(this.#size, "group", rule);
          yield* this.#takeUncovered(raw.position);
        }
        if (raw.position > this.#size && (await this.#records.peek()) === undefined) {
          findings.add(raw.position, "group", "the group entry stands past every record");
          continue;
        }
        this.#skipTo(raw.position);
        yield await this.#take(this.#size + BigInt(group.leaves.length), group);
        if (signal?.aborted === true) fail({ kind: "cancelled" });
      }
      for (let next = await this.#records.peek(); next !== undefined; next = await this.#records.peek()) {
        findings.add(next.position, "sequence", "the record lies past the last group entry");
        this.#records.skip();
      }
    } finally {
      await this.#records.close();
      await this.#groups.close();
    }
  }

  /** Walks records below `end` that no group entry covers. */
  async *#takeUncovered(end: bigint): AsyncGenerator<WalkedGroup> {
    for (;;) {
      const next = await this.#records.peek();
      if (next === undefined || next.position >= end) return;
      this.#skipTo(next.position);
      const stepEnd = this.#size + stepRecords;
      yield await this.#take(stepEnd < end ? stepEnd : end, undefined);
    }
  }

  /** Skips positions that have no stored value. */
  #skipTo(position: bigint): void {
    if (position === this.#size) return;
    const rule = `the records up to position ${position - 1n} are missing`;
    this.#context.findings.add(this.#size, "sequence", rule);
    this.#size = position;
    this.#tree = undefined;
  }

  #parse(first: bigint, bytes: Uint8Array): GroupEntry | undefined {
    try {
      return parseGroup(first, bytes);
    } catch (error) {
      this.#context.findings.add(first, "group", ruleOf(error));
      return undefined;
    }
  }

  /** Reads everything up to `end`, which becomes the size. */
  async #take(end: bigint, group: GroupEntry | undefined): Promise<WalkedGroup> {
    const first = this.#size;
    const records: (WalkedRecord | WalkedDecision)[] = [];
    const read: (Hash | undefined)[] = [];
    for (let position = first; position < end; position += 1n) {
      const { leaf, record } = await this.#read(position);
      if (record !== undefined) records.push(record);
      read.push(leaf);
    }
    this.#size = end;
    const before = this.#tree;
    this.#tree = undefined;
    const grown = group === undefined ? growBy(before, read) : await this.#grow(before, read, group);
    this.#tree = grown?.plan.tree;
    return { end, records, tree: grown && { ...grown, checkpoint: group?.checkpoint ?? "" } };
  }

  /**
   * The tree after a group. Its leaves come from both the records and the group's entry; if they differ, the signed
   * root tells which are damaged, so that one damaged record does not invalidate every later root.
   */
  async #grow(
    before: TreePlan["tree"] | undefined,
    read: readonly (Hash | undefined)[],
    group: GroupEntry,
  ): Promise<Grown | undefined> {
    const { findings } = this.#context;
    const { firstPosition, leaves } = group;
    const signed = await this.#signedRoot(group.checkpoint);
    const differing = read.flatMap((leaf, index) =>
      leaf !== undefined && !equalBytes(leaf, leaves[index] ?? leaf) ? [firstPosition + BigInt(index)] : [],
    );
    const byRecords = growBy(
      before,
      read.map((leaf, index) => leaf ?? leaves[index]),
    );
    const isSigned = (grown: Grown): boolean => signed === undefined || equalBytes(grown.root, signed);
    if (byRecords === undefined || isSigned(byRecords)) {
      if (differing[0] !== undefined) {
        findings.add(
          differing[0],
          "leaf",
          `${differing.length} leaves of the group's entry are not its records'`,
        );
      }
      return byRecords;
    }
    for (const position of differing) {
      findings.add(position, "leaf", "the record is not the one its group's entry holds");
    }
    const byEntry = growBy(before, leaves);
    if (byEntry !== undefined && isSigned(byEntry)) return byEntry;
    const rule = `the tree's root is ${toHex(byRecords.root)}, not the checkpoint's`;
    findings.add(firstPosition, "root", rule);
    return undefined;
  }

  /** The root that a checkpoint of this size claims; its signature is verified concurrently. */
  async #signedRoot(note: string): Promise<Hash | undefined> {
    const { findings, origin } = this.#context;
    const size = this.#size;
    const ring = this.#ring;
    const refuse = (error: unknown): undefined => {
      findings.add(size - 1n, "checkpoint", ruleOf(error));
    };
    try {
      const checkpoint = parseCheckpoint(parseNote(note).text);
      if (checkpoint.size !== size) {
        findings.add(size - 1n, "checkpoint", `is over size ${checkpoint.size}, stands at size ${size}`);
        return undefined;
      }
      if (ring !== undefined) {
        const publicKey: PublicKey = checkpointKeyOf(ring, size).publicKey;
        await findings.beside(() =>
          verifyCheckpoint(note, { origin, publicKey, verify: verifyOwn }).then(() => {}, refuse),
        );
      }
      return checkpoint.root;
    } catch (error) {
      return refuse(error);
    }
  }

  async #read(position: bigint): Promise<Read> {
    const { findings } = this.#context;
    const nothing = { leaf: undefined, record: undefined };
    const next = await this.#records.peek();
    if (next?.position !== position) {
      findings.add(position, "sequence", "the record is missing");
      return nothing;
    }
    this.#records.skip();
    const tenantWithoutKey = this.#context.sealer.keylessTenant(next.value);
    if (tenantWithoutKey !== undefined) {
      const kept = await this.#keptEntry(position);
      this.#context.keyless.add(tenantWithoutKey, position, kept !== undefined);
      return { leaf: kept && leafHash(kept), record: undefined };
    }
    const verified = this.#believed(next);
    if (verified?.entry !== undefined) {
      const { hash, keyVersion, tenant, entry } = verified;
      const body = { tenant, kind: "frozen_chain", space: "user" } as const;
      return { leaf: verified.leaf, record: { position, body, hash, keyVersion, entry } };
    }
    let leaf: Hash | undefined;
    try {
      const { sealer } = this.#context;
      const { tenant, envelope, disclosures } = await sealer.open(next.value, position);
      leaf = leafOf(envelope);
      const opened = openRecord(position, envelope);
      const { hash, attestations } = opened;
      const body = readRecord(opened, { origin: this.#context.origin, tenant });
      inStep(position, "schema", () => readDisclosures(disclosures, body));
      if (position === 0n) this.#begin(body, hash);
      if (verified === undefined) await this.#verify(opened);
      this.#announce(position, body);
      const keyVersion = sealedKeyVersion(sealedPart(next.value), position);
      return { leaf, record: { position, body, hash, attestations, keyVersion } };
    } catch (error) {
      findings.add(position, stepOf(error), ruleOf(error));
      return { leaf, record: undefined };
    }
  }

  /** What a thread found, if the ring of this position has the key by which it verified the signature. */
  #believed({ position, prepared }: StoredRecord): Prepared | undefined {
    if (prepared === undefined || this.#ring === undefined) return undefined;
    const { kid, publicKey } = prepared.signer;
    const found = findSigner(this.#ring, "record", kid, position);
    return found.kind === "ok" && equalBytes(found.entry.publicKey, publicKey) ? prepared : undefined;
  }

  #signersNow(): readonly ReadingSigner[] {
    const ring = this.#ring;
    if (this.#signers.ring !== ring) {
      const list = (ring?.entries ?? []).flatMap(({ role, thumbprint: kid, publicKey }) =>
        role === "record" ? [{ kid, publicKey }] : [],
      );
      this.#signers = { ring, list };
    }
    return this.#signers.list;
  }

  /** The entry of a record that was erased; its leaf is then compared like any. */
  async #keptEntry(position: bigint): Promise<Uint8Array | undefined> {
    const kept = await this.#context.store.get(erasedEntryKey(position));
    if (kept !== undefined && kept.length !== 32) {
      this.#context.findings.add(position, "leaf", "the kept entry of the erased record is malformed");
    }
    return kept;
  }

  #begin(body: RecordBody, hash: Hash): void {
    if (!equalBytes(hash, this.#context.genesis)) {
      this.#ring = undefined;
      const rule = `it is not the expected ${toHex(this.#context.genesis)}`;
      fail({ kind: "recordCorrupt", position: 0n, step: "genesis", rule });
    }
    this.#ring = ringOfGenesis(parseGenesis(body.payload));
  }

  async #verify(opened: OpenedRecord): Promise<void> {
    const { findings } = this.#context;
    if (this.#ring === undefined) return;
    const signer = signerOf(opened, this.#ring);
    await findings.beside(async () => {
      try {
        await requireSignature(opened, signer, verifyOwn);
      } catch (error) {
        findings.add(opened.position, stepOf(error), ruleOf(error));
      }
    });
  }

  /** Applies a key record to the ring. */
  #announce(position: bigint, body: RecordBody): void {
    if (this.#ring === undefined) return;
    this.#ring = applyKeyRecord(this.#ring, position, body);
  }
}
