/**
 * Principals as the ledger has them: the newest `principal/<id>` record of the system space, or the first Root from the
 * genesis record while it has none of its own. Where the system space has none, `<tenant>/<name>` may be one that the tenant
 * enrolled itself, an Observer at most; and `witness/<id>` is an enrolled witness by its own key. Remembered until its
 * record changes, so a revocation works on the next call. At most `principalCacheEntriesMax` are held; unknown ids are not remembered, or strangers could empty it.
 */
import { isEnrolledAs, principalPrefix, principalRecordId } from "../record/enrolment.ts";
import { fail, SigilFault } from "../record/errors.ts";
import { parseGenesis } from "../record/kinds/genesis.ts";
import {
  parsePrincipal,
  parseQuorum,
  parseWitness,
  type PrincipalPayload,
} from "../record/kinds/governance.ts";
import { principalCacheEntriesMax } from "../record/limits.ts";
import { systemTenant, tenantFault } from "../record/names.ts";
import { canonicalSubject } from "../record/spelling.ts";
import { opensslSha256 } from "../keys/sha256.ts";
import type { RecordBody } from "../record/record.ts";
import type { Ledger } from "../ledger/ledger.ts";
import { BoundedMap } from "./bounded-map.ts";

export type Principals = {
  /** Of a canonical id. @throws recordCorrupt when the principal's record fails its proof: nobody is let in by a damaged record. */
  readonly find: (principalId: string) => Promise<PrincipalPayload | undefined>;
  /** Stops listening to the ledger. */
  readonly close: () => void;
};

/** The reading side that is needed. */
export type PrincipalLedger = Pick<Ledger, "origin" | "readId" | "readAt" | "subscribe">;

/** Whether a principal could have this id at all, spelled so. */
const isPrincipalId = (id: string, trustDomain: string): boolean => {
  const spelling = canonicalSubject(id, trustDomain);
  return spelling.kind === "canonical" && spelling.text === id;
};

type NamedPrincipal = PrincipalPayload & { readonly id: string };

/** Levels that a tenant gives without a quorum; a record of its own that says more gives nothing. */
const freeLevels = ["guest", "observer"];

const witnessPrefix = "witness/";

const notOne = (position: bigint): never =>
  fail({ kind: "recordCorrupt", position, step: "schema", rule: "the record is not a principal" });

/**
 * The principal of this name in a record, undefined when the record was ended or is another's.
 * @throws recordCorrupt when it holds another kind.
 */
const principalIn = (name: string, { body, position }: Awaited<ReturnType<PrincipalLedger["readAt"]>>) => {
  if (body.kind === "tombstone") return undefined;
  if (body.kind !== "principal") return notOne(position);
  const principal = parsePrincipal(body.payload, body.schemaVersion);
  return isEnrolledAs(name, body.id, principal) ? principal : undefined;
};

/** What the record's principal goes by, without its tenant; undefined when a digest is all there is. */
const nameIn = ({ id, kind, payload, schemaVersion }: RecordBody): string | undefined => {
  const name = id.slice(principalPrefix.length);
  if (!name.startsWith("~")) return name;
  return kind === "principal" ? (parsePrincipal(payload, schemaVersion).id ?? name) : undefined;
};

/** Nobody is a principal of a tenant that was erased. */
const unlessErased = (error: unknown): undefined => {
  if (error instanceof SigilFault && error.error.kind === "erased") return undefined;
  throw error;
};

export const createPrincipals = (
  ledger: PrincipalLedger,
  entriesMax: number = principalCacheEntriesMax,
): Principals => {
  let held = new BoundedMap<string, PrincipalPayload>(entriesMax);
  let heldWitnesses = new BoundedMap<string, PrincipalPayload>(entriesMax);
  let firstRoot: NamedPrincipal | undefined;
  /** Grows with every change of a principal: a read that a change overtook must not be remembered. */
  let changes = 0;

  const unsubscribe = ledger.subscribe((records) => {
    for (const { body } of records) {
      const { id, kind, space, tenant } = body;
      if (space === "system" && (id === "quorum" || id.startsWith(witnessPrefix))) {
        changes += 1;
        heldWitnesses = new BoundedMap(entriesMax);
      }
      if (space === "system" && kind === "erasure") {
        // Whoever a tenant enrolled by itself goes with it.
        changes += 1;
        held = new BoundedMap(entriesMax);
      }
      if (!id.startsWith(principalPrefix)) continue;
      changes += 1;
      const name = nameIn(body);
      if (name === undefined) held = new BoundedMap(entriesMax);
      else held.delete(space === "system" ? name : `${tenant}/${name}`);
    }
  });

  const readFirstRoot = async (): Promise<NamedPrincipal> => {
    const { body } = await ledger.readAt(0n);
    return parseGenesis(body.payload).root;
  };

  /** An enrolled witness, which calls with the key it attests with. */
  const readWitness = async (id: string): Promise<PrincipalPayload | undefined> => {
    const quorum = await ledger.readId(systemTenant, "system", "quorum");
    if (quorum === undefined || !parseQuorum(quorum.body.payload).witnesses.includes(id)) return undefined;
    const record = await ledger.readId(systemTenant, "system", witnessPrefix + id);
    if (record === undefined) return undefined;
    const { publicKey } = parseWitness(record.body.payload);
    return { publicKeys: [publicKey], loa: "observer", tenant: systemTenant, active: true };
  };

  /** One that a tenant enrolled in its own user space: `<tenant>/<name>`. */
  const readFree = async (id: string): Promise<PrincipalPayload | undefined> => {
    const slash = id.indexOf("/");
    const [tenant, name] = [id.slice(0, Math.max(0, slash)), id.slice(slash + 1)];
    if (tenantFault(tenant) !== null) return undefined;
    const record = await ledger
      .readId(tenant, "user", principalRecordId(name, opensslSha256))
      .catch(unlessErased);
    const principal = record === undefined ? undefined : principalIn(name, record);
    if (principal === undefined || principal.tenant !== tenant) return undefined;
    return freeLevels.includes(principal.loa) ? principal : undefined;
  };

  const read = async (id: string): Promise<PrincipalPayload | undefined> => {
    const record = await ledger.readId(systemTenant, "system", principalRecordId(id, opensslSha256));
    // The system space has the last word, also when it ended the principal.
    if (record !== undefined) return principalIn(id, record);
    // The genesis record never changes, so it is read once.
    firstRoot ??= await readFirstRoot();
    return firstRoot.id === id ? firstRoot : readFree(id);
  };

  const find = async (id: string): Promise<PrincipalPayload | undefined> => {
    const isWitness = id.startsWith(witnessPrefix);
    const known = (isWitness ? heldWitnesses : held).get(id);
    if (known !== undefined) return known;
    if (!isPrincipalId(id, ledger.origin)) return undefined;
    const changesBefore = changes;
    const found = await (isWitness ? readWitness(id.slice(witnessPrefix.length)) : read(id));
    if (found !== undefined && changes === changesBefore) (isWitness ? heldWitnesses : held).set(id, found);
    return found;
  };

  return { find, close: unsubscribe };
};
