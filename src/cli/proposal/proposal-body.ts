/**
 * What a proposal would commit, from its bytes alone: the body is decoded here, hashed here and compared here with the
 * version it replaces. A server that shows one thing and has another signed is found out.
 */
import type { GetProposalResponse, VersionedRecord } from "@sigil/client";
import { equalBytes, parsePublicKey, toHex, type Hash, type PublicKey } from "@sigil/core/bytes";
import { SigilFault } from "../../errors.ts";
import type { CborValue } from "@sigil/core/cbor";
import { parseWitness, decodeBody, hashRecord, subjectOf, type RecordBody } from "@sigil/core/record";
import { formatPublicKey } from "../../crypto/signing/keyfile.ts";
import { lookAlikesAmong } from "../../canon/proposals/look-alikes.ts";
import { diffPayloads, type DiffLine, type Showing } from "../terminal/diff.ts";
import { provenBody } from "../call/proven-record.ts";
import { shownText } from "../terminal/shown-text.ts";
import { formatPairs, printable, type Terminal } from "../terminal/terminal.ts";

/** "unknown": it replaces a version that is not at hand. */
type Before = RecordBody | "none" | "unknown";

export type Change = { readonly body: RecordBody; readonly hash: Hash; readonly before: Before };

/** The first change is the one that witnesses sign; it links to the others by their hashes. */
export type Examined =
  | { readonly kind: "sound"; readonly changes: readonly [Change, ...Change[]] }
  | { readonly kind: "refused"; readonly rule: string };

/** Finds a record by its hash; undefined where nobody can be asked. */
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

const examine = async ({ proposal, current }: GetProposalResponse, find: FindRecord): Promise<Examined> => {
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
  return { kind: "sound", changes: [first, ...others] };
};

/** Bytes that are no record are refused; whatever else is thrown is no finding. */
export const examineProposal = async (response: GetProposalResponse, find: FindRecord): Promise<Examined> => {
  try {
    return await examine(response, find);
  } catch (error) {
    if (!(error instanceof SigilFault)) throw error;
    return refused(`its body cannot be read: ${error.message}`);
  }
};

/** The key that the change would enrol, by the bytes themselves. */
export const enrolledBy = (changes: readonly Change[]): PublicKey | undefined => {
  const enrolling = changes.slice(1).find(({ body }) => body.kind === "witness");
  return enrolling === undefined ? undefined : parseWitness(enrolling.body.payload).publicKey;
};

const keyPath = /(?:^|\.)public_key(?:|s\[\d+\])$/;

/** Keys as people hand them around, and a module's digest as `sha256sum` prints that of the witness's own build. */
const showBytes: Showing["bytes"] = (path, bytes) => {
  if (bytes.length !== 32) return null;
  if (keyPath.test(path)) return formatPublicKey(parsePublicKey(bytes));
  return path === "digest" ? `SHA-256 ${toHex(bytes)}` : null;
};

/** Every text in a payload, keys too. */
const textsIn = (value: CborValue): readonly string[] => {
  if (typeof value === "string") return [value];
  if (value instanceof Uint8Array || typeof value !== "object" || value === null) return [];
  if (Array.isArray(value)) return value.flatMap(textsIn);
  return Object.entries(value).flatMap(([key, item]) => [key, ...textsIn(item)]);
};

/** Text as it is signed; behind it what else it may be taken for. */
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
 * Every change of the proposal, field by field.
 * @param knownNames what texts of the change are compared with, beside each other and what they replace.
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
