/**
 * Reads a system record and verifies its quorum: the attestations in its envelope are judged again by the registry at
 * its time. A record without the required approvals is treated as damaged, regardless of its signature. Source:
 * docs/spec/quorum.md §8.
 */
import { equalBytes } from "@sigil/core/bytes";
import { fail } from "../../errors.ts";
import type { StoredRecord } from "@sigil/core/record";
import type { LedgerReader } from "../../ledger/read/reading.ts";
import type { SystemRecord, VersionedRecord } from "../domain.ts";
import { isOwn, judgeQuorum } from "./judge.ts";
import { readProposal, systemScope } from "./kept-proposal.ts";
import { readNewest, readVersion } from "../records/reading.ts";
import { readRegistry } from "./registries.ts";

const notFound = (id: string): never => fail({ kind: "notFound", what: "system record", id });

const readSystem = async (ledger: LedgerReader, id: string, version: bigint): Promise<VersionedRecord> => {
  if (version === 0n) {
    const newest = await readNewest(ledger, systemScope, id);
    return newest === undefined || newest.tombstone ? notFound(id) : newest;
  }
  const position = await ledger.versionAt(systemScope.tenant, systemScope.space, id, version);
  return position === undefined ? notFound(id) : readVersion(ledger, systemScope, { id, position, version });
};

/**
 * The record that carries the attestations: the record itself, or for the witness record of a registry change the
 * quorum record before it in the same commit, which links to it.
 */
const attestedOf = async (ledger: LedgerReader, record: StoredRecord): Promise<StoredRecord> => {
  if (record.body.kind !== "witness") return record;
  const before = await ledger.readAt(record.position - 1n);
  const names = before.body.links.some(
    ({ label, target }) => label === "witness" && equalBytes(target, record.hash),
  );
  return before.body.kind === "quorum" && names ? before : record;
};

/** Records without a quorum: the first group, which the genesis hash covers, and the deployment's own. */
const needsNoQuorum = async (ledger: LedgerReader, { position, body }: StoredRecord): Promise<boolean> =>
  isOwn(body) || position < (await ledger.genesisSize());

/** @throws notFound, recordCorrupt with step "quorum" if approvals are missing. */
export const readSystemRecord = async (
  ledger: LedgerReader,
  id: string,
  version: bigint,
): Promise<SystemRecord> => {
  const record = await readSystem(ledger, id, version);
  const { position } = record.record;
  if (await needsNoQuorum(ledger, record.record)) {
    const { registry } = await readRegistry(ledger, await ledger.genesisSize());
    const { k, epoch, witnesses } = registry;
    return { record, attestedBy: [], k, n: witnesses.size, epoch, proposalId: "" };
  }
  const carrier = await attestedOf(ledger, record.record);
  const { registry } = await readRegistry(ledger, carrier.position);
  const { attestedBy, reached, proposal } = await judgeQuorum(
    { record: carrier.hash, attestations: carrier.attestations, registry, origin: ledger.origin },
    (proposalId) => readProposal(ledger, proposalId),
  );
  const { k, epoch, witnesses } = registry;
  if (!reached) {
    const rule = `it carries ${attestedBy.length} valid approvals of the ${k} it needed ("${id}")`;
    return fail({ kind: "recordCorrupt", position, step: "quorum", rule, id });
  }
  return { record, attestedBy, k, n: witnesses.size, epoch, proposalId: proposal ?? "" };
};
