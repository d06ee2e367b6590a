/**
 * What people read of a decision: the columns of the table, and the view in each line. Pure. It follows from the
 * record alone, so a verifier makes it again and compares bytes. Source: docs/spec/pack.md §3.
 */
import { toHex, type Hash } from "../bytes.ts";
import type { FrozenChainPayload } from "../record/kinds/frozen-chain.ts";
import type { RecordBody } from "../record/record.ts";
import { formatTime } from "./time.ts";

/** A decision of a pack. */
export type PackDecision = {
  readonly position: bigint;
  readonly hash: Hash;
  readonly body: RecordBody;
  readonly chain: FrozenChainPayload;
};

/** In order; the score is left out, since engines differ in its last bits, and it follows from `z`. */
const columnNames = [
  "time",
  "audit_id",
  "tenant",
  "caller",
  "caller_seq",
  "subject",
  "level",
  "action",
  "target",
  "session",
  "verdict",
  "reason",
  "z",
  "threshold",
  "model",
  "model_hash",
  "record_hash",
] as const;

export type Columns = Readonly<Record<(typeof columnNames)[number], string | number | null>>;

export const columnsOf = ({ body, hash, chain }: Omit<PackDecision, "position">): Columns => ({
  time: formatTime(body.ts),
  audit_id: body.id,
  tenant: body.tenant,
  caller: chain.request.caller,
  caller_seq: chain.callerSeq ?? null,
  subject: chain.request.subject,
  level: chain.request.loa,
  action: chain.request.action,
  target: chain.request.target,
  session: chain.request.session,
  verdict: chain.verdict,
  reason: chain.reason,
  z: chain.z,
  threshold: chain.threshold,
  model: chain.model.id,
  model_hash: chain.model.hash === null ? null : toHex(chain.model.hash),
  record_hash: toHex(hash),
});

/**
 * What spreadsheets take for a formula, also in the full-width forms that some of them turn into it. Such a cell
 * begins with an apostrophe instead.
 */
const formula = /^[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]/;

const cellOf = (value: string | number | null): string => {
  if (value === null) return "";
  if (typeof value === "number") return String(value);
  const safe = formula.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
};

/** A row of CSV (RFC 4180), with its end. */
export const formatRow = (cells: readonly (string | number | null)[]): string =>
  `${cells.map(cellOf).join(",")}\r\n`;

export const tableHead = formatRow(["position", ...columnNames]);

export const formatTableRow = (position: bigint, columns: Columns): string =>
  formatRow([String(position), ...columnNames.map((name) => columns[name])]);
