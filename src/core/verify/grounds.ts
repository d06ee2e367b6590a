/**
 * What evidence of any form rests on: the genesis record and the keys that follow from it, a checkpoint, the policy
 * that accepts it, what its reader trusts, and the model of a decision. Pure. Source: docs/spec/verify.md §2.
 */
import { equalBytes, toHex, type Hash } from "../bytes.ts";
import type { CborValue } from "../cbor/cbor.ts";
import { checkpointSigner, type KeyRing } from "../keys/ring.ts";
import { verifyCheckpoint, type Checkpoint } from "../merkle/checkpoint.ts";
import { parseNote } from "../merkle/note.ts";
import { verifyByPolicy, type Policy } from "../merkle/policy.ts";
import { subtreeLines } from "../merkle/subtree-signature.ts";
import { replay, type Replay } from "../model/recompute.ts";
import type { FrozenChainPayload } from "../record/kinds/frozen-chain.ts";
import { parseGenesis } from "../record/kinds/genesis.ts";
import { keyRetirementPrefix, signingKeyPrefix } from "../record/system.ts";
import { walkKeys } from "./key-walk.ts";
import { readRecord, type OpenedRecord, type VerifySignature } from "./record.ts";
import { counted, refuse, type Steps } from "./steps.ts";

/** What the reader has from elsewhere. Without either nobody vouches for what is verified. */
export type EvidenceTrust = {
  /** The hash of the genesis record. */
  readonly genesis?: Hash | undefined;
  /** The log's key, and whose cosignatures a checkpoint needs. */
  readonly policy?: Policy | undefined;
};

const systemSubject = (id: string): string => `system/system/${id}`;
const keySubjects = [signingKeyPrefix, keyRetirementPrefix].map(systemSubject);

/** Whether it is genesis, or announces or retires a key. */
export const isOfKeys = ({ position, statement }: OpenedRecord): boolean =>
  position === 0n || keySubjects.some((prefix) => statement.subject.startsWith(prefix));

/** @returns its hash. */
const checkGenesis = async (
  first: OpenedRecord | undefined,
  origin: string,
  expected: Hash | undefined,
  verify: VerifySignature,
): Promise<Hash> => {
  if (first?.position !== 0n) return refuse("the genesis record is missing");
  await walkKeys(expected ?? first.hash, [first], { verify });
  const genesis = parseGenesis(readRecord(first, {}).payload);
  for (const said of [first.statement.origin, origin]) {
    if (said !== genesis.origin) refuse(`genesis is of ${genesis.origin}, and not of ${said}`);
  }
  return first.hash;
};

/** Steps `genesis` and `keys`. @param records those of keys, in ledger order. */
export const takeKeys = async (
  list: Steps<"genesis" | "keys">,
  { records, origin }: { readonly records: readonly OpenedRecord[]; readonly origin: string },
  expected: Hash | undefined,
  verify: VerifySignature,
): Promise<{ readonly genesis: Hash; readonly ring: KeyRing }> => {
  const genesis = await list.take("genesis", async () => {
    const hash = await checkGenesis(records[0], origin, expected, verify);
    return [hash, `${toHex(hash)}, ${expected === undefined ? "compared with nothing" : "as given"}`];
  });
  const ring = await list.take("keys", async () => {
    const walked = await walkKeys(genesis, records, { verify });
    return [walked.ring, counted(walked.ring.entries.length, "key")];
  });
  return { genesis, ring };
};

const describeCosigned = (names: readonly string[]): string =>
  names.length === 0 ? "it takes no cosignature" : `cosigned by ${names.join(", ")}`;

type Noted = { readonly origin: string; readonly note: string; readonly checkpoint: Checkpoint };

/**
 * Steps `checkpoint` and `policy`. @returns the names of the policy's witnesses that cosigned; undefined without a
 * policy.
 */
export const takeCheckpoint = async (
  list: Steps<"checkpoint" | "policy">,
  { origin, note, checkpoint }: Noted,
  ring: KeyRing,
  { policy }: EvidenceTrust,
  verify: VerifySignature,
): Promise<readonly string[] | undefined> => {
  const log = await list.take("checkpoint", async () => {
    const signer = checkpointSigner(ring, checkpoint.size);
    if (signer.kind === "refused") return refuse(signer.rule);
    const { entry, mldsa44Key } = signer;
    await verifyCheckpoint(note, { origin, publicKey: entry.publicKey, verify, mldsa44Key });
    const head = `${origin} at size ${checkpoint.size}, root ${toHex(checkpoint.root)}`;
    const lines = mldsa44Key && subtreeLines(parseNote(note), origin, mldsa44Key);
    return [entry, lines === undefined || lines.length === 0 ? head : `${head}, by ML-DSA-44 as well`];
  });
  if (policy === undefined) {
    list.skip("policy", "none was given");
    return undefined;
  }
  return list.take("policy", async () => {
    const { cosigned } = await verifyByPolicy(note, policy, verify);
    const isTheirs = policy.logs.some(
      ({ name, publicKey }) => name === origin && equalBytes(publicKey, log.publicKey),
    );
    if (!isTheirs) refuse("the policy's log has another key than the ring gives");
    const names = cosigned.map(({ name }) => name);
    return [names, describeCosigned(names)];
  });
};

/** Works a decision out again by the payload of the model that it names; without one the only answer is a deny. */
export const replayOf = (chain: FrozenChainPayload, model: CborValue | undefined): Replay =>
  model === undefined && chain.verdict !== "deny"
    ? refuse("without a model the only answer is a deny")
    : replay(chain, model ?? null);

/** @throws Refused when something differs. */
export const describeReplay = ({ outcome, values }: Replay): string => {
  const wrong = values.find((value) => value.outcome === "different");
  if (wrong !== undefined) {
    const { field, recorded, recomputed } = wrong;
    return refuse(`${outcome}: ${field} is recorded as ${recorded}, recomputed as ${recomputed}`);
  }
  const taken = values.filter((value) => value.outcome === "asRecorded").map(({ field }) => field);
  return taken.length === 0 ? outcome : `${outcome}; taken as recorded: ${taken.join(", ")}`;
};

/** Step `trust`. */
export const takeTrust = (list: Steps<"trust">, { genesis, policy }: EvidenceTrust): Promise<void> =>
  list.take("trust", () => {
    const from = [
      genesis && "the genesis hash that was given",
      policy && "the log's key in the policy",
    ].filter((text) => text !== undefined);
    if (from.length === 0) {
      refuse("it is consistent with itself, and nobody vouches for it: give the genesis hash, or a policy");
    }
    return [undefined, `from ${from.join(" and ")}`];
  });
