/**
 * Principals as the ledger has them: the newest `principal/<id>` record of the system space, or the first Root from the
 * genesis record while it has none of its own. Remembered until its record changes, so a revocation works on the
 * next call. At most `principalCacheEntriesMax` are held; unknown ids are not remembered, or strangers could empty it.
 */
import { fail } from "../record/errors.ts";
import { parseGenesis } from "../record/kinds/genesis.ts";
import { parsePrincipal, type PrincipalPayload } from "../record/kinds/governance.ts";
import { principalCacheEntriesMax, principalIdBytesMax } from "../record/limits.ts";
import { recordIdFault, systemTenant } from "../record/names.ts";
import type { Ledger } from "../ledger/ledger.ts";
import { BoundedMap } from "./bounded-map.ts";

export type Principals = {
  /** @throws recordCorrupt when the principal's record fails its proof: nobody is let in by a damaged record. */
  readonly find: (principalId: string) => Promise<PrincipalPayload | undefined>;
  /** Stops listening to the ledger. */
  readonly close: () => void;
};

/** The reading side that is needed. */
export type PrincipalLedger = Pick<Ledger, "readId" | "readAt" | "subscribe">;

const recordPrefix = "principal/";

/** The id of the record that holds a principal. */
const principalRecordId = (principalId: string): string => recordPrefix + principalId;

/** Whether a principal could have this id at all. */
export const isPrincipalId = (id: string): boolean =>
  id.length > 0 && id.length <= principalIdBytesMax && recordIdFault(principalRecordId(id)) === null;

type NamedPrincipal = PrincipalPayload & { readonly id: string };

export const createPrincipals = (
  ledger: PrincipalLedger,
  entriesMax: number = principalCacheEntriesMax,
): Principals => {
  const held = new BoundedMap<string, PrincipalPayload>(entriesMax);
  let firstRoot: NamedPrincipal | undefined;
  /** Grows with every change of a principal: a read that a change overtook must not be remembered. */
  let changes = 0;

  const unsubscribe = ledger.subscribe((records) => {
    for (const { body } of records) {
      if (body.space !== "system" || !body.id.startsWith(recordPrefix)) continue;
      changes += 1;
      held.delete(body.id.slice(recordPrefix.length));
    }
  });

  const readFirstRoot = async (): Promise<NamedPrincipal> => {
    const { body } = await ledger.readAt(0n);
    return parseGenesis(body.payload).root;
  };

  const read = async (id: string): Promise<PrincipalPayload | undefined> => {
    const record = await ledger.readId(systemTenant, "system", principalRecordId(id));
    if (record !== undefined) {
      const { body, position } = record;
      if (body.kind === "principal") return parsePrincipal(body.payload);
      return fail({ kind: "recordCorrupt", position, step: "schema", rule: "the record is not a principal" });
    }
    // The genesis record never changes, so it is read once.
    firstRoot ??= await readFirstRoot();
    return firstRoot.id === id ? firstRoot : undefined;
  };

  const find = async (id: string): Promise<PrincipalPayload | undefined> => {
    const known = held.get(id);
    if (known !== undefined) return known;
    if (!isPrincipalId(id)) return undefined;
    const changesBefore = changes;
    const found = await read(id);
    if (found !== undefined && changes === changesBefore) held.set(id, found);
    return found;
  };

  return { find, close: unsubscribe };
};
