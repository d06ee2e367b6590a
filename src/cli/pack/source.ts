/**
 * What a pack is made of, as a server gives it: decisions page by page, the proof of each caller's numbers, the
 * records of keys, models and restorations, and tiles. A server that is away for a while is waited for. Nothing is
 * verified here.
 */
import {
  CompletenessEnd,
  ListOrder,
  ProofError,
  SigilError,
  Space,
  readEvidence,
  type CanonicalRecord,
  type FrozenChain,
  type ProveCompletenessResponse,
  type SigilConnection,
  whileAway,
  type Patience,
} from "@sigil/client";
import { toBase64, utf8Decode, type Hash } from "@sigil/core/bytes";
import { formatTilePath, parseTile, tileWidth, type TileCoordinate } from "@sigil/core/merkle";
import type { CallerLine, RecordLine } from "@sigil/core/pack";
import { restorationPrefix } from "@sigil/core/record";
import { parseEvidence } from "@sigil/core/verify";
import { exportAwayMsMax, packPageMax, packTilesHeldMax } from "../../limits.ts";

export const refuse = (rule: string): never => {
  throw new ProofError(`the server's answer is not to be used: ${rule}`);
};

export type PackSpan = {
  /** Empty for the caller's own. */
  readonly tenant: string;
  readonly from: Date | undefined;
  readonly to: Date;
};

/** Decisions in ledger order, or a position whose record the server cannot prove. */
export type PackPage =
  | {
      readonly kind: "chains";
      readonly chains: readonly FrozenChain[];
      readonly next: bigint;
      readonly size: bigint;
    }
  | { readonly kind: "damaged"; readonly position: bigint; readonly next: bigint };

export type SourceOptions = Required<Omit<Patience, "awayMsMax">> & { readonly span: PackSpan };

export const recordLineOf = (record: Pick<CanonicalRecord, "position" | "envelope">): RecordLine =>
  record.envelope.length === 0
    ? refuse(`the record at position ${record.position} came without its envelope`)
    : { position: record.position, envelope: toBase64(record.envelope) };

const ends: ReadonlyMap<CompletenessEnd, CallerLine["end"]> = new Map([
  [CompletenessEnd.COMPLETENESS_END_DECISION, "decision"],
  [CompletenessEnd.COMPLETENESS_END_HEAD, "head"],
  [CompletenessEnd.COMPLETENESS_END_NEWEST, "newest"],
]);

export type CallerProof = {
  readonly line: CallerLine;
  /** The records around the span. */
  readonly records: readonly CanonicalRecord[];
  /** Positions. */
  readonly restorations: readonly bigint[];
};

const proofOf = (caller: string, answer: ProveCompletenessResponse): CallerProof => {
  const { before, after, end, decisions, restorations } = answer;
  const place = (each: typeof after) => ({
    position: each?.record?.position ?? refuse("nothing ends a span"),
    number: Number(each?.callerSeq),
  });
  return {
    line: {
      caller,
      before: before === undefined ? null : place(before),
      after: place(after),
      end: ends.get(end) ?? refuse("a span ends in a way that this version does not know"),
      decisions: Number(decisions),
    },
    records: [before?.record, after?.record].filter((record) => record !== undefined),
    restorations: restorations.map(({ ledgerPosition }) => ledgerPosition),
  };
};

/** Where the record is that failed its proof; undefined for another failure. */
const damagedAt = (error: unknown): bigint | undefined => {
  if (!(error instanceof SigilError) || error.reason !== "RECORD_CORRUPT") return undefined;
  const { position = "" } = error.facts;
  return /^\d{1,20}$/.test(position) ? BigInt(position) : undefined;
};

export class PackSource {
  readonly #connection: SigilConnection;
  readonly #options: SourceOptions;
  #pageSize = packPageMax;
  /** Tiles in the order of their last use. */
  readonly #tiles = new Map<string, readonly Hash[]>();

  constructor(connection: SigilConnection, options: SourceOptions) {
    [this.#connection, this.#options] = [connection, options];
  }

  /** From a position on, to the end of the ledger as it is now. @throws SigilError. */
  async *pages(from: bigint): AsyncGenerator<PackPage, void, undefined> {
    let next = from;
    for (;;) {
      const page = await this.#page(next);
      yield page;
      if (page.next < next) refuse("a listing goes backwards");
      ({ next } = page);
      if (page.kind === "chains" && page.next >= page.size) return;
    }
  }

  /** @throws SigilError, ProofError. */
  async caller(principal: string): Promise<CallerProof> {
    const { tenant, from, to } = this.#options.span;
    const asked = { principal, tenant, fromTime: from, untilTime: to };
    return proofOf(
      principal,
      await this.#call((call) => this.#connection.audit.proveCompleteness(asked, call)),
    );
  }

  /** Of genesis, and of every key. */
  async keyRecords(): Promise<readonly RecordLine[]> {
    const records: RecordLine[] = [];
    for (let pageToken = ""; ;) {
      const token = pageToken;
      const page = await this.#call((call) =>
        this.#connection.keys.listKeyRecords({ pageToken: token }, call),
      );
      for (const { ledgerPosition: position, envelope } of page.records)
        records.push(recordLineOf({ position, envelope }));
      if (page.nextPageToken === "") return records;
      if (page.records.length === 0) refuse("a page of key records is empty, and there are more");
      ({ nextPageToken: pageToken } = page);
    }
  }

  async model(hash: Hash): Promise<RecordLine> {
    const file = await this.#call((call) => readEvidence(this.#connection, { hash }, call));
    const { position, records } = parseEvidence(file);
    const record = records.find((each) => each.position === position);
    return recordLineOf({ position, envelope: record?.envelope ?? refuse("a model's record is missing") });
  }

  async restorations(positions: ReadonlySet<bigint>): Promise<readonly RecordLine[]> {
    const found: RecordLine[] = [];
    if (positions.size === 0) return found;
    const filter = { space: Space.SPACE_SYSTEM, idPrefix: restorationPrefix };
    for (let pageToken = ""; ;) {
      const token = pageToken;
      const page = await this.#call((call) =>
        this.#connection.canon.listRecords({ filter, pageToken: token }, call),
      );
      for (const { record } of page.records) {
        if (record !== undefined && positions.has(record.position)) found.push(recordLineOf(record));
      }
      if (page.nextPageToken === "") break;
      ({ nextPageToken: pageToken } = page);
    }
    return found.length === positions.size ? found : refuse("the record of a restoration is missing");
  }

  /** The published checkpoint: cosigned where the deployment has a policy. */
  async checkpoint(): Promise<string> {
    return utf8Decode(await this.#tileFile("checkpoint"));
  }

  /** Of a tree that is published; as wide as it is there. */
  async tiles(asked: readonly TileCoordinate[], size: bigint): Promise<readonly (readonly Hash[])[]> {
    const found: (readonly Hash[])[] = [];
    for (const tile of asked) found.push(await this.#tile(tile, size));
    return found;
  }

  async #tile(tile: TileCoordinate, size: bigint): Promise<readonly Hash[]> {
    const width = tileWidth(tile, size);
    const path = formatTilePath({ kind: "hashes", ...tile, width });
    const hashes = this.#tiles.get(path) ?? parseTile(await this.#tileFile(path));
    if (hashes.length !== width) refuse(`${path} has ${hashes.length} hashes`);
    this.#tiles.delete(path);
    this.#tiles.set(path, hashes);
    if (this.#tiles.size > packTilesHeldMax) {
      for (const oldest of this.#tiles.keys()) {
        this.#tiles.delete(oldest);
        break;
      }
    }
    return hashes;
  }

  async #tileFile(path: string): Promise<Uint8Array> {
    return (await this.#call((call) => this.#connection.audit.getTile({ path }, call))).content;
  }

  /** A page that holds a damaged record is asked for in halves, until that record is alone. */
  async #page(from: bigint): Promise<PackPage> {
    const { tenant, from: fromTime, to: untilTime } = this.#options.span;
    const order = ListOrder.LIST_ORDER_OLDEST_FIRST;
    for (;;) {
      const query = { tenant, fromTime, untilTime, order, fromPosition: from, pageSize: this.#pageSize };
      try {
        const page = await this.#call((call) => this.#connection.audit.listFrozenChains(query, call));
        this.#pageSize = Math.min(packPageMax, 2 * this.#pageSize);
        const { chains, resumePosition: next, ledgerSize: size } = page;
        if (next === from && next < size) refuse("a page of decisions makes no progress");
        return { kind: "chains", chains, next, size };
      } catch (error) {
        const position = damagedAt(error);
        if (position === undefined || position < from) throw error;
        if (this.#pageSize === 1) return { kind: "damaged", position, next: position + 1n };
        this.#pageSize = Math.floor(this.#pageSize / 2);
      }
    }
  }

  #call<Answer>(call: (options: { readonly signal: AbortSignal }) => Promise<Answer>): Promise<Answer> {
    const { signal } = this.#options;
    return whileAway(() => call({ signal }), { ...this.#options, awayMsMax: exportAwayMsMax });
  }
}
