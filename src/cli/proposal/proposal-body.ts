/**
 * What a proposal would commit, from its bytes alone: decodes and hashes the body, and compares it with the version it
 * replaces. Detects a server that displays one change but has another one signed.
 */
import type { GetProposalResponse, VersionedRecord } from "@sigil/client";
import { equalBytes, parsePublicKey, toHex, type Hash, type PublicKey } from "@sigil/core/bytes";
import { SigilFault } from "../../errors.ts";
import type { CborValue } from "@sigil/core/cbor";
import {
  decodeBody,
  flipReportOf,
  hashRecord,
  parseWitness,
  readFlipReport,
  subjectOf,
  type FlipReportPayload,
  type RecordBody,
} from "@sigil/core/record";
import { formatPublicKey } from "../../crypto/signing/keyfile.ts";
import { lookAlikesAmong } from "../../canon/proposals/look-alikes.ts";
import { diffPayloads, type DiffLine, type Showing } from "../terminal/diff.ts";
import { provenBody } from "../call/proven-record.ts";
import { shownText } from "../terminal/shown-text.ts";
import { formatPairs, printable, type Terminal } from "../terminal/terminal.ts";

/** "unknown": the replaced version is not available. */
type Before = RecordBody | "none" | "unknown";

export type Change = { readonly body: RecordBody; readonly hash: Hash; readonly before: Before };

/** "withheld" from callers of other tenants; "none" if the change names none. */
export type ShownFlipReport = FlipReportPayload | "withheld" | "none";

/** Witnesses sign the first change, which links to the others, and to the flip report of a model, by hash. */
export type Examined =
  | {
      readonly kind: "sound";
      readonly changes: readonly [Change, ...Change[]];
      readonly flipReport: ShownFlipReport;
    }
  | { readonly kind: "refused"; readonly rule: string };

/** Finds a record by its hash; undefined if it is not available. */
export type FindRecord = (body: RecordBody, hash: Hash) => Promise<VersionedRecord | undefined>;

const refused = (rule: string): Examined => ({ kind: "refused", rule });

const beforeOf = async (
  body: RecordBody,
  current: VersionedRecord | undefined,
  find: FindRecord,
): Promise<Before> => {
  const { prev } = body;
  if (prev === null) return "none";
  return provenBody(current, prev) ?? provenBody(await find(body, prev), prev) ?? "unknown";
};

const changeOf = async (
  bytes: Uint8Array,
  current: VersionedRecord | undefined,
  find: FindRecord,
): Promise<Change> => {
  const body = decodeBody(bytes);
  return { body, hash: hashRecord(bytes), before: await beforeOf(body, current, find) };
};

const flipReportIn = (
  { proposal, flipReport: bytes }: GetProposalResponse,
  proposed: RecordBody,
): ReturnType<typeof readFlipReport> | "withheld" | "none" => {
  if (flipReportOf(proposed) === undefined) return "none";
  if (bytes.length === 0) return "withheld";
  const report = { body: decodeBody(bytes), hash: hashRecord(bytes) };
  return readFlipReport(report, proposal?.id ?? "", proposed);
};

const examine = async (response: GetProposalResponse, find: FindRecord): Promise<Examined> => {
  const { proposal, current } = response;
  if (proposal === undefined) return refused("the server answered without a proposal");
  const first = await changeOf(proposal.body, current, find);
  if (!equalBytes(first.hash, proposal.recordHash)) {
    return refused(
      `its body hashes to ${toHex(first.hash)} and not to ${toHex(proposal.recordHash)}, which it says it is`,
    );
  }
  const others: Change[] = [];
  for (const bytes of proposal.with) {
    const other = await changeOf(bytes, undefined, find);
    if (!first.body.links.some(({ target }) => equalBytes(target, other.hash))) {
      return refused(`its body does not link to ${subjectOf(other.body)}, which would be committed with it`);
    }
    others.push(other);
  }
  const stray = [first, ...others].find(({ body }) => body.space !== "system");
  if (stray !== undefined) return refused(`${subjectOf(stray.body)} is not in the system space`);
  const read = flipReportIn(response, first.body);
  if (typeof read === "string") return { kind: "sound", changes: [first, ...others], flipReport: read };
  if (read.kind === "refused") return read;
  return { kind: "sound", changes: [first, ...others], flipReport: read.report };
};

/** Malformed records are refused; other errors are rethrown. */
export const examineProposal = async (response: GetProposalResponse, find: FindRecord): Promise<Examined> => {
  try {
    return await examine(response, find);
  } catch (error) {
    if (!(error instanceof SigilFault)) throw error;
    return refused(`its body cannot be read: ${error.message}`);
  }
};

/** The key that the change would enrol, from its bytes. */
export const enrolledBy = (changes: readonly Change[]): PublicKey | undefined => {
  const enrolling = changes.slice(1).find(({ body }) => body.kind === "witness");
  return enrolling === undefined ? undefined : parseWitness(enrolling.body.payload).publicKey;
};

const keyPath = /(?:^|\.)public_key(?:|s\[\d+\])$/;

/** Shows keys in their text form, and a module's digest as printed by `sha256sum`. */
const showBytes: Showing["bytes"] = (path, bytes) => {
  if (bytes.length !== 32) return null;
  if (keyPath.test(path)) return formatPublicKey(parsePublicKey(bytes));
  return path === "digest" ? `SHA-256 ${toHex(bytes)}` : null;
};

/** Every text in a payload, including keys. */
const textsIn = (value: CborValue): readonly string[] => {
  if (typeof value === "string") return [value];
  if (value instanceof Uint8Array || typeof value !== "object" || value === null) return [];
  if (Array.isArray(value)) return value.flatMap(textsIn);
  return Object.entries(value).flatMap(([key, item]) => [key, ...textsIn(item)]);
};

/** Shows text as signed, followed by names that it may be confused with. */
const showTextAmong = (changes: readonly Change[], knownNames: readonly string[]): Showing["text"] => {
  const payloads = changes.flatMap(({ body, before }) => [
    body.payload,
    ...(typeof before === "string" ? [] : [before.payload]),
  ]);
  const lookAlikes = lookAlikesAmong([...knownNames, ...payloads.flatMap(textsIn)]);
  return (text) => {
    const others = lookAlikes(text).map(shownText);
    return shownText(text) + (others.length === 0 ? "" : ` (LOOKS LIKE ${others.join(", ")})`);
  };
};

const diffLine = ({ sign, path, value }: DiffLine, { paint }: Terminal): string =>
  paint(sign === "-" ? "red" : "green", printable(`${sign} ${path === "" ? "(payload)" : path}: ${value}`));

const replaced = ({ body, before }: Change): string => {
  if (body.prev === null) return "nothing: the record is new";
  return (
    toHex(body.prev) + (before === "unknown" ? ", which is not at hand: all of the new one is shown" : "")
  );
};

const formatChange = (change: Change, text: Showing["text"], terminal: Terminal): string => {
  const { body, hash, before } = change;
  const lines = diffPayloads(typeof before === "string" ? undefined : before.payload, body.payload, {
    bytes: showBytes,
    text,
  });
  const facts = formatPairs([
    ["record", subjectOf(body)],
    ["kind", body.kind === "tombstone" ? "tombstone: it ends the record" : body.kind],
    ["hash", toHex(hash)],
    ["replaces", replaced(change)],
    ...body.links.map(({ label, target }) => ["link", `${label} ${toHex(target)}`] as const),
  ]);
  const diff =
    lines.length === 0 ? ["The payload stays as it is."] : lines.map((line) => diffLine(line, terminal));
  return [facts, "", ...diff].join("\n");
};

/**
 * Formats every change of the proposal, field by field.
 * @param knownNames names to check texts against for confusability, besides each other and the replaced ones.
 */
export const formatChanges = (
  changes: readonly Change[],
  knownNames: readonly string[],
  terminal: Terminal,
): string => {
  const text = showTextAmong(changes, knownNames);
  return changes
    .map((change) => formatChange(change, text, terminal))
    .join("\n\nand in the same commit:\n\n");
};
