/** The witness registry as the ledger has it, now or at any size: the newest `quorum` record and the witnesses it names. */
import { coseKeyThumbprint } from "@sigil/core/cose";
import { fail } from "../../errors.ts";
import { parseQuorum, parseWitness } from "@sigil/core/record";
import type { Ledger } from "../../ledger/ledger.ts";
import type { SetRegistry } from "../domain.ts";
import { systemScope } from "./kept-proposal.ts";
import { readNewest, type ReadingLedger } from "../records/reading.ts";
import type { EnrolledWitness } from "@sigil/core/quorum";

const quorumId = "quorum";
const witnessPrefix = "witness/";

/** @throws recordCorrupt, ledgerCorrupt when a record that must be there is not. */
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

export type Registries = {
  /** The registry in force. */
  readonly current: () => Promise<SetRegistry>;
  readonly close: () => void;
};

/** Remembers the registry in force until one of its records changes. */
export const createRegistries = (
  ledger: Pick<Ledger, "subscribe"> & { readonly reader: ReadingLedger },
): Registries => {
  let held: Promise<SetRegistry> | undefined;
  const unsubscribe = ledger.subscribe((records) => {
    const isOfRegistry = ({ id, space }: { readonly id: string; readonly space: string }): boolean =>
      space === "system" && (id === quorumId || id.startsWith(witnessPrefix));
    if (records.some(({ body }) => isOfRegistry(body))) held = undefined;
  });
  const current = (): Promise<SetRegistry> => {
    if (held !== undefined) return held;
    const reading = readRegistry(ledger.reader, ledger.reader.size);
    held = reading;
    // A reading that failed is tried again by the next who asks.
    reading.catch(() => {
      if (held === reading) held = undefined;
    });
    return reading;
  };
  return { current, close: unsubscribe };
};
