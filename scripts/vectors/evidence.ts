/** Cases of evidence files: what holds, and for each step of docs/spec/verify.md what it refuses. */
import { parseHash, toHex, type Hash } from "@sigil/core/bytes";
import { cborDecode, cborEncode, type CborMap } from "@sigil/core/cbor";
import { evidenceSteps, formatEvidence, type Evidence, type EvidenceStep } from "@sigil/core/verify";
import {
  badlyProven,
  badlySigned,
  flipped,
  turned,
  withLine,
  withRecord,
  withSignature,
  without,
} from "./evidence-changes.ts";
import {
  at,
  grounds,
  makeLedger,
  recordKeyOne,
  registry,
  secondOpening,
  strangerPolicy,
} from "./evidence-ledger.ts";

type Step = EvidenceStep["name"];
type Accepted = readonly [name: string, evidence: Evidence, decision: string | null];
type Refused = {
  readonly name: string;
  readonly step: Step;
  readonly bytes: Uint8Array;
  /** What the reader trusts, instead of both; null for nothing. */
  readonly genesis?: Hash | null;
  readonly policy?: string | null;
};

/** What was changed: `cut` bytes of the first accepted file, from `at` on, became others. */
const changeOf = (from: Uint8Array, to: Uint8Array) => {
  const shorter = Math.min(from.length, to.length);
  let at = 0;
  while (at < shorter && from[at] === to[at]) at += 1;
  let same = 0;
  while (same < shorter - at && from.at(-1 - same) === to.at(-1 - same)) same += 1;
  return { at, cut: from.length - same - at, hex: toHex(to.subarray(at, to.length - same)) };
};

/** A change of the file's own map. */
const reshaped = (evidence: Evidence, change: (map: CborMap) => CborMap): Uint8Array =>
  cborEncode(change(cborDecode(formatEvidence(evidence)) as CborMap));

/** In the order of the steps. */
const inOrder = (cases: readonly Refused[]): readonly Refused[] =>
  cases.toSorted((a, b) => evidenceSteps.indexOf(a.step) - evidenceSteps.indexOf(b.step));

export const evidenceVectors = async (): Promise<object> => {
  const { evidence, genesis, policy, strangersLine } = await makeLedger();
  const good = evidence(at.decision, grounds);
  const bytes = formatEvidence(good);
  const second = evidence(at.second, grounds);
  const withOpening = (opening: CborMap, path = "input"): Evidence => ({
    ...second,
    disclosures: cborEncode({ [path]: opening }),
  });
  const { salt, value, raw = new Uint8Array(0) } = secondOpening;
  const disclosed = withOpening({ salt, value, raw });
  const accept: readonly Accepted[] = [
    ["a decision", good, "equal"],
    ["a decision whose input was kept", evidence(at.kept, grounds), "equal"],
    ["a decision whose input was not kept", evidence(at.partial, grounds), "partial"],
    ["a decision without its principal and registry", evidence(at.decision, [at.model]), "equal"],
    ["a decision of version 2 with what was disclosed of it", disclosed, "equal"],
    ["a decision of version 2 that discloses no raw input", withOpening({ salt, value }), "partial"],
    ["a decision of version 2 that discloses nothing", second, "partial"],
    ["a deny without a model", evidence(at.unscored, registry), "equal"],
    ["a user's record", evidence(at.note, registry), null],
    ["a model", evidence(at.model, registry), null],
    ["an announcement of a key that its own signer's retirement left behind", evidence(at.recordKey), null],
    ["genesis", evidence(at.genesis), null],
  ];
  const forged = async (forgery: Parameters<typeof makeLedger>[0]): Promise<Uint8Array> =>
    formatEvidence((await makeLedger(forgery)).evidence(at.decision, grounds));
  const forgedSecond = async (forgery: Parameters<typeof makeLedger>[0]): Promise<Uint8Array> =>
    formatEvidence((await makeLedger(forgery)).evidence(at.second, grounds));
  const notOpened: readonly (readonly [name: string, evidence: Evidence])[] = [
    ["another salt", withOpening({ salt: flipped(salt, 0), value, raw })],
    ["another digest", withOpening({ salt, value: [genesis, raw.length] })],
    ["other raw bytes", withOpening({ salt, value, raw: flipped(raw, 0) })],
    ["a value of another path", withOpening({ salt, value, raw }, "output")],
    ["a map of nothing", { ...second, disclosures: cborEncode({}) }],
  ];
  const refuse: readonly Refused[] = [
    ...notOpened.map(([name, file]): Refused => ({
      name: `a decision of version 2 with ${name} disclosed`,
      step: "disclosures",
      bytes: formatEvidence(file),
    })),
    {
      name: "a decision of version 2 with another principal than it links to",
      step: "record",
      bytes: formatEvidence(evidence(at.second, [...registry, at.model, at.laterPrincipal])),
    },
    {
      name: "a decision of version 2 without its model",
      step: "record",
      bytes: formatEvidence(without(second, at.model)),
    },
    {
      name: "another verdict of version 2 than the model gives",
      step: "decision",
      bytes: await forgedSecond({ chain: (chain) => ({ ...chain, verdict: "deny" }) }),
    },
    {
      name: "another z of version 2 than the model gives",
      step: "decision",
      bytes: await forgedSecond({ chain: (chain) => ({ ...chain, z: (chain.z ?? 0) + 0.5 }) }),
    },
    { name: "nothing", step: "file", bytes: new Uint8Array(0) },
    { name: "half of a file", step: "file", bytes: bytes.subarray(0, bytes.length / 2) },
    { name: "a byte more", step: "file", bytes: Uint8Array.from([...bytes, 0]) },
    { name: "another version", step: "file", bytes: reshaped(good, (map) => ({ ...map, version: 2 })) },
    { name: "a field more", step: "file", bytes: reshaped(good, (map) => ({ ...map, note: "" })) },
    {
      name: "a node that no path names",
      step: "file",
      bytes: reshaped(good, (map) => ({ ...map, nodes: [...(map["nodes"] as readonly Hash[]), genesis] })),
    },
    {
      name: "a node twice",
      step: "file",
      bytes: reshaped(good, (map) => {
        const nodes = map["nodes"] as readonly Hash[];
        return { ...map, nodes: [...nodes.slice(0, -1), nodes[0] as Hash] };
      }),
    },
    {
      name: "records in another order",
      step: "file",
      bytes: reshaped(good, (map) => ({
        ...map,
        records: [...(map["records"] as readonly CborMap[])].reverse(),
      })),
    },
    {
      name: "a position of no record",
      step: "file",
      bytes: reshaped(good, (map) => ({ ...map, position: 99 })),
    },
    {
      name: "a checkpoint that is no note",
      step: "file",
      bytes: reshaped(good, (map) => ({ ...map, checkpoint: "a\n" })),
    },
    {
      name: "a genesis other than the expected one",
      step: "genesis",
      bytes,
      genesis: parseHash(flipped(genesis, 31)),
    },
    { name: "another origin", step: "genesis", bytes: formatEvidence({ ...good, origin: "other.example" }) },
    {
      name: "a genesis that its own key did not sign",
      step: "genesis",
      bytes: formatEvidence(withRecord(good, at.genesis, badlySigned)),
    },
    {
      name: "an announcement with another signature",
      step: "keys",
      bytes: formatEvidence(withRecord(good, at.recordKey, badlySigned)),
    },
    {
      name: "keys without an announcement in between",
      step: "keys",
      bytes: formatEvidence(without(good, at.recordKey)),
    },
    {
      name: "another signature of the record",
      step: "signature",
      bytes: formatEvidence(withRecord(good, at.decision, badlySigned)),
    },
    {
      name: "another signature of the model",
      step: "signature",
      bytes: formatEvidence(withRecord(good, at.model, badlySigned)),
    },
    {
      name: "a record signed again by a key that was retired",
      step: "signature",
      bytes: await forged({ signer: (id) => (id === "decision-1" ? recordKeyOne : undefined) }),
    },
    {
      name: "a statement about another record than its body",
      step: "record",
      bytes: await forged({ subject: (said, id) => (id === "decision-1" ? `${said}1` : said) }),
    },
    { name: "a decision without its model", step: "record", bytes: formatEvidence(without(good, at.model)) },
    {
      name: "a registry without a witness that it names",
      step: "record",
      bytes: formatEvidence(without(good, at.witness)),
    },
    {
      name: "a record that nothing needs",
      step: "record",
      bytes: formatEvidence(evidence(at.kept, [...grounds, at.decision])),
    },
    {
      name: "a record later than the one it is for",
      step: "record",
      bytes: formatEvidence(evidence(at.decision, [...grounds, at.note])),
    },
    {
      name: "the principal's later record",
      step: "record",
      bytes: formatEvidence(evidence(at.decision, [...registry, at.model, at.laterPrincipal])),
    },
    {
      name: "a disclosure of what the record does not commit to",
      step: "disclosures",
      bytes: formatEvidence({
        ...good,
        disclosures: cborEncode({ input: { salt: new Uint8Array(32), value: [genesis, 0] } }),
      }),
    },
    {
      name: "another node on the record's path",
      step: "inclusion",
      bytes: formatEvidence(withRecord(good, at.decision, badlyProven)),
    },
    {
      name: "a path that is too short",
      step: "inclusion",
      bytes: formatEvidence(
        withRecord(good, at.model, (record) => ({ ...record, proof: record.proof.slice(1) })),
      ),
    },
    {
      name: "another signature of the log",
      step: "checkpoint",
      bytes: formatEvidence(withLine(good, 0, turned)),
    },
    {
      name: "a checkpoint that the log did not sign",
      step: "checkpoint",
      bytes: formatEvidence(withLine(good, 0, () => "")),
    },
    {
      name: "a cosignature less than the policy takes",
      step: "policy",
      bytes: formatEvidence(withLine(good, 2, () => "")),
    },
    {
      name: "a cosignature that does not verify",
      step: "policy",
      bytes: formatEvidence(withLine(good, 1, turned)),
    },
    { name: "a policy that names another key of the log", step: "policy", bytes, policy: strangerPolicy },
    {
      name: "a policy that names another key of the log, which signed besides",
      step: "policy",
      bytes: formatEvidence(withSignature(good, strangersLine)),
      policy: strangerPolicy,
    },
    {
      name: "another verdict than the model gives",
      step: "decision",
      bytes: await forged({ chain: (chain) => ({ ...chain, verdict: "deny" }) }),
    },
    {
      name: "another z than the model gives",
      step: "decision",
      bytes: await forged({ chain: (chain) => ({ ...chain, z: (chain.z ?? 0) + 0.5 }) }),
    },
    {
      name: "a level above that of the features",
      step: "decision",
      bytes: await forged({ chain: (chain) => ({ ...chain, request: { ...chain.request, loa: "mentor" } }) }),
    },
    { name: "a file that nobody vouches for", step: "trust", bytes, genesis: null, policy: null },
  ];
  return {
    genesis: toHex(genesis),
    policy,
    accept: accept.map(([name, file, decision]) => ({ name, decision, hex: toHex(formatEvidence(file)) })),
    refuse: inOrder(refuse).map(({ name, step, bytes: refused, ...trust }) => ({
      name,
      step,
      ...(trust.genesis === undefined ? {} : { genesis: trust.genesis && toHex(trust.genesis) }),
      ...(trust.policy === undefined ? {} : { policy: trust.policy }),
      ...changeOf(bytes, refused),
    })),
  };
};
