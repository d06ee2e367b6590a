/**
 * What the quorum decides on, in memory: the registry in force, the open proposals with what was received about them,
 * and the newest version of each record they would change. A projection of the ledger: read and verified once, kept by
 * its commits, read anew once the ledger has checked itself. At most `openProposalsMax` proposals; ended ones are read
 * from the ledger when they are asked for.
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

/** One moment. A commit makes another; this one stays as it is. */
export type Moment = {
  readonly registry: SetRegistry;
  /** By id. */
  readonly open: ReadonlyMap<string, KeptProposal>;
  /** Of each record that an open proposal would change the newest version's hash; null where there is none. */
  readonly heads: ReadonlyMap<string, Hash | null>;
};

export const newestFirst = ({ open }: Moment): readonly KeptProposal[] =>
  [...open.values()].sort((a, b) => (a.position > b.position ? -1 : 1));

/** What is known of the present moment; what is not is read when it is asked for. */
type Known = {
  readonly registry: SetRegistry | undefined;
  readonly open: ReadonlyMap<string, KeptProposal> | undefined;
  readonly heads: ReadonlyMap<string, Hash | null>;
};

export type StateLedger = Pick<Ledger, "status"> & {
  readonly reader: ReadingLedger & Pick<LedgerReader, "heads">;
  readonly feed: Pick<Feed, "subscribe">;
};

/** Another value each time, so that a reading that began before is not taken for one that began now. */
const nothing = (): Known => ({ registry: undefined, open: undefined, heads: new Map() });

const isWhole = (known: Known): known is Known & Moment =>
  known.registry !== undefined &&
  known.open !== undefined &&
  [...known.open.values()].every(({ body }) => known.heads.has(body.id));

/** Those of records that an open proposal would change. */
const headsOf = (
  heads: ReadonlyMap<string, Hash | null>,
  open: ReadonlyMap<string, KeptProposal>,
): ReadonlyMap<string, Hash | null> => {
  const wanted = new Set([...open.values()].map(({ body }) => body.id));
  return new Map([...heads].filter(([id]) => wanted.has(id)));
};

/** After a record of the system space. */
const withSystem = (known: Known, { body, hash }: CommittedRecord): Known => ({
  ...known,
  registry: isOfRegistry(body.id) ? undefined : known.registry,
  heads: known.heads.has(body.id) ? new Map(known.heads).set(body.id, hash) : known.heads,
});

/** After a proposal, or a record about one. */
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

/** What is known after one more record. Another value whenever what is being read meanwhile may be overtaken by it. */
const follow = (known: Known, record: CommittedRecord): Known => {
  const { tenant, space, kind } = record.body;
  if (tenant !== systemScope.tenant) return known;
  if (space === systemScope.space) return withSystem(known, record);
  if (!["proposal", "attestation", "proposal_ending"].includes(kind)) return known;
  return known.open === undefined ? { ...known } : withProposal(known, known.open, record);
};

/** The least uuid of a moment: its first 48 bits are milliseconds. Source: RFC 9562 §5.7. */
const uuidFloor = (timeMs: number): string => {
  const hex = toHex(u64be(BigInt(Math.max(0, timeMs)))).slice(4);
  return `${hex.slice(0, 8)}-${hex.slice(8)}`;
};

/** Clocks may have been set back by so much while proposals were made. */
const clockStepMsMax = 24 * 60 * 60 * 1000;

/** @throws recordCorrupt when a record of an open proposal fails its proof. */
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

/** A reading of what is not known, and what was known when it began. */
type Reading = { readonly known: Known; readonly done: Promise<void> };

export class QuorumState {
  readonly #ledger: StateLedger;
  readonly #nowMs: () => number;
  #known = nothing();
  #reading: Reading | undefined;
  /** Since when the ledger served as what is known was begun: a status is another value each time it changes. */
  #served: LedgerStatus | undefined;
  /** Stops listening to the ledger. */
  readonly close: () => void;

  constructor(ledger: StateLedger, nowMs: () => number) {
    this.#ledger = ledger;
    this.#nowMs = nowMs;
    this.close = ledger.feed.subscribe((records) => {
      // A record that cannot be understood may have changed anything.
      let next = nothing();
      try {
        next = records.reduce(follow, this.#known);
      } finally {
        this.#known = next;
      }
    });
  }

  /** As of the last commit. @throws recordCorrupt, ledgerCorrupt, storeFailed: the next who asks reads again. */
  async now(): Promise<Moment> {
    for (;;) {
      const known = this.#current();
      if (isWhole(known)) return known;
      if (this.#reading?.known !== known) this.#reading = { known, done: this.#read(known) };
      await this.#reading.done;
    }
  }

  /** Open or ended. @throws recordCorrupt. */
  async find(id: string): Promise<KeptProposal | undefined> {
    return (await this.now()).open.get(id) ?? readProposal(this.#ledger.reader, id);
  }

  /** Of a record that no open proposal is about, too. @throws recordCorrupt. */
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

  /** What a commit overtakes is not remembered. */
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
