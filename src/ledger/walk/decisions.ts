/**
 * Checks the decision index against the records: every tenant's index loads, rows and tail match the records, each
 * segment holds exactly their postings, and no other values exist. Holds one rows value per tenant and a digest of the
 * current segment.
 */
import { fail, SigilFault } from "../../errors.ts";
import { decisionParts, familyRange, parseDecisionKey } from "../layout/keyspace.ts";
import { decisionRowsMax, segmentLevelMax } from "../../limits.ts";
import type { Store } from "../../storage/store.ts";
import type { Findings } from "./findings.ts";
import {
  entryOf,
  loadDecisions,
  type DecisionKeys,
  type TenantState,
  type WalkedIn,
} from "../decisions/decision-index.ts";
import { PostingsReader } from "../decisions/postings.ts";
import {
  clockAfter,
  noTime,
  type Clock,
  type DecisionEntry,
  type DecisionRow,
  type Rows,
} from "../decisions/rows.ts";
import { DecisionValues, spanOf, type Segment } from "../decisions/values.ts";

const step = "decision index";

/**
 * An order-independent digest of postings. Not collision resistant: postings are authenticated, so it only detects
 * errors.
 */
class PostingsDigest {
  #first = 0;
  #second = 0;
  #count = 0;

  add(term: number, ordinal: number): void {
    let mixed = Math.imul(term ^ 0x9e37_79b9, 0x85eb_ca6b) ^ Math.imul(ordinal + 1, 0xc2b2_ae35);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x27d4_eb2f);
    mixed ^= mixed >>> 13;
    this.#first = (this.#first + mixed) | 0;
    this.#second = (this.#second + Math.imul(mixed, mixed | 1)) | 0;
    this.#count += 1;
  }

  get text(): string {
    return `${this.#count} ${this.#first} ${this.#second}`;
  }

  get count(): number {
    return this.#count;
  }
}

/** @returns undefined if the record cannot be read, which is reported separately. */
export type ReadAgain = (position: bigint) => Promise<unknown>;

type Inspected = {
  readonly keys: DecisionKeys;
  /** Undefined if it could not be loaded, which is reported separately. */
  readonly loaded: TenantState | undefined;
  readonly values: DecisionValues;
  /** Number of decisions seen. */
  count: number;
  /** Ordinal of the next index entry to compare. */
  ordinal: number;
  clock: Clock;
  rows: Rows | undefined;
  /** Index in `loaded.segments` of the current segment. */
  segment: number;
  digest: PostingsDigest;
  /** True if decisions of this segment could not be read; `isPartial` for any so far. */
  isSegmentPartial: boolean;
  isPartial: boolean;
};

const isSameRow = (a: DecisionRow, b: DecisionRow): boolean =>
  a.position === b.position && a.ts === b.ts && a.subject === b.subject && a.caller === b.caller;

const isSameEntry = (a: DecisionEntry, b: DecisionEntry): boolean =>
  isSameRow(a, b) &&
  a.terms.length === b.terms.length &&
  a.terms.every((term, index) => term === b.terms[index]);

const ruleOf = (error: unknown): string => {
  if (!(error instanceof SigilFault) || error.error.kind === "storeFailed") throw error;
  return "rule" in error.error ? error.error.rule : error.message;
};

export class DecisionCheck {
  readonly #store: Store;
  readonly #findings: Findings;
  readonly #keys: (tenant: string) => Promise<DecisionKeys>;
  readonly #readAgain: ReadAgain;
  readonly #tenants = new Map<string, Inspected>();

  constructor(
    store: Store,
    findings: Findings,
    keys: (tenant: string) => Promise<DecisionKeys>,
    readAgain: ReadAgain,
  ) {
    this.#store = store;
    this.#findings = findings;
    this.#keys = keys;
    this.#readAgain = readAgain;
  }

  /** Call in ledger order. */
  async add(walked: WalkedIn): Promise<void> {
    const { body, position } = walked;
    const inspected = this.#tenants.get(body.tenant) ?? (await this.#begin(body.tenant));
    const entry = entryOf(walked, inspected.keys.terms);
    inspected.count += 1;
    inspected.clock = clockAfter(inspected.clock, entry.ts);
    if (inspected.loaded === undefined) return;
    const wrong = (rule: string): void => this.#findings.add(position, step, rule);
    try {
      let stored = await this.#storedAt(inspected);
      for (
        ;
        stored !== undefined && stored.position < entry.position;
        stored = await this.#storedAt(inspected)
      ) {
        await this.#passOver(inspected, stored);
      }
      if (stored?.position !== entry.position) {
        return fail({
          kind: "ledgerCorrupt",
          position: 0n,
          rule: "the entry is missing, and maybe more after it",
        });
      }
      const isSame = "terms" in stored ? isSameEntry(stored, entry) : isSameRow(stored, entry);
      if (!isSame) wrong("the entry is not what its record gives");
      await this.#advance(inspected, entry, wrong);
    } catch (error) {
      // The rest of this tenant's index is not compared: nothing is known past the damage.
      wrong(ruleOf(error));
      this.#tenants.set(body.tenant, { ...inspected, loaded: undefined });
    }
  }

  async finish(): Promise<void> {
    for (const [tenant, inspected] of this.#tenants) {
      if (inspected.loaded === undefined) continue;
      try {
        for (let stored = await this.#storedAt(inspected); stored !== undefined;) {
          await this.#passOver(inspected, stored);
          stored = await this.#storedAt(inspected);
        }
      } catch (error) {
        this.#findings.add(null, step, `tenant "${tenant}": ${ruleOf(error)}`);
      }
    }
    for await (const [key] of this.#store.range(familyRange("d"))) {
      if (!this.#belongs(key)) {
        this.#findings.add(null, step, `an entry belongs to no record (d, ${key.length} bytes)`);
      }
    }
  }

  async #begin(tenant: string): Promise<Inspected> {
    const keys = await this.#keys(tenant);
    const loaded = await loadDecisions(tenant, this.#store, keys).catch((error: unknown) =>
      this.#findings.add(null, step, ruleOf(error)),
    );
    const inspected = {
      keys,
      loaded: loaded ?? undefined,
      values: new DecisionValues(tenant, this.#store, keys.seal),
      count: 0,
      ordinal: 0,
      clock: noTime,
      rows: undefined,
      segment: 0,
      digest: new PostingsDigest(),
      isSegmentPartial: false,
      isPartial: false,
    };
    this.#tenants.set(tenant, inspected);
    return inspected;
  }

  /** The index entry of the next decision. */
  async #storedAt(inspected: Inspected): Promise<DecisionRow | DecisionEntry | undefined> {
    const { loaded, ordinal, values } = inspected;
    if (loaded === undefined) return undefined;
    if (ordinal >= loaded.settled) return loaded.tail[ordinal - loaded.settled];
    const index = ordinal % decisionRowsMax;
    if (index === 0 || inspected.rows === undefined) {
      inspected.rows = await values.rows(Math.floor(ordinal / decisionRowsMax));
    }
    return inspected.rows.at(index);
  }

  /** Handles an entry without a matching record: it is unreadable or does not exist. */
  async #passOver(inspected: Inspected, { position }: DecisionRow): Promise<void> {
    if ((await this.#readAgain(BigInt(position))) !== undefined) {
      this.#findings.add(null, step, `an entry belongs to no decision (position ${position})`);
    }
    inspected.isSegmentPartial = true;
    inspected.isPartial = true;
    await this.#advance(inspected, undefined, () => {});
  }

  /** @param entry of the compared decision, if it could be read. */
  async #advance(
    inspected: Inspected,
    entry: DecisionEntry | undefined,
    wrong: (rule: string) => void,
  ): Promise<void> {
    const { loaded, ordinal, clock, rows, isPartial } = inspected;
    inspected.ordinal += 1;
    if (loaded === undefined || ordinal >= loaded.settled) return;
    const isClock = rows?.clock.latestMs === clock.latestMs && rows.clock.latenessMs === clock.latenessMs;
    if (inspected.ordinal % decisionRowsMax === 0 && !isPartial && !isClock) {
      wrong("the times of the entries before it are not what their records give");
    }
    const segment = loaded.segments[inspected.segment] as Segment;
    const first = segment.number * spanOf(segment.level);
    for (const term of entry?.terms ?? []) inspected.digest.add(term, ordinal - first);
    if (inspected.ordinal < first + spanOf(segment.level)) return;
    if (!inspected.isSegmentPartial) await this.#compareSegment(inspected, segment, wrong);
    inspected.segment += 1;
    inspected.digest = new PostingsDigest();
    inspected.isSegmentPartial = false;
  }

  async #compareSegment(
    { values, digest }: Inspected,
    segment: Segment,
    wrong: (rule: string) => void,
  ): Promise<void> {
    const { fence, level, number } = segment;
    const stored = new PostingsDigest();
    let [term, ordinal, isSorted] = [0, -1, true];
    for (let value = 0; value < fence.terms.length; value += 1) {
      const reader = new PostingsReader(await values.postings(segment, value));
      let isFirst = true;
      while (reader.next()) {
        isSorted &&= reader.term > term || (reader.term === term && reader.ordinal > ordinal);
        if (isFirst) {
          isSorted &&= reader.term === fence.terms[value] && reader.ordinal === fence.ordinals[value];
        }
        [term, ordinal, isFirst] = [reader.term, reader.ordinal, false];
        stored.add(term, ordinal);
      }
    }
    if (isSorted && stored.text === digest.text && fence.postings === stored.count) return;
    wrong(`segment ${number} of level ${level} is not what the records give`);
  }

  /** Whether a key belongs to an index of this length, including leftovers of an interrupted merge. */
  #belongs(key: Uint8Array): boolean {
    try {
      const { tenant, part, number, chunk } = parseDecisionKey(key);
      const inspected = this.#tenants.get(tenant);
      if (inspected === undefined) return false;
      const { loaded } = inspected;
      // The load error has already been reported.
      if (loaded === undefined) return true;
      if (part === decisionParts.tail) return loaded.tailValues.some(({ first }) => first === number);
      if (part === decisionParts.rows) return (number + 1) * decisionRowsMax <= loaded.settled;
      const level = part - decisionParts.postings;
      if (level > segmentLevelMax || (number + 1) * spanOf(level) > loaded.settled) return false;
      const segment = loaded.segments.find((each) => each.level === level && each.number === number);
      return segment === undefined || chunk === null || chunk < segment.fence.terms.length;
    } catch (error) {
      ruleOf(error);
      return false;
    }
  }
}
