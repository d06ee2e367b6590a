/**
 * The quorum's state in memory: the registry in force, the open proposals with their attestations, and the newest
 * version of each record they would change. A projection of the ledger: read and verified once, updated by commits,
 * reread after a recovery. At most `openProposalsMax` proposals; ended ones are read from the ledger on demand.
 */
import { proposalPrefix } from "@sigil/core/record";
import { toHex, u64be, type Hash } from "@sigil/core/bytes";
import { proposalLifetimeMsMax } from "../../limits.ts";
import type { Feed } from "../../ledger/feed.ts";
import type { CommittedRecord, Ledger, LedgerStatus } from "../../ledger/ledger.ts";
import type { LedgerReader } from "../../ledger/read/reading.ts";
import type { SetRegistry } from "../domain.ts";
import { readNewest, type ReadingLedger } from "../records/reading.ts";
import {
  keepProposal,
  proposalOf,
  proposalScope,
  readProposal,
  systemScope,
  withRecord,
  type KeptProposal,
} from "./kept-proposal.ts";
import { isOfRegistry, readRegistry } from "./registries.ts";

/** An immutable snapshot; each commit makes a new one. */
export type Moment = {
  readonly registry: SetRegistry;
  /** Open proposals by id. */
  readonly open: ReadonlyMap<string, KeptProposal>;
  /** For each record that an open proposal would change, the newest version's hash; null if there is none. */
  readonly heads: ReadonlyMap<string, Hash | null>;
};

export const newestFirst = ({ open }: Moment): readonly KeptProposal[] =>
  [...open.values()].sort((a, b) => (a.position > b.position ? -1 : 1));

/** The loaded parts of the state; the rest is read on demand. */
type Known = {
  readonly registry: SetRegistry | undefined;
  readonly open: ReadonlyMap<string, KeptProposal> | undefined;
  readonly heads: ReadonlyMap<string, Hash | null>;
};

export type StateLedger = Pick<Ledger, "status"> & {
  readonly reader: ReadingLedger & Pick<LedgerReader, "heads">;
  readonly feed: Pick<Feed, "subscribe">;
};

/** A new object each time, so that a read begun earlier is recognized as stale. */
const nothing = (): Known => ({ registry: undefined, open: undefined, heads: new Map() });

const isWhole = (known: Known): known is Known & Moment =>
  known.registry !== undefined &&
  known.open !== undefined &&
  [...known.open.values()].every(({ body }) => known.heads.has(body.id));

/** Heads of the records that an open proposal would change. */
const headsOf = (
  heads: ReadonlyMap<string, Hash | null>,
  open: ReadonlyMap<string, KeptProposal>,
): ReadonlyMap<string, Hash | null> => {
  const wanted = new Set([...open.values()].map(({ body }) => body.id));
  return new Map([...heads].filter(([id]) => wanted.has(id)));
};

/** The state after a record of the system space. */
const withSystem = (known: Known, { body, hash }: CommittedRecord): Known => ({
  ...known,
  registry: isOfRegistry(body.id) ? undefined : known.registry,
  heads: known.heads.has(body.id) ? new Map(known.heads).set(body.id, hash) : known.heads,
});

/** The state after a proposal, or a record about one. */
const withProposal = (
  known: Known,
  open: ReadonlyMap<string, KeptProposal>,
  record: CommittedRecord,
): Known => {
  const { body } = record;
  if (body.kind === "proposal") {
    return { ...known, open: new Map(open).set(body.id, keepProposal(record)) };
  }
  const kept = open.get(proposalOf(body));
  if (kept === undefined) return known;
  const after = withRecord(kept, record);
  const next = new Map(open).set(after.id, after);
  if (after.ending !== null) next.delete(after.id);
  return { ...known, open: next, heads: headsOf(known.heads, next) };
};

/** The state after a record. A new object if the record may make a read in progress stale. */
const follow = (known: Known, record: CommittedRecord): Known => {
  const { tenant, space, kind } = record.body;
  if (tenant !== systemScope.tenant) return known;
  if (space === systemScope.space) return withSystem(known, record);
  if (!["proposal", "attestation", "proposal_ending"].includes(kind)) return known;
  return known.open === undefined ? { ...known } : withProposal(known, known.open, record);
};

/** The smallest UUIDv7 of a time: its first 48 bits are milliseconds. Source: RFC 9562 §5.7. */
const uuidFloor = (timeMs: number): string => {
  const hex = toHex(u64be(BigInt(Math.max(0, timeMs)))).slice(4);
  return `${hex.slice(0, 8)}-${hex.slice(8)}`;
};

/** Tolerated backward clock step between proposals. */
const clockStepMsMax = 24 * 60 * 60 * 1000;

/** @throws recordCorrupt if a record of an open proposal fails verification. */
const readOpen = async (
  { reader }: StateLedger,
  nowMs: number,
): Promise<ReadonlyMap<string, KeptProposal>> => {
  const from = proposalPrefix + uuidFloor(nowMs - proposalLifetimeMsMax - clockStepMsMax);
  const { tenant, space } = proposalScope;
  const open = new Map<string, KeptProposal>();
  for await (const { position } of reader.heads(tenant, space, proposalPrefix, { from })) {
    const { id } = (await reader.readAt(position)).body;
    const kept = await readProposal(reader, id);
    if (kept !== undefined && kept.ending === null) open.set(id, kept);
  }
  return open;
};

/** A read in progress, and the state when it began. */
type Reading = { readonly known: Known; readonly done: Promise<void> };

export class QuorumState {
  readonly #ledger: StateLedger;
  readonly #nowMs: () => number;
  #known = nothing();
  #reading: Reading | undefined;
  /** The ledger's status object when the state was begun; a different object means a recovery in between. */
  #served: LedgerStatus | undefined;
  /** Unsubscribes from the ledger. */
  readonly close: () => void;

  constructor(ledger: StateLedger, nowMs: () => number) {
    this.#ledger = ledger;
    this.#nowMs = nowMs;
    this.close = ledger.feed.subscribe((records) => {
      // A record that cannot be parsed may have changed anything.
      let next = nothing();
      try {
        next = records.reduce(follow, this.#known);
      } finally {
        this.#known = next;
      }
    });
  }

  /** The state as of the last commit. @throws recordCorrupt, ledgerCorrupt, storeFailed; the next call reads again. */
  async now(): Promise<Moment> {
    for (;;) {
      const known = this.#current();
      if (isWhole(known)) return known;
      if (this.#reading?.known !== known) this.#reading = { known, done: this.#read(known) };
      await this.#reading.done;
    }
  }

  /** Finds an open or ended proposal. @throws recordCorrupt. */
  async find(id: string): Promise<KeptProposal | undefined> {
    return (await this.now()).open.get(id) ?? readProposal(this.#ledger.reader, id);
  }

  /** The newest version's hash of any record, also one without open proposals. @throws recordCorrupt. */
  async headIn({ heads }: Moment, id: string): Promise<Hash | null> {
    const known = heads.get(id);
    if (known !== undefined) return known;
    return (await readNewest(this.#ledger.reader, systemScope, id))?.record.hash ?? null;
  }

  #current(): Known {
    const { status } = this.#ledger;
    if (status.kind === "serving" && status !== this.#served) {
      this.#served = status;
      this.#known = nothing();
    }
    return this.#known;
  }

  /** The result is dropped if a commit has overtaken the read. */
  async #read(known: Known): Promise<void> {
    const { reader } = this.#ledger;
    try {
      const registry = known.registry ?? (await readRegistry(reader, reader.size));
      const open = known.open ?? (await readOpen(this.#ledger, this.#nowMs()));
      const heads = new Map(known.heads);
      for (const { body } of open.values()) {
        if (heads.has(body.id)) continue;
        const newest = await readNewest(reader, systemScope, body.id);
        heads.set(body.id, newest?.record.hash ?? null);
      }
      if (this.#known === known) this.#known = { registry, open, heads };
    } finally {
      if (this.#reading?.known === known) this.#reading = undefined;
    }
  }
}
