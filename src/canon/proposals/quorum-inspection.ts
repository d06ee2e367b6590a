/**
 * Fsck of quorums: every record of the system space must carry the approvals required by the registry at its time,
 * independent of the ledger's own signature, and a proposed model must have its flip report in the same commit. Feed it
 * every group, in order; memory grows with the number of proposals.
 * Source: docs/spec/quorum.md §8.
 */
import { equalBytes } from "@sigil/core/bytes";
import { coseKeyThumbprint } from "@sigil/core/cose";
import { SigilFault } from "../../errors.ts";
import {
  flipReportOf,
  parseQuorum,
  parseWitness,
  readFlipReport,
  systemTenant,
  witnessPrefix,
} from "@sigil/core/record";
import { isWhole, type WalkedGroup, type WalkedRecord } from "../../ledger/walk/walk.ts";
import { isOwn, judgeQuorum, type ProposalFacts } from "./judge.ts";
import { flipReportStep } from "./flip-report.ts";
import { keepProposal } from "./kept-proposal.ts";
import type { EnrolledWitness, Registry } from "@sigil/core/quorum";

type Problem = { readonly position: bigint | null; readonly step: string; readonly rule: string };

const step = "quorum";

export class QuorumInspection {
  readonly #origin: string;
  readonly #proposals = new Map<string, ProposalFacts>();
  readonly #witnesses = new Map<string, EnrolledWitness>();
  #registry: Registry | undefined;
  #isFirst = true;

  constructor(origin: string) {
    this.#origin = origin;
  }

  async inspect(group: Pick<WalkedGroup, "records">): Promise<readonly Problem[]> {
    const records = group.records.filter(isWhole);
    const problems: Problem[] = [];
    // The first group is covered by the genesis hash; later ones are judged by the registry before them.
    if (!this.#isFirst) {
      for (const record of records) {
        const rule = await this.#ruleBroken(record, records);
        if (rule !== null) problems.push({ position: record.position, step, rule });
      }
    }
    this.#isFirst = false;
    for (const record of records) {
      const rule = this.#take(record, records);
      if (rule !== null) problems.push({ position: record.position, step: flipReportStep, rule });
    }
    this.#enrol(records);
    return problems;
  }

  async #ruleBroken(record: WalkedRecord, group: readonly WalkedRecord[]): Promise<string | null> {
    const { body, hash, attestations } = record;
    if (body.space !== "system" || isOwn(body)) return null;
    if (body.kind === "witness") {
      const names = group.some(
        ({ body: other }) =>
          other.kind === "quorum" &&
          other.links.some(({ label, target }) => label === "witness" && equalBytes(target, hash)),
      );
      return names ? null : `no quorum record of its commit names "${body.id}"`;
    }
    const registry = this.#registry;
    if (registry === undefined) return "the registry of its time cannot be read";
    const committed = { record: hash, attestations, registry, origin: this.#origin };
    const judged = await judgeQuorum(committed, async (id) => this.#proposals.get(id));
    if (judged.reached) return null;
    return `"${body.id}" carries ${judged.attestedBy.length} valid approvals of the ${registry.k} it needed`;
  }

  /** @returns the rule that the flip report of a proposed model breaks, or null. */
  #take(record: WalkedRecord, group: readonly WalkedRecord[]): string | null {
    if (record.body.kind !== "proposal" || record.body.tenant !== systemTenant) return null;
    try {
      const { id, position, recordHash, enrols, payload, body } = keepProposal(record);
      this.#proposals.set(id, { id, position, recordHash, enrols, payload: { proposer: payload.proposer } });
      const named = flipReportOf(body);
      if (named === undefined) return null;
      const report = group.find(({ hash }) => equalBytes(hash, named));
      if (report === undefined) return `no flip report of its commit is the one that "${id}" names`;
      const read = readFlipReport(report, id, body);
      return read.kind === "sound" ? null : read.rule;
    } catch (error) {
      // A proposal with an invalid body cannot have committed anything.
      if (!(error instanceof SigilFault)) throw error;
      return null;
    }
  }

  #enrol(records: readonly WalkedRecord[]): void {
    for (const { body, position } of records) {
      if (body.kind !== "witness") continue;
      const witness = parseWitness(body.payload);
      const id = body.id.slice(witnessPrefix.length);
      const thumbprint = coseKeyThumbprint(witness.publicKey);
      this.#witnesses.set(id, { id, ...witness, thumbprint, enrolledAt: position });
    }
    for (const { body, position, hash } of records) {
      if (body.kind !== "quorum") continue;
      const { k, epoch, proposerMayAttest, witnesses } = parseQuorum(body.payload);
      const enrolled = witnesses.flatMap((id): (readonly [string, EnrolledWitness])[] => {
        const witness = this.#witnesses.get(id);
        return witness === undefined ? [] : [[id, witness]];
      });
      this.#registry = { k, epoch, proposerMayAttest, witnesses: new Map(enrolled), position, hash };
    }
  }
}
