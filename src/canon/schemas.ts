/**
 * The JSON Schemas that user records of a kind are held to: the newest `schema/<kind>` record of the system space, read
 * and compiled once and remembered until that record changes. At most `jsonSchemaCacheEntriesMax` are held; kinds
 * without a schema are not remembered, or callers, who name kinds as they like, could empty it.
 */
import { BoundedMap } from "../identity/bounded-map.ts";
import type { Ledger } from "../ledger/ledger.ts";
import { fail, SigilFault } from "../record/errors.ts";
import { parseSchema } from "../record/kinds/canon.ts";
import { jsonSchemaCacheEntriesMax } from "../record/limits.ts";
import { recordIdFault, systemTenant } from "../record/names.ts";
import type { RecordBody } from "../record/record.ts";
import { compileSchema, type CompiledSchema } from "./json-schema.ts";

export { checkAgainst, compileSchema, type CompiledSchema } from "./json-schema.ts";

export type Schemas = {
  /**
   * The schema of a kind, undefined when it has none or its record was ended.
   * @throws recordCorrupt when the record is damaged or holds no schema: nothing is written past it.
   */
  readonly find: (kind: string) => Promise<CompiledSchema | undefined>;
  /** Grows with every change of a schema, from the moment its commit is being written. */
  readonly changes: () => number;
  /** A schema is about to change: what was checked against it before is checked again. */
  readonly announce: () => void;
  /** Stops listening to the ledger. */
  readonly close: () => void;
};

/** The reading side that is needed. */
export type SchemaLedger = Pick<Ledger, "readId" | "subscribe">;

const recordPrefix = "schema/";

/** The schema in a record of the ledger. A quorum approved it, so one that does not compile is damage. */
const schemaIn = (body: RecordBody, kind: string, position: bigint): CompiledSchema => {
  const corrupt = (rule: string): never => fail({ kind: "recordCorrupt", position, step: "schema", rule });
  if (body.kind !== "schema") return corrupt("the record is not a schema");
  try {
    const payload = parseSchema(body.payload);
    return payload.kind === kind ? compileSchema(payload.schema) : corrupt("the record names another kind");
  } catch (cause) {
    if (cause instanceof SigilFault && cause.error.kind === "malformedRecord") return corrupt(cause.message);
    throw cause;
  }
};

export const createSchemas = (
  ledger: SchemaLedger,
  entriesMax: number = jsonSchemaCacheEntriesMax,
): Schemas => {
  const held = new BoundedMap<string, CompiledSchema>(entriesMax);
  /** Grows with every change of a schema: a read that a change overtook must not be remembered. */
  let changes = 0;

  const unsubscribe = ledger.subscribe((records) => {
    for (const { body } of records) {
      if (body.space !== "system" || !body.id.startsWith(recordPrefix)) continue;
      changes += 1;
      held.delete(body.id.slice(recordPrefix.length));
    }
  });

  const find = async (kind: string): Promise<CompiledSchema | undefined> => {
    const known = held.get(kind);
    if (known !== undefined) return known;
    const id = recordPrefix + kind;
    // Kinds are any text; a kind that cannot be part of an id cannot have a schema.
    if (kind === "" || recordIdFault(id) !== null) return undefined;
    const changesBefore = changes;
    const record = await ledger.readId(systemTenant, "system", id);
    if (record === undefined || record.body.kind === "tombstone") return undefined;
    const schema = schemaIn(record.body, kind, record.position);
    if (changes === changesBefore) held.set(kind, schema);
    return schema;
  };

  const announce = (): void => {
    changes += 1;
  };
  return { find, changes: () => changes, announce, close: unsubscribe };
};
