/**
 * Verifies an evidence file in named steps, from the file alone and from what its reader trusts. Pure: no network, no
 * clock; how signatures are verified is an argument. Source: docs/spec/verify.md §2. One signature per record and
 * cosignature.
 */
import { equalBytes, toHex, type Hash } from "../bytes.ts";
import type { KeyRing } from "../keys/ring.ts";
import { parseCheckpoint, type Checkpoint } from "../merkle/checkpoint.ts";
import { parseNote } from "../merkle/note.ts";
import type { Replay } from "../model/recompute.ts";
import { isEnrolledAs } from "../record/enrolment.ts";
import { cborDecode } from "../cbor/cbor.ts";
import { readDisclosures, type Disclosures } from "../record/commitment.ts";
import { principalLabel, readDecision } from "../record/decision.ts";
import type { FrozenChainPayload } from "../record/kinds/frozen-chain.ts";
import { parsePrincipal, parseQuorum } from "../record/kinds/governance.ts";
import { linkTo, type RecordBody } from "../record/record.ts";
import { quorumId, witnessPrefix } from "../record/system.ts";
import { parseEvidence, type Evidence, type ProvenRecord } from "./evidence-file.ts";
import {
  describeReplay,
  isOfKeys,
  replayOf,
  takeCheckpoint,
  takeKeys,
  takeTrust,
  type EvidenceTrust,
} from "./grounds.ts";
import {
  openRecord,
  readRecord,
  requireInclusion,
  requireSignature,
  signerOf,
  type OpenedRecord,
  type VerifySignature,
} from "./record.ts";
import { counted, refuse, ruleOf, StepList, type Step } from "./steps.ts";

/** In order. A file is refused by the first that does not hold; those after it are not tried. */
export const evidenceSteps = [
  "file",
  "genesis",
  "keys",
  "signature",
  "record",
  "disclosures",
  "inclusion",
  "checkpoint",
  "policy",
  "decision",
  "trust",
] as const;

export type EvidenceStepName = (typeof evidenceSteps)[number];

export type EvidenceStep = Step<EvidenceStepName>;

/** A record of the file. */
export type EvidenceRecord = {
  readonly position: bigint;
  readonly hash: Hash;
  readonly body: RecordBody;
};

/** What the file shows, as far as its steps held. Nothing of it counts unless all of them do. */
export type EvidenceFindings = {
  readonly genesis?: Hash;
  readonly checkpoint?: Checkpoint;
  readonly record?: EvidenceRecord;
  readonly chain?: FrozenChainPayload;
  readonly model?: EvidenceRecord;
  readonly principal?: EvidenceRecord;
  readonly registry?: { readonly quorum: EvidenceRecord; readonly witnesses: readonly EvidenceRecord[] };
  readonly replay?: Replay;
  /** Names of the policy's witnesses that cosigned. */
  readonly cosigned?: readonly string[];
};

export type EvidenceVerdict = {
  readonly holds: boolean;
  /** Every step, in order. */
  readonly steps: readonly EvidenceStep[];
  readonly findings: EvidenceFindings;
};

type Opened = OpenedRecord & Pick<ProvenRecord, "proof">;

type ReadFile = {
  readonly evidence: Evidence;
  readonly opened: readonly Opened[];
  readonly asked: Opened;
  readonly checkpoint: Checkpoint;
};

const readFile = (bytes: Uint8Array): ReadFile => {
  const evidence = parseEvidence(bytes);
  const checkpoint = parseCheckpoint(parseNote(evidence.checkpoint).text);
  const opened = evidence.records.map(({ position, envelope, proof }) => ({
    ...openRecord(position, envelope),
    proof,
  }));
  const asked = opened.find(({ position }) => position === evidence.position);
  return { evidence, opened, checkpoint, asked: asked ?? refuse("the record that it proves is missing") };
};

/** Step `signature`. @returns how many were verified. */
const checkSignatures = async (
  { opened }: ReadFile,
  ring: KeyRing,
  verify: VerifySignature,
): Promise<number> => {
  // Those of the walk were verified in it, by the ring of their moment: a key may have been retired since.
  const others = opened.filter((record) => !isOfKeys(record));
  for (const record of others) await requireSignature(record, signerOf(record, ring), verify);
  return others.length;
};

/** Whether it is the record of the principal that a decision is about. */
const isSubjects = (
  { kind, space, tenant, id, payload, schemaVersion }: RecordBody,
  subject: string,
): boolean => {
  const place = space === "system" ? "" : `${tenant}/`;
  if (kind !== "principal" || !subject.startsWith(place)) return false;
  return isEnrolledAs(subject.slice(place.length), id, parsePrincipal(payload, schemaVersion));
};

/**
 * The subject's principal: that which the decision links to, or for a decision of version 1, which links to none, any
 * of the subject.
 */
const principalOf = (
  { body }: EvidenceRecord,
  { request }: FrozenChainPayload,
  earlier: readonly EvidenceRecord[],
): EvidenceRecord | undefined => {
  const linked = linkTo(body, principalLabel);
  const isNamed = ({ hash }: EvidenceRecord): boolean =>
    body.schemaVersion === 1 || (linked !== undefined && equalBytes(hash, linked));
  return earlier.find((record) => isNamed(record) && isSubjects(record.body, request.subject));
};

type Roles = Pick<EvidenceFindings, "record" | "chain" | "model" | "principal" | "registry">;

/** The registry's records: the quorum's, and one of each witness that it names. */
const registryIn = (records: readonly EvidenceRecord[]): Roles["registry"] => {
  const [quorum, ...more] = records.filter(({ body }) => body.space === "system" && body.id === quorumId);
  if (quorum === undefined) return undefined;
  if (more.length > 0) refuse("there is more than one registry");
  const ids = parseQuorum(quorum.body.payload).witnesses.map((id) => witnessPrefix + id);
  const witnesses = ids.map(
    (id) =>
      records.find(({ body }) => body.kind === "witness" && body.id === id) ??
      refuse(`the registry names ${id}, whose record is missing`),
  );
  return { quorum, witnesses };
};

/** What each record is there for. One that is there for nothing is refused: a file is no place to hide one. */
const rolesOf = (asked: EvidenceRecord, earlier: readonly EvidenceRecord[]): Roles => {
  const chain = asked.body.kind === "frozen_chain" ? readDecision(asked.body) : undefined;
  const modelHash = chain?.model.hash ?? undefined;
  const model =
    modelHash &&
    (earlier.find(({ hash }) => equalBytes(hash, modelHash)) ??
      refuse(`the decision names the model ${toHex(modelHash)}, which is missing`));
  if (model !== undefined && model.body.kind !== "trust_model") refuse("what the decision names is no model");
  const principal = chain && principalOf(asked, chain, earlier);
  const registry = registryIn(earlier);
  const needed = new Set([model, principal, registry?.quorum, ...(registry?.witnesses ?? [])]);
  const idle = earlier.find((record) => !needed.has(record));
  if (idle !== undefined) refuse(`nothing needs the record at position ${idle.position}`);
  return {
    record: asked,
    ...(chain === undefined ? {} : { chain }),
    ...(model === undefined ? {} : { model }),
    ...(principal === undefined ? {} : { principal }),
    ...(registry === undefined ? {} : { registry }),
  };
};

/** Step `record`. */
const checkRecords = ({ evidence, opened, asked }: ReadFile): Roles => {
  const read = (record: Opened): EvidenceRecord => ({
    position: record.position,
    hash: record.hash,
    body: readRecord(record, { origin: evidence.origin }),
  });
  const others = opened.filter((record) => record !== asked && !isOfKeys(record));
  const late = others.find(({ position }) => position > asked.position);
  if (late !== undefined) refuse(`the record at position ${late.position} is later than the one it is for`);
  return rolesOf(read(asked), others.map(read));
};

const describeRoles = ({ record, model, principal, registry }: Roles): string => {
  const others = [
    model && `model at ${model.position}`,
    principal && `principal at ${principal.position}`,
    registry && `registry at ${registry.quorum.position}`,
  ].filter((text) => text !== undefined);
  const { body, position } = record ?? refuse("there is no record");
  return [`${body.kind} ${body.id} at position ${position}`, ...others].join(", ");
};

/** Step `disclosures`. What a record commits to is of its kind and version. */
const checkDisclosures = (bytes: Uint8Array, { body }: EvidenceRecord): Disclosures => {
  const disclosures = readDisclosures(cborDecode(bytes), body);
  return Object.keys(disclosures).length > 0 ? disclosures : refuse("it discloses nothing");
};

/** The steps, with what they found. */
class Findings extends StepList<EvidenceStepName> {
  findings: EvidenceFindings = {};

  constructor() {
    super(evidenceSteps);
  }

  add(found: EvidenceFindings): void {
    this.findings = { ...this.findings, ...found };
  }
}

/** What the first steps show: records of one ledger, each signed and in the tree of the checkpoint. */
type Founded = ReadFile & { readonly ring: KeyRing; readonly roles: Roles };

/** Steps `file` to `inclusion`. */
const founded = async (
  list: Findings,
  bytes: Uint8Array,
  expected: Hash | undefined,
  verify: VerifySignature,
): Promise<Founded> => {
  const file = await list.take("file", () => {
    const read = readFile(bytes);
    const { opened, checkpoint } = read;
    return [read, `${bytes.length} bytes, ${counted(opened.length, "record")}, tree of ${checkpoint.size}`];
  });
  const { opened, checkpoint, evidence } = file;
  const keys = { records: opened.filter(isOfKeys), origin: evidence.origin };
  const { genesis, ring } = await takeKeys(list, keys, expected, verify);
  list.add({ genesis, checkpoint });
  await list.take("signature", async () => {
    const count = await checkSignatures(file, ring, verify);
    return [count, `${counted(count, "record")} besides those of the keys`];
  });
  let roles = await list.take("record", () => {
    const taken = checkRecords(file);
    return [taken, describeRoles(taken)];
  });
  list.add(roles);
  const { disclosures: disclosed } = file.evidence;
  const { record, chain } = roles;
  if (disclosed === undefined || record === undefined) list.skip("disclosures", "the file holds none");
  else {
    const disclosures = await list.take("disclosures", () => {
      const checked = checkDisclosures(disclosed, record);
      return [checked, Object.keys(checked).toSorted().join(", ")];
    });
    if (chain !== undefined) roles = { ...roles, chain: readDecision(record.body, disclosures) };
    list.add(roles);
  }
  await list.take("inclusion", () => {
    for (const record of opened) requireInclusion(record, checkpoint, record.proof);
    return [undefined, `${counted(opened.length, "record")} in the tree of ${checkpoint.size}`];
  });
  return { ...file, ring, roles };
};

/** Steps `checkpoint` to `trust`. */
const judge = async (
  list: Findings,
  file: Founded,
  trust: EvidenceTrust,
  verify: VerifySignature,
): Promise<void> => {
  const { evidence, checkpoint, ring, roles } = file;
  const { origin, checkpoint: note } = evidence;
  const cosigned = await takeCheckpoint(list, { origin, note, checkpoint }, ring, trust, verify);
  if (cosigned !== undefined) list.add({ cosigned });
  const { chain, model } = roles;
  if (chain === undefined) list.skip("decision", "the record is no decision");
  else {
    await list.take("decision", () => {
      const replayed = replayOf(chain, model?.body.payload);
      list.add({ replay: replayed });
      return [undefined, describeReplay(replayed)];
    });
  }
  await takeTrust(list, trust);
};

/**
 * Never throws on what a file holds.
 * @param verify strict, as for foreign signatures: see `keys/verify.ts`.
 */
export const verifyEvidence = async (
  bytes: Uint8Array,
  trust: EvidenceTrust,
  { verify }: { readonly verify: VerifySignature },
): Promise<EvidenceVerdict> => {
  const list = new Findings();
  try {
    await judge(list, await founded(list, bytes, trust.genesis, verify), trust, verify);
  } catch (error) {
    list.refuse(ruleOf(error));
  }
  const { holds, steps, findings } = list;
  return { holds, steps, findings };
};
