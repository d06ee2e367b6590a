/**
 * The open proposals: a projection of the ledger that takes in every commit. At most `openProposalsMax`; ended ones are
 * read from the ledger when they are asked for.
 */
import { toHex, u64be } from "@sigil/core/bytes";
import { proposalLifetimeMsMax } from "../../limits.ts";
import type { RecordBody } from "@sigil/core/record";
import type { CommittedRecord, Ledger } from "../../ledger/ledger.ts";
import {
  keepProposal,
  proposalScope,
  readProposal,
  withAttestation,
  type KeptProposal,
} from "./kept-proposal.ts";
import { proposalPrefixes } from "../kinds.ts";

/** The least uuid of a moment: its first 48 bits are milliseconds. Source: RFC 9562 §5.7. */
const uuidFloor = (timeMs: number): string => {
  const hex = toHex(u64be(BigInt(Math.max(0, timeMs)))).slice(4);
  return `${hex.slice(0, 8)}-${hex.slice(8)}`;
};

/** Clocks may have been set back by so much while proposals were made. */
const clockStepMsMax = 24 * 60 * 60 * 1000;

const isProposals = ({ tenant, space }: RecordBody): boolean =>
  tenant === proposalScope.tenant && space === proposalScope.space;

export class ProposalBook {
  readonly #ledger: Ledger;
  readonly #open = new Map<string, KeptProposal>();

  private constructor(ledger: Ledger) {
    this.#ledger = ledger;
  }

  /** @throws recordCorrupt when a record of an open proposal fails its proof. */
  static async open(ledger: Ledger, nowMs: number): Promise<ProposalBook> {
    const book = new ProposalBook(ledger);
    const from = `${proposalPrefixes.proposal}${uuidFloor(nowMs - proposalLifetimeMsMax - clockStepMsMax)}`;
    const { tenant, space } = proposalScope;
    const ids: string[] = [];
    for await (const { position } of ledger.reader.heads(tenant, space, proposalPrefixes.proposal, {
      from,
    })) {
      ids.push((await ledger.reader.readAt(position)).body.id);
    }
    ledger.subscribe((records) => {
      for (const record of records) if (isProposals(record.body)) book.#take(record);
    });
    for (const id of ids) {
      const kept = await readProposal(ledger.reader, id);
      if (kept !== undefined && kept.ending === null) book.#open.set(id, kept);
    }
    return book;
  }

  /** Newest first. */
  get open(): readonly KeptProposal[] {
    return [...this.#open.values()].sort((a, b) => (a.position > b.position ? -1 : 1));
  }

  /** An open one, as of the last commit. */
  held(id: string): KeptProposal | undefined {
    return this.#open.get(id);
  }

  /** Open or ended. @throws recordCorrupt. */
  async find(id: string): Promise<KeptProposal | undefined> {
    return this.#open.get(id) ?? readProposal(this.#ledger.reader, id);
  }

  #take(record: CommittedRecord): void {
    const { body } = record;
    if (body.kind === "proposal") {
      this.#open.set(body.id, keepProposal(record));
      return;
    }
    const name = body.id.split("/")[1] ?? "";
    const id = proposalPrefixes.proposal + name;
    const kept = this.#open.get(id);
    if (kept === undefined) return;
    if (body.kind === "attestation") this.#open.set(id, withAttestation(kept, record));
    // What has ended is read from the ledger from now on.
    if (body.kind === "proposal_ending") this.#open.delete(id);
  }
}
