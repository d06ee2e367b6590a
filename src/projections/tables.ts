/**
 * The tables of a projection as data: what columns there are, in which order, and what a database needs to know of
 * each. From here come the schema, the bytes that fill it and the comparison with the ledger. Pure. Source:
 * docs/spec/projections.md §2.
 */
import { FEATURES } from "@sigil/core/model";

export type ColumnType =
  | "bigint"
  | "boolean"
  | "bytea"
  | "double precision"
  | "integer"
  | "jsonb"
  | "text"
  | "timestamptz";

/** By type: bigint or number, boolean, bytes, number, number, JSON text, text, milliseconds since 1970. */
export type Cell = null | bigint | number | boolean | string | Uint8Array;

export type Row = Readonly<Record<string, Cell>>;

export type Table = {
  readonly columns: Readonly<Record<string, ColumnType>>;
  /** Which columns name a row. */
  readonly key: readonly string[];
  /** What may be null. */
  readonly nullable: readonly string[];
  /** Beside the key, by the columns of each: for the questions of docs/guides/queries-postgres.md. */
  readonly indexes: readonly string[];
};

const perFeature = (prefix: string): Readonly<Record<string, ColumnType>> =>
  Object.fromEntries(FEATURES.map((feature) => [`${prefix}_${feature}`, "double precision" as const]));

/** What every record of a kind of its own has in common: where it stands, whose it is and when it was made. */
const named = { position: "bigint", tenant: "text", id: "text", at: "timestamptz" } as const;

const recordVersions: Table = {
  columns: {
    position: "bigint",
    leaf: "bytea",
    erased: "boolean",
    tenant: "text",
    space: "text",
    id: "text",
    kind: "text",
    schema_version: "integer",
    at: "timestamptz",
    hash: "bytea",
    prev: "bytea",
    payload: "jsonb",
    nul_replaced: "boolean",
    witnesses: "integer",
    envelope: "bytea",
  },
  key: ["position"],
  nullable: [
    "tenant",
    "space",
    "id",
    "kind",
    "schema_version",
    "at",
    "hash",
    "prev",
    "payload",
    "nul_replaced",
    "witnesses",
    "envelope",
  ],
  indexes: ["hash", "tenant, space, id, position", "kind, position", "at"],
};

const links: Table = {
  columns: { position: "bigint", index: "integer", tenant: "text", label: "text", target: "bytea" },
  key: ["position", "index"],
  nullable: [],
  indexes: ["target", "tenant"],
};

const features = perFeature("feature");
const contributions = perFeature("contribution");

const decisions: Table = {
  columns: {
    ...named,
    action: "text",
    target: "text",
    subject: "text",
    caller: "text",
    level: "text",
    min_level: "text",
    session: "text",
    input_digest: "bytea",
    input_bytes: "bigint",
    input_kept: "boolean",
    metadata: "jsonb",
    model_id: "text",
    model_hash: "bytea",
    ...features,
    other_features: "jsonb",
    ...contributions,
    other_contributions: "jsonb",
    z: "double precision",
    score: "double precision",
    threshold: "double precision",
    review_low: "double precision",
    review_high: "double precision",
    verdict: "text",
    reason: "text",
    steps: "jsonb",
    duration_us: "bigint",
    caller_seq: "bigint",
  },
  key: ["position"],
  nullable: [
    "min_level",
    "input_digest",
    "input_bytes",
    "input_kept",
    "caller_seq",
    "model_hash",
    ...Object.keys(features),
    "other_features",
    ...Object.keys(contributions),
    "other_contributions",
    "z",
    "score",
    "threshold",
    "review_low",
    "review_high",
  ],
  indexes: ["tenant, id", "at", "subject, at", "action, at", "verdict, at", "session", "model_hash"],
};

const proposals: Table = {
  columns: {
    ...named,
    hash: "bytea",
    for_kind: "text",
    for_tenant: "text",
    for_space: "text",
    for_id: "text",
    bodies: "integer",
    base: "bytea",
    epoch: "bigint",
    expires_at: "timestamptz",
    proposer: "text",
    reason: "text",
    commit: "text",
  },
  key: ["position"],
  nullable: ["base"],
  indexes: ["id", "for_tenant, for_space, for_id", "at"],
};

const proposalEndings: Table = {
  columns: { ...named, proposal: "text", outcome: "text", reason: "text" },
  key: ["position"],
  nullable: [],
  indexes: ["proposal"],
};

const attestations: Table = {
  columns: { ...named, proposal: "text", witness: "text", role: "text", statement: "bytea" },
  key: ["position"],
  nullable: [],
  indexes: ["proposal", "witness, at"],
};

const moduleRuns: Table = {
  columns: {
    ...named,
    module: "text",
    version: "bigint",
    digest: "bytea",
    other_digest: "bytea",
    caller: "text",
    input_digest: "bytea",
    input_bytes: "bigint",
    output_digest: "bytea",
    limit_wall_ms: "bigint",
    limit_memory_pages: "bigint",
    limit_output_bytes: "bigint",
    limit_log_bytes: "bigint",
    limit_input_bytes: "bigint",
    limit_host_calls: "bigint",
    wall_us: "bigint",
    cpu_us: "bigint",
    memory_bytes_peak: "bigint",
    read_bytes: "bigint",
    output_bytes: "bigint",
    log_bytes: "bigint",
    host_calls: "bigint",
    ended: "text",
    exit_code: "bigint",
    reason: "text",
  },
  key: ["position"],
  nullable: [
    "other_digest",
    "input_digest",
    "input_bytes",
    "output_digest",
    "wall_us",
    "cpu_us",
    "memory_bytes_peak",
    "read_bytes",
    "output_bytes",
    "log_bytes",
    "host_calls",
    "exit_code",
  ],
  indexes: ["tenant, id", "module, at"],
};

/** Filled by appending: a row follows from the one record at its position. In the order in which they are filled. */
export const appendedTables = {
  record_versions: recordVersions,
  links,
  decisions,
  proposals,
  proposal_endings: proposalEndings,
  attestations,
  module_runs: moduleRuns,
} as const satisfies Readonly<Record<string, Table>>;

export type AppendedTable = keyof typeof appendedTables;
export const appendedNames = Object.keys(appendedTables) as readonly AppendedTable[];

/** The newest version of every id, decisions left out: each has the one. Written where `position` is older. */
export const heads: Table = {
  columns: {
    tenant: "text",
    space: "text",
    id: "text",
    kind: "text",
    position: "bigint",
    hash: "bytea",
    versions: "bigint",
    is_ended: "boolean",
    first_at: "timestamptz",
    last_at: "timestamptz",
  },
  key: ["tenant", "space", "id"],
  nullable: [],
  indexes: ["kind, last_at", "position"],
};
