/**
 * Writes to the user space: authorization, version check, schema check, then one commit. The trust decision comes
 * first, and every record links to the decision that allowed it. Source: docs/spec/canon.md §3.
 */
import { sha256 } from "@sigil/core/hash";
import { parseHash, type Hash } from "@sigil/core/bytes";
import { cborEncode, type CborValue } from "@sigil/core/cbor";
import { fail, invalidField, SigilFault } from "../../errors.ts";
import {
  formatTombstone,
  principalVersion,
  type RecordBody,
  type RecordLink,
  isAtLeast,
} from "@sigil/core/record";
import { batchWritesMax, pageEnvelopeBytesMax, writeTriesMax } from "../../limits.ts";
import { idempotencyScope, type CallContext, type Caller } from "../../identity/caller.ts";
import { checkPublicKey } from "@sigil/core/keys";
import type { Appended } from "../../ledger/append/commit.ts";
import type { AppendOnce } from "../../ledger/append/once.ts";
import type { Ledger } from "../../ledger/ledger.ts";
import type { LedgerReader } from "../../ledger/read/reading.ts";
import type { Authorise, Authorised, Question } from "../authority.ts";
import type { VersionedRecord, Write, Written } from "../domain.ts";
import { checkFreePrincipal, checkUserKind } from "../kinds.ts";
import {
  decisionLabel,
  decisionOf,
  isTombstone,
  kindOf,
  readNewest,
  versionOf,
  type Scope,
} from "./reading.ts";
import type { Schemas } from "../schemas/schemas.ts";
import { KeyedMutex } from "./keyed-mutex.ts";

export type WritingDependencies = {
  readonly ledger: Ledger;
  readonly authorise: Authorise;
  readonly schemas: Schemas;
  readonly nowMs: () => number;
};

/** The kind of a write, and the version that it follows. */
type Target = { readonly kind: string; readonly newest: VersionedRecord | undefined };

/**
 * Compared with a repeat's, for idempotency. Contains the payload's hash, since embedding the payload would exceed the
 * depth and length limits.
 */
const writeBytes = (write: Write): CborValue => [
  write.id,
  write.kind,
  write.schemaVersion,
  write.content.kind === "payload" ? sha256(cborEncode(write.content.payload)) : null,
  write.links.map(({ label, target }) => [label, target]),
  write.expectedVersion ?? null,
];

const questionOf = (write: Write): Question => ({
  action: write.content.kind === "tombstone" ? "canon.delete" : "canon.write",
  target: `canon/user/${write.id}`,
  session: "",
  input: write.content.kind === "payload" ? cborEncode(write.content.payload) : new Uint8Array(0),
});

/** The shape of decision ids; other ids are not looked up among decisions. */
const decisionIdShape = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

const isDecisionId = async (
  ledger: Pick<LedgerReader, "decisionAt">,
  tenant: string,
  id: string,
): Promise<boolean> => decisionIdShape.test(id) && (await ledger.decisionAt(tenant, id)) !== undefined;

export class Writing {
  readonly #deps: WritingDependencies;
  readonly #mutex = new KeyedMutex();

  constructor(deps: WritingDependencies) {
    this.#deps = deps;
  }

  async write(caller: Caller, writes: readonly Write[], key: string, call: CallContext, rpc: string) {
    const paths = writes.map((_, index) => (rpc === "WriteRecord" ? "" : `writes[${index}].`));
    return this.#deps.ledger.once(
      idempotencyScope(caller, rpc, key),
      () => cborEncode(writes.map(writeBytes)),
      (append) => this.#decideAndCommit(caller, writes, paths, call, append),
      (outcome) => this.#replay(outcome),
    );
  }

  async #decideAndCommit(
    caller: Caller,
    writes: readonly Write[],
    paths: readonly string[],
    call: CallContext,
    append: AppendOnce,
  ): Promise<readonly Written[]> {
    if (writes.length > batchWritesMax) invalidField("writes", `must be 1 to ${batchWritesMax}`);
    if (new Set(writes.map(({ id }) => id)).size !== writes.length)
      invalidField("writes", "must have distinct ids");
    // Limited, since the reply repeats every payload several times.
    const bytes = writes.reduce((sum, write) => sum + questionOf(write).input.length, 0);
    if (writes.length > 1 && bytes > pageEnvelopeBytesMax) {
      fail({ kind: "tooLarge", what: "the payloads of a batch", bytes, limit: pageEnvelopeBytesMax });
    }
    for (const [index, write] of writes.entries()) await this.#check(caller, write, paths[index] ?? "");
    const allowed = await this.#deps.authorise(caller, writes.map(questionOf), call);
    return this.#commit(caller, writes, paths, allowed, call, append);
  }

  /** Checks that need no trust decision. */
  async #check(caller: Caller, write: Write, path: string): Promise<void> {
    const target = await this.#target(caller.tenant, write, path);
    checkUserKind(target.kind, write.id, caller.tenant, path);
    if (target.kind === "principal" && !isAtLeast(caller.level, "mentor")) {
      fail({ kind: "levelTooLow", rpc: "writing a principal", needed: "mentor", actual: caller.level });
    }
    if (write.content.kind === "payload")
      this.#checkPayload(caller, target.kind, { id: write.id, payload: write.content.payload }, path);
    // Sequentially, since each may read a record of a megabyte.
    for (const [index, link] of write.links.entries()) {
      await this.#checkLink(caller.tenant, link, `${path}links[${index}]`);
    }
  }

  #checkPayload(
    { tenant }: Caller,
    kind: string,
    record: { readonly id: string; readonly payload: CborValue },
    path: string,
  ): void {
    if (kind !== "principal") return;
    const trustDomain = this.#deps.ledger.reader.origin;
    const { publicKeys } = checkFreePrincipal(record, { tenant, trustDomain, path });
    for (const key of publicKeys) checkPublicKey(key);
  }

  /** Runs only after the caller was authorized, since it may take long in a shared thread. */
  async #checkSchema(
    { tenant }: Caller,
    kind: string,
    payload: CborValue,
    path: string,
    { signal }: CallContext,
  ): Promise<void> {
    const schema = await this.#deps.schemas.find(kind);
    await schema?.check(payload, `${path}payload`, { tenant, signal });
  }

  /** A link to a record that the caller cannot read is refused like a dangling one. */
  async #checkLink(tenant: string, { label, target }: RecordLink, path: string): Promise<void> {
    if (label === decisionLabel) invalidField(`${path}.label`, `"${decisionLabel}" is the server's own`);
    const body = (await this.#deps.ledger.reader.readHash(target))?.body;
    if (body?.tenant === tenant || body?.space === "system") return;
    invalidField(`${path}.target`, "is the hash of no record of the tenant or of the system space");
  }

  /** @throws staleVersion, notFound, invalidField. */
  async #target(tenant: string, write: Write, path: string): Promise<Target> {
    const { reader } = this.#deps.ledger;
    const { id, content, expectedVersion } = write;
    const scope: Scope = { tenant, space: "user" };
    const newest = await readNewest(reader, scope, id);
    if (newest === undefined && (await isDecisionId(reader, tenant, id)))
      invalidField(`${path}id`, "is a decision's");
    const version = newest?.version ?? 0n;
    const exists = newest !== undefined && !newest.tombstone;
    const holds =
      expectedVersion === undefined || expectedVersion === version || (expectedVersion === 0n && !exists);
    if (!holds) fail({ kind: "staleVersion", id, version });
    if (content.kind === "tombstone" && !exists) fail({ kind: "notFound", what: "record", id });
    if (newest === undefined)
      return write.kind === "" ? invalidField(`${path}kind`, "must be given") : { kind: write.kind, newest };
    const kind = kindOf(newest.record.body);
    if (write.kind !== kind && !(content.kind === "tombstone" && write.kind === "")) {
      invalidField(`${path}kind`, `must stay ${kind}`);
    }
    return { kind, newest };
  }

  async #commit(
    caller: Caller,
    writes: readonly Write[],
    paths: readonly string[],
    allowed: readonly Authorised[],
    call: CallContext,
    append: AppendOnce,
  ): Promise<readonly Written[]> {
    const { reader } = this.#deps.ledger;
    // Under the mutex of the ids, so that a write without an expected version never conflicts.
    const names = writes.map(({ id }) => `${caller.tenant}\0${id}`);
    const appended = await this.#mutex.runExclusive(names, () =>
      this.#append(caller, writes, paths, allowed, call, append),
    );
    return Promise.all(
      appended.map(async ({ position, version }, index): Promise<Written> => {
        const record = await reader.readAt(position);
        const { auditId } = allowed[index] as Authorised;
        return { record, version, tombstone: isTombstone(record), auditId, replayed: false };
      }),
    );
  }

  async #append(
    caller: Caller,
    writes: readonly Write[],
    paths: readonly string[],
    allowed: readonly Authorised[],
    call: CallContext,
    append: AppendOnce,
    tries = 1,
  ): Promise<readonly Appended[]> {
    const { nowMs, schemas } = this.#deps;
    const ts = nowMs();
    const bodies: RecordBody[] = [];
    const seen = schemas.changes();
    for (const [index, write] of writes.entries()) {
      const path = paths[index] ?? "";
      const target = await this.#target(caller.tenant, write, path);
      if (write.content.kind === "payload") {
        this.#checkPayload(caller, target.kind, { id: write.id, payload: write.content.payload }, path);
        await this.#checkSchema(caller, target.kind, write.content.payload, path, call);
      }
      bodies.push(bodyOf(write, target, caller.tenant, ts, (allowed[index] as Authorised).hash));
    }
    const outcome = (appended: readonly Appended[]): CborValue => {
      // Runs when positions are assigned: if a schema was sequenced before this write, check again.
      if (schemas.changes() !== seen) fail({ kind: "staleVersion", id: schemaRace, version: 0n });
      return appended.map(({ position }) => position);
    };
    try {
      return await append(bodies, { outcome, signal: call.signal });
    } catch (error) {
      if (!isSchemaRace(error) || tries >= writeTriesMax) throw error;
      return this.#append(caller, writes, paths, allowed, call, append, tries + 1);
    }
  }

  /** Rebuilds the first answer from its records, verified like any read. */
  async #replay(outcome: CborValue): Promise<readonly Written[]> {
    const { reader } = this.#deps.ledger;
    return Promise.all(
      (outcome as readonly (number | bigint)[]).map(async (position): Promise<Written> => {
        const record = await reader.readAt(BigInt(position));
        const auditId = await decisionOf(reader, record.body);
        return { ...(await versionOf(reader, record)), auditId, replayed: true };
      }),
    );
  }
}

/** Marks the error of a write that a schema change overtook; no id is empty. */
const schemaRace = "";

const isSchemaRace = (error: unknown): boolean =>
  error instanceof SigilFault && error.error.kind === "staleVersion" && error.error.id === schemaRace;

/** A principal's schema version follows from its content; for other kinds the caller states it. */
const payloadVersion = ({ schemaVersion, content }: Write, kind: string): number =>
  kind === "principal" && content.kind === "payload"
    ? Math.max(schemaVersion, principalVersion(content.payload))
    : schemaVersion;

const bodyOf = (write: Write, target: Target, tenant: string, ts: number, decision: Hash): RecordBody => {
  const { id, content } = write;
  const ends = content.kind === "tombstone";
  return {
    kind: ends ? "tombstone" : target.kind,
    schemaVersion: ends ? 1 : payloadVersion(write, target.kind),
    id,
    tenant,
    ts,
    space: "user",
    payload: ends ? formatTombstone({ kind: target.kind }) : content.payload,
    links: [...write.links, { label: decisionLabel, target: parseHash(decision) }],
    prev: target.newest?.record.hash ?? null,
  };
};
