/**
 * JSON Schemas of user records by kind: the newest `schema/<kind>` record of the system space, read once and cached
 * until it changes. At most `jsonSchemaCacheEntriesMax` entries; kinds without a schema are not cached, or callers
 * could evict everything by inventing kinds. Compilation and validation run in threads: one for schemas in force,
 * another for proposed ones, so that proposals do not delay writes.
 */
import { sha256 } from "@sigil/core/hash";
import { BoundedMap } from "../../identity/bounded-map.ts";
import { RecordCache } from "../../ledger/cache.ts";
import type { ProjectionLedger } from "../../ledger/feed.ts";
import { toHex } from "@sigil/core/bytes";
import { cborEncode, type CborValue } from "@sigil/core/cbor";
import { fail, invalidField, SigilFault } from "../../errors.ts";
import { parseSchema, recordIdFault, systemTenant, type RecordBody, schemaPrefix } from "@sigil/core/record";
import { jsonSchemaCacheEntriesMax, jsonSchemaCpuMsMax } from "../../limits.ts";
import type { SchemaRequest } from "./schema-messages.ts";
import { SchemaThread, type SchemaOutcome } from "./schema-thread.ts";

/** Tenant for fair queueing, and the caller's signal. */
export type Asking = { readonly tenant: string; readonly signal: AbortSignal };

/** The schema of a kind. */
export type KindSchema = {
  /**
   * Validates a payload. @throws invalidField with `field` and a rule that begins with the JSON pointer to the fault;
   * recordCorrupt if the record holds no schema; queueFull, notServing, and the reason of the signal.
   */
  readonly check: (payload: CborValue, field: string, asking: Asking) => Promise<void>;
};

export type Schemas = {
  /**
   * The schema of a kind; undefined if it has none or a tombstone.
   * @throws recordCorrupt if the record is damaged, which blocks writes.
   */
  readonly find: (kind: string) => Promise<KindSchema | undefined>;
  /** @throws malformedRecord with field "payload.schema"; queueFull, notServing, and the reason of the signal. */
  readonly compile: (schema: CborValue, asking: Asking) => Promise<void>;
  /** Increases with every change of a schema, as soon as its commit is being written. */
  readonly changes: () => number;
  /** Announces a schema change: earlier checks must be repeated. */
  readonly announce: () => void;
  /** Unsubscribes from the ledger and ends the threads. */
  readonly close: () => void;
};

/** The ledger reads needed here. */
export type SchemaLedger = ProjectionLedger<"readId">;

const bytesOf = (schema: CborValue) => {
  const bytes = cborEncode(schema);
  return { schema: bytes, key: toHex(sha256(bytes)) };
};

const notAnswered = (rule: string): never =>
  fail({ kind: "notServing", rule: `the schema could not be looked at: ${rule}` });

/** Compiles the schema of a record. A quorum approved it, so one that does not compile is reported as damage. */
const schemaIn = (
  body: RecordBody,
  kind: string,
  position: bigint,
  ask: (request: SchemaRequest, asking: Asking) => Promise<SchemaOutcome>,
): KindSchema => {
  const corrupt = (rule: string): never => fail({ kind: "recordCorrupt", position, step: "schema", rule });
  if (body.kind !== "schema") return corrupt("the record is not a schema");
  const parse = () => {
    try {
      return parseSchema(body.payload);
    } catch (cause) {
      if (cause instanceof SigilFault && cause.error.kind === "malformedRecord")
        return corrupt(cause.message);
      throw cause;
    }
  };
  const payload = parse();
  if (payload.kind !== kind) return corrupt("the record names another kind");
  const schema = bytesOf(payload.schema);
  return {
    check: async (value, field, asking) => {
      const request = { ...schema, onSlowPattern: "allow", payload: cborEncode(value) } as const;
      const outcome = await ask(request, asking);
      switch (outcome.kind) {
        case "sound":
          return;
        case "refused":
          return invalidField(field, outcome.rule);
        case "badSchema":
          return corrupt(outcome.rule);
        case "tookTooLong":
          return invalidField(
            field,
            `takes more than ${jsonSchemaCpuMsMax} ms of processor time to hold to the schema of its kind`,
          );
        case "failed":
          return notAnswered(outcome.rule);
      }
    },
  };
};

export const createSchemas = (
  ledger: SchemaLedger,
  entriesMax: number = jsonSchemaCacheEntriesMax,
): Schemas => {
  const held = new RecordCache(
    ledger.feed,
    () => new BoundedMap<string, KindSchema>(entriesMax),
    ({ body: { space, id } }) =>
      space === "system" && id.startsWith(schemaPrefix) ? { name: id.slice(schemaPrefix.length) } : undefined,
  );
  const governing = new SchemaThread("schemas");
  const proposed = new SchemaThread("proposed schemas");

  const read = async (kind: string): Promise<KindSchema | undefined> => {
    const id = schemaPrefix + kind;
    // A kind may be any text, but one that cannot be part of an id cannot have a schema.
    if (kind === "" || recordIdFault(id) !== null) return undefined;
    const record = await ledger.reader.readId(systemTenant, "system", id);
    if (record === undefined || record.body.kind === "tombstone") return undefined;
    return schemaIn(record.body, kind, record.position, (request, { tenant, signal }) =>
      governing.ask(tenant, request, signal),
    );
  };

  const compile = async (schema: CborValue, { tenant, signal }: Asking): Promise<void> => {
    const request = { ...bytesOf(schema), onSlowPattern: "refuse", payload: null } as const;
    const outcome = await proposed.ask(tenant, request, signal);
    const malformed = (field: string, rule: string): never => fail({ kind: "malformedRecord", field, rule });
    switch (outcome.kind) {
      case "sound":
      case "refused":
        return;
      case "badSchema":
        return malformed(outcome.field, outcome.rule);
      case "tookTooLong":
        return malformed(
          "payload.schema",
          `takes more than ${jsonSchemaCpuMsMax} ms of processor time to compile`,
        );
      case "failed":
        return notAnswered(outcome.rule);
    }
  };

  const close = (): void => {
    held.close();
    governing[Symbol.dispose]();
    proposed[Symbol.dispose]();
  };
  return {
    find: (kind) => held.find(kind, () => read(kind)),
    compile,
    changes: () => held.changes,
    announce: () => held.announce(),
    close,
  };
};
