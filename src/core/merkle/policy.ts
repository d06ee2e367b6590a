/**
 * Trust policies, C2SP tlog-policy: which logs are known, and whose cosignatures a checkpoint needs. Pure. Source:
 * docs/spec/ledger.md §4. At most 256 lines that define something.
 */
import { toHex, utf8Decode } from "../bytes.ts";
import { Fault, fail } from "../errors.ts";
import { noteBytesMax, policyLinesMax } from "../limits.ts";
import { verifyCheckpoint, type Checkpoint, type Verify } from "./checkpoint.ts";
import { verifyCosigners, type Cosigned } from "./cosignature.ts";
import { noteKeyId, parseNote, signaturesBy, type Note } from "./note.ts";
import { parseVerifierKey, type VerifierKey } from "./vkey.ts";

export type PolicyLog = VerifierKey & { readonly url?: string };

/** `label` is the policy's own name for it; the key's name stands in signature lines. */
export type PolicyWitness = VerifierKey & { readonly label: string; readonly url?: string };

/** Members are labels of witnesses and groups, of which so many must have cosigned. */
type Group = { readonly threshold: number; readonly members: readonly string[] };

export interface Policy {
  readonly logs: readonly PolicyLog[];
  readonly witnesses: readonly PolicyWitness[];
  readonly groups: ReadonlyMap<string, Group>;
  /** Label of a witness or a group; undefined if no cosignature is needed. */
  readonly quorum: string | undefined;
}

const refuse = (line: number, rule: string): never =>
  fail({ kind: "malformedCheckpoint", rule: `policy line ${line}: ${rule}` });

/** Octets as characters: names are opaque, and compared as they are. */
const octets = (bytes: Uint8Array): string => {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
};

const textOf = (word: string, line: number): string => {
  try {
    return utf8Decode(Uint8Array.from(word, (character) => character.charCodeAt(0)));
  } catch {
    return refuse(line, "a key's name must be UTF-8");
  }
};

class Reading {
  readonly logs: PolicyLog[] = [];
  readonly witnesses: PolicyWitness[] = [];
  readonly groups = new Map<string, Group>();
  /** Labels that were defined and are in no group yet. */
  readonly #free = new Set<string>();
  readonly #labels = new Set<string>();
  readonly #keys = new Set<string>();
  quorum: string | null | undefined;

  take(line: number, [word = "", ...rest]: readonly string[]): void {
    if (word === "log") this.#takeLog(line, rest);
    else if (word === "witness") this.#takeWitness(line, rest);
    else if (word === "group") this.#takeGroup(line, rest);
    else if (word === "quorum") this.#takeQuorum(line, rest);
    else refuse(line, "must begin with log, witness, group or quorum");
  }

  #takeLog(line: number, [key = "", url, ...more]: readonly string[]): void {
    if (key === "" || more.length > 0) refuse(line, "must be: log VKEY [URL]");
    this.logs.push({ ...this.#key(line, key, "log"), ...(url === undefined ? {} : { url }) });
  }

  #takeWitness(line: number, [label = "", key = "", url, ...more]: readonly string[]): void {
    if (key === "" || more.length > 0) refuse(line, "must be: witness NAME VKEY [URL]");
    this.#define(line, label);
    this.witnesses.push({
      ...this.#key(line, key, "cosigner"),
      label,
      ...(url === undefined ? {} : { url }),
    });
  }

  #takeGroup(line: number, [label = "", count = "", ...members]: readonly string[]): void {
    if (members.length === 0) refuse(line, "must be: group NAME all|any|K NAME…");
    const threshold = count === "all" ? members.length : count === "any" ? 1 : Number(count);
    const isCount = count === "all" || count === "any" || /^[1-9]\d{0,3}$/.test(count);
    if (!isCount || threshold > members.length) {
      refuse(line, `of ${members.length} must be all, any or a number from 1 to ${members.length}`);
    }
    for (const member of members) {
      if (!this.#labels.has(member)) refuse(line, "a member must be defined on a line before");
      if (!this.#free.delete(member)) refuse(line, "a witness or group is a member once at most");
    }
    this.#define(line, label);
    this.groups.set(label, { threshold, members });
  }

  #takeQuorum(line: number, [label = "", ...more]: readonly string[]): void {
    if (label === "" || more.length > 0) refuse(line, "must be: quorum NAME");
    if (this.quorum !== undefined) refuse(line, "there is one quorum line");
    if (label !== "none" && !this.#labels.has(label)) refuse(line, "must be defined on a line before");
    this.quorum = label === "none" ? null : label;
  }

  #define(line: number, label: string): void {
    if (label === "none") refuse(line, "none is a name of its own");
    if (this.#labels.has(label)) refuse(line, "a name is defined once");
    this.#labels.add(label);
    this.#free.add(label);
  }

  #key(line: number, word: string, use: VerifierKey["use"]): VerifierKey {
    const key = parseAt(line, textOf(word, line));
    if (key.use !== use) refuse(line, `the key must be one of a ${use}`);
    const name = `${use} ${toHex(key.publicKey)}`;
    if (this.#keys.has(name)) refuse(line, `a ${use}'s key stands once`);
    this.#keys.add(name);
    return key;
  }
}

const parseAt = (line: number, text: string): VerifierKey => {
  try {
    return parseVerifierKey(text);
  } catch (error) {
    if (!(error instanceof Fault) || error.error.kind !== "malformedCheckpoint") throw error;
    return refuse(line, error.error.rule);
  }
};

/** @throws malformedCheckpoint naming the line. */
export const parsePolicy = (bytes: Uint8Array): Policy => {
  if (bytes.length > noteBytesMax) refuse(1, `a policy has at most ${noteBytesMax} bytes`);
  const reading = new Reading();
  const lines = octets(bytes).split("\n");
  if (lines.pop() !== "") refuse(lines.length + 1, "must end in a newline");
  let taken = 0;
  for (const [index, line] of lines.entries()) {
    // Octets of control characters, other than the tab.
    if (/[^\t\x20-\x7e\x80-\xff]/.test(line)) refuse(index + 1, "must hold no control character");
    const words = line.split(/[ \t]+/).filter((word) => word !== "");
    if (words.length === 0 || words[0]?.startsWith("#") === true) continue;
    taken += 1;
    if (taken > policyLinesMax) refuse(index + 1, `a policy defines at most ${policyLinesMax} things`);
    reading.take(index + 1, words);
  }
  const { logs, witnesses, groups, quorum } = reading;
  if (quorum === undefined) return refuse(lines.length, "there is no quorum line");
  return { logs, witnesses, groups, quorum: quorum ?? undefined };
};

/** The fewest witnesses that would make a quorum together with those with these labels; 0 if they are one. */
export const missingWitnesses = ({ groups, quorum }: Policy, cosigned: ReadonlySet<string>): number => {
  // A witness or group is a member once at most, so that what members miss adds up.
  const missing = (label: string): number => {
    const group = groups.get(label);
    if (group === undefined) return cosigned.has(label) ? 0 : 1;
    const each = group.members.map(missing).toSorted((a, b) => a - b);
    return each.slice(0, group.threshold).reduce((sum, one) => sum + one, 0);
  };
  return quorum === undefined ? 0 : missing(quorum);
};

/** Whether the witnesses with these labels are enough. */
export const isQuorum = (policy: Policy, cosigned: ReadonlySet<string>): boolean =>
  missingWitnesses(policy, cosigned) === 0;

/** A checkpoint that a policy accepts, and the witnesses that vouch for it. */
export type Vouched = { readonly checkpoint: Checkpoint; readonly cosigned: readonly Cosigned[] };

/** The log that signed: of several of one origin, as after a rotation, every one whose line the note has verifies. */
const verifyLog = async (
  text: string,
  note: Note,
  logs: readonly PolicyLog[],
  verify: Verify,
): Promise<Checkpoint> => {
  const origin = note.text.slice(0, note.text.indexOf("\n"));
  const known = logs.filter(({ name }) => name === origin);
  const signed = known.filter(
    ({ publicKey }) => signaturesBy(note, origin, noteKeyId(origin, publicKey)).length > 0,
  );
  let checkpoint: Checkpoint | undefined;
  for (const { publicKey } of signed.length > 0 ? signed : known) {
    checkpoint = await verifyCheckpoint(text, { origin, publicKey, verify });
  }
  return (
    checkpoint ?? fail({ kind: "malformedCheckpoint", rule: "is of a log that the policy does not name" })
  );
};

/**
 * Verifies a note by a policy alone: one of its logs signed it, and a quorum of its witnesses cosigned it. Each witness
 * is its key: two may have one name, and one of them does not count as both.
 * @throws malformedCheckpoint, also if a line of a known key does not verify.
 */
export const verifyByPolicy = async (text: string, policy: Policy, verify: Verify): Promise<Vouched> => {
  const note = parseNote(text);
  const checkpoint = await verifyLog(text, note, policy.logs, verify);
  const cosigned: Cosigned[] = [];
  const labels = new Set<string>();
  for (const { label, name, publicKey } of policy.witnesses) {
    const own = await verifyCosigners(note, [{ name, publicKey, verify }]);
    if (own.length > 0) labels.add(label);
    cosigned.push(...own);
  }
  if (!isQuorum(policy, labels)) {
    fail({ kind: "malformedCheckpoint", rule: "is not cosigned by a quorum of the policy's witnesses" });
  }
  return { checkpoint, cosigned };
};
