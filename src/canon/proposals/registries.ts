/** Reads the witness registry at any ledger size: the newest `quorum` record and the witnesses it names. */
import { coseKeyThumbprint } from "@sigil/core/cose";
import { fail } from "../../errors.ts";
import { parseQuorum, parseWitness, witnessPrefix, quorumId } from "@sigil/core/record";
import type { SetRegistry } from "../domain.ts";
import { systemScope } from "./kept-proposal.ts";
import { readNewest, type ReadingLedger } from "../records/reading.ts";
import type { EnrolledWitness } from "@sigil/core/quorum";

/** Whether a record of the system space with this id changes the registry. */
export const isOfRegistry = (id: string): boolean => id === quorumId || id.startsWith(witnessPrefix);

/** @throws recordCorrupt, ledgerCorrupt if a required record is missing. */
export const readRegistry = async (ledger: ReadingLedger, size: bigint): Promise<SetRegistry> => {
  const missing = (rule: string): never => fail({ kind: "ledgerCorrupt", position: size, rule });
  const record = await readNewest(ledger, systemScope, quorumId, size);
  if (record?.record.body.kind !== "quorum")
    return missing("the indexes name no quorum record; run: sigil fsck --rebuild-indexes");
  const { k, epoch, proposerMayAttest, witnesses } = parseQuorum(record.record.body.payload);
  const enrolled = await Promise.all(
    witnesses.map(async (id): Promise<EnrolledWitness> => {
      const own = await readNewest(ledger, systemScope, witnessPrefix + id, size);
      if (own?.record.body.kind !== "witness") return missing(`there is no record of witness "${id}"`);
      const witness = parseWitness(own.record.body.payload);
      const thumbprint = coseKeyThumbprint(witness.publicKey);
      return { id, ...witness, thumbprint, enrolledAt: own.record.position };
    }),
  );
  const { position, hash } = record.record;
  const byId = new Map(enrolled.map((witness) => [witness.id, witness]));
  return { registry: { k, epoch, proposerMayAttest, witnesses: byId, position, hash }, record };
};
