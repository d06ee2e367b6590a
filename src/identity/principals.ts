/**
 * Looks up principals in the ledger: the newest `principal/<id>` record of the system space, or the first Root from the
 * genesis record while it has no record of its own. If the system space has none, `<tenant>/<name>` may be enrolled by
 * the tenant itself, as an Observer at most; and `witness/<id>` is an enrolled witness with its own key. Cached until
 * its record or a suspension changes, so a revocation takes effect with the next call. At most
 * `principalCacheEntriesMax` entries; unknown ids are not cached, or invented ids would evict the others.
 */
import {
  isEnrolledAs,
  principalPrefix,
  principalRecordId,
  parseGenesis,
  parsePrincipal,
  parseQuorum,
  parseWitness,
  type PrincipalPayload,
  systemTenant,
  tenantFault,
  type RecordBody,
  canonicalSubject,
  feedGrantPrefix,
  quorumId,
  suspensionPrefix,
  witnessPrefix,
} from "@sigil/core/record";
import type { Hash } from "@sigil/core/bytes";
import { fail, SigilFault } from "../errors.ts";
import { principalCacheEntriesMax } from "../limits.ts";
import { RecordCache, type Stale } from "../ledger/cache.ts";
import type { ProjectionLedger } from "../ledger/feed.ts";
import { BoundedMap } from "./bounded-map.ts";
import { standingOf, withFeed } from "./standing.ts";
import type { StandingPrincipal } from "./suspension.ts";

/**
 * Who enrolled it: `governed`: the first commit or a quorum; `tenant`: a Mentor of its tenant; `witness`: the registry.
 */
export type Enrolment = "governed" | "tenant" | "witness";

/** A principal with its enrolment record. */
export type EnrolledPrincipal = {
  readonly id: string;
  readonly principal: StandingPrincipal;
  readonly enrolment: Enrolment;
  readonly position: bigint;
};

export type Principals = {
  /** Finds the principal with a canonical id. @throws recordCorrupt if its record fails verification: fails closed. */
  readonly find: (principalId: string) => Promise<StandingPrincipal | undefined>;
  /** As `find`, bypassing the cache. @throws as `find`. */
  readonly read: (principalId: string) => Promise<EnrolledPrincipal | undefined>;
  /**
   * The principal that a record enrols; undefined if it ended or another record takes precedence. @throws as `find`.
   */
  readonly inRecord: (record: PrincipalRecord) => Promise<EnrolledPrincipal | undefined>;
  /** The state that a principal would have with this record. @throws as `find`. */
  readonly standing: (principalId: string, payload: PrincipalPayload) => Promise<StandingPrincipal>;
  /** Unsubscribes from the ledger. */
  readonly close: () => void;
};

/** The ledger reads needed here. */
export type PrincipalLedger = ProjectionLedger<"origin" | "readId" | "readAt" | "versionBelow">;

type PrincipalRecord = {
  readonly body: Pick<RecordBody, "id" | "tenant" | "space" | "kind" | "payload" | "schemaVersion">;
  readonly position: bigint;
  readonly hash: Hash;
};

/** Whether the id is a valid, canonical principal id. */
const isPrincipalId = (id: string, trustDomain: string): boolean => {
  const spelling = canonicalSubject(id, trustDomain);
  return spelling.kind === "canonical" && spelling.text === id;
};

/** The principal id in a record; undefined if only its digest is known, as in a tombstone. */
export const principalIdIn = (body: PrincipalRecord["body"]): string | undefined => {
  const { id, kind, payload, schemaVersion, space, tenant } = body;
  const recordName = id.slice(principalPrefix.length);
  const isDigest = recordName.startsWith("~");
  if (isDigest && kind !== "principal") return undefined;
  const name = isDigest ? (parsePrincipal(payload, schemaVersion).id ?? recordName) : recordName;
  return space === "system" ? name : `${tenant}/${name}`;
};

type NamedPrincipal = PrincipalPayload & { readonly id: string };

/** As recorded, without suspensions. */
type Found = Omit<EnrolledPrincipal, "principal" | "id"> & {
  readonly payload: PrincipalPayload;
  readonly hash: Hash;
};

/** Levels that a tenant may assign without a quorum; its own records with a higher level are ignored. */
const freeLevels = ["guest", "observer"];

const notOne = (position: bigint): never =>
  fail({ kind: "recordCorrupt", position, step: "schema", rule: "the record is not a principal" });

/**
 * The principal of this name in a record; undefined if the record is a tombstone or another principal's.
 * @throws recordCorrupt if it is of another kind.
 */
const principalIn = (name: string, { body, position }: PrincipalRecord) => {
  if (body.kind === "tombstone") return undefined;
  if (body.kind !== "principal") return notOne(position);
  const principal = parsePrincipal(body.payload, body.schemaVersion);
  return isEnrolledAs(name, body.id, principal) ? principal : undefined;
};

/** A principal enrolled by its tenant. @param name without the tenant. */
const freeIn = (name: string, record: PrincipalRecord): Found | undefined => {
  const payload = principalIn(name, record);
  if (payload === undefined || payload.tenant !== record.body.tenant) return undefined;
  if (!freeLevels.includes(payload.loa)) return undefined;
  return { payload, enrolment: "tenant", position: record.position, hash: record.hash };
};

/** An erased tenant has no principals. */
const unlessErased = (error: unknown): undefined => {
  if (error instanceof SigilFault && error.error.kind === "erased") return undefined;
  throw error;
};

/** Reads principals: current ones, or as of a ledger size. */
class PrincipalReader {
  readonly #ledger: PrincipalLedger["reader"];
  #firstRoot: { readonly root: NamedPrincipal; readonly hash: Hash } | undefined;

  constructor(ledger: PrincipalLedger["reader"]) {
    this.#ledger = ledger;
  }

  async read(id: string, below?: bigint): Promise<Found | undefined> {
    const record = await this.system(id, below);
    // The system space takes precedence, also with a tombstone.
    if (record !== undefined) {
      const payload = principalIn(id, record);
      const { position, hash } = record;
      return payload && { payload, enrolment: "governed", position, hash };
    }
    // The genesis record never changes, so it is read once.
    this.#firstRoot ??= await this.#readFirstRoot();
    const { root, hash } = this.#firstRoot;
    if (root.id === id) return { payload: root, enrolment: "governed", position: 0n, hash };
    return this.#readFree(id, below);
  }

  system(id: string, below?: bigint): Promise<PrincipalRecord | undefined> {
    return this.#record(systemTenant, "system", principalRecordId(id), below);
  }

  /** An enrolled witness, which calls with its attestation key. */
  async readWitness(id: string): Promise<Found | undefined> {
    const quorum = await this.#ledger.readId(systemTenant, "system", quorumId);
    if (quorum === undefined || !parseQuorum(quorum.body.payload).witnesses.includes(id)) return undefined;
    const record = await this.#ledger.readId(systemTenant, "system", witnessPrefix + id);
    if (record === undefined) return undefined;
    const { publicKey } = parseWitness(record.body.payload);
    const payload = { publicKeys: [publicKey], loa: "observer", tenant: systemTenant, active: true } as const;
    return { payload, enrolment: "witness", position: record.position, hash: record.hash };
  }

  async #readFirstRoot(): Promise<{ readonly root: NamedPrincipal; readonly hash: Hash }> {
    const { body, hash } = await this.#ledger.readAt(0n);
    return { root: parseGenesis(body.payload).root, hash };
  }

  /** A principal that a tenant enrolled in its own user space: `<tenant>/<name>`. */
  async #readFree(id: string, below?: bigint): Promise<Found | undefined> {
    const slash = id.indexOf("/");
    const [tenant, name] = [id.slice(0, Math.max(0, slash)), id.slice(slash + 1)];
    if (tenantFault(tenant) !== null) return undefined;
    const recordId = principalRecordId(name);
    const record = await this.#record(tenant, "user", recordId, below).catch(unlessErased);
    return record && freeIn(name, record);
  }

  async #record(
    tenant: string,
    space: "system" | "user",
    id: string,
    below?: bigint,
  ): Promise<PrincipalRecord | undefined> {
    if (below === undefined) return this.#ledger.readId(tenant, space, id);
    const head = await this.#ledger.versionBelow(tenant, space, id, below);
    if (head === undefined) return undefined;
    const record = await this.#ledger.readAt(head.position, tenant);
    const { body, position } = record;
    if (body.id === id && body.tenant === tenant && body.space === space) return record;
    const rule = "the record is not the one its index names";
    return fail({ kind: "recordCorrupt", position, step: "index", rule });
  }
}

const principalStaleBy = ({ body }: { readonly body: RecordBody }): Stale => {
  const { id, kind, space } = body;
  // An erasure removes the principals that the tenant enrolled, and a key's suspension may affect any holder.
  if (space === "system" && (kind === "erasure" || id.startsWith(suspensionPrefix))) return "all";
  if (space === "system" && id.startsWith(feedGrantPrefix)) return "all";
  if (!id.startsWith(principalPrefix)) return undefined;
  const name = principalIdIn(body);
  return name === undefined ? "all" : { name };
};

const witnessStaleBy = ({ body: { id, space } }: { readonly body: RecordBody }): Stale =>
  space === "system" && (id === quorumId || id.startsWith(witnessPrefix)) ? "all" : undefined;

export const createPrincipals = (
  ledger: PrincipalLedger,
  entriesMax: number = principalCacheEntriesMax,
): Principals => {
  const reader = new PrincipalReader(ledger.reader);
  const create = () => new BoundedMap<string, StandingPrincipal>(entriesMax);
  const held = new RecordCache(ledger.feed, create, principalStaleBy);
  const heldWitnesses = new RecordCache(ledger.feed, create, witnessStaleBy);

  const readBelow = async (id: string, size: bigint): Promise<PrincipalPayload | undefined> =>
    (await reader.read(id, size))?.payload;

  const standing = (id: string, payload: PrincipalPayload): Promise<StandingPrincipal> =>
    standingOf({ ledger: ledger.reader, readBelow }, { id, recordId: principalRecordId(id) }, payload);

  const enrolled = async (id: string, found: Found | undefined): Promise<EnrolledPrincipal | undefined> => {
    if (found === undefined) return undefined;
    const { payload, enrolment, position, hash: record } = found;
    // Witnesses are governed by the registry, not by suspensions.
    if (enrolment === "witness") return { id, principal: { ...payload, record }, enrolment, position };
    const stands = { ...(await standing(id, payload)), record };
    const principal = enrolment === "governed" ? await withFeed(ledger.reader, id, stands) : stands;
    return { id, principal, enrolment, position };
  };

  const read = async (id: string): Promise<EnrolledPrincipal | undefined> => {
    if (!isPrincipalId(id, ledger.reader.origin)) return undefined;
    const isWitness = id.startsWith(witnessPrefix);
    return enrolled(
      id,
      await (isWitness ? reader.readWitness(id.slice(witnessPrefix.length)) : reader.read(id)),
    );
  };

  const find = (id: string): Promise<StandingPrincipal | undefined> =>
    (id.startsWith(witnessPrefix) ? heldWitnesses : held).find(id, async () => (await read(id))?.principal);

  const inRecord = async (record: PrincipalRecord): Promise<EnrolledPrincipal | undefined> => {
    const { body, position, hash } = record;
    const id = principalIdIn(body);
    if (id === undefined || !isPrincipalId(id, ledger.reader.origin) || id.startsWith(witnessPrefix))
      return undefined;
    if (body.space === "system") {
      const payload = principalIn(id, record);
      return enrolled(id, payload && { payload, enrolment: "governed", position, hash });
    }
    const name = id.slice(body.tenant.length + 1);
    return (await reader.system(id)) === undefined ? enrolled(id, freeIn(name, record)) : undefined;
  };

  const close = (): void => {
    held.close();
    heldWitnesses.close();
  };
  return { find, read, inRecord, standing, close };
};
