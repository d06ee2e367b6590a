/**
 * The cost of each step of an append alone: CPU microseconds per record, including the thread pool, over the same
 * records. One round runs every step once, so that all see the same machine.
 */
import { encodeProtected, encodeStatement, recordContentType, toBeSigned } from "@sigil/core/cose";
import {
  encodeBody,
  encodeEnvelope,
  entryOf,
  hashRecord,
  subjectOf,
  type RecordBody,
} from "@sigil/core/record";
import { signCheckpoint, leafHash, rootOf } from "@sigil/core/merkle";
import { randomBytes } from "../src/crypto/random.ts";
import { sealNonceBytes } from "../src/crypto/seal.ts";
import { formatGroup } from "../src/ledger/layout/group.ts";
import { indexOps } from "../src/ledger/layout/indexes.ts";
import type { SignedRecord } from "../src/ledger/append/prepare.ts";
import { emptyTree, planLeaves, type TreeState } from "../src/ledger/layout/tree.ts";
import { openLevelStore } from "../src/storage/level.ts";
import type { StoreOp } from "../src/storage/store.ts";
import { actorInput, answerParent } from "./actor.ts";
import { createPlanner, groupRecords } from "./plan.ts";
import type { PartCosts } from "./results.ts";
import { bodiesLike, describeScratch, openScratch, sampleBody, type Scratch } from "./scratch.ts";
import { measure } from "./statistics.ts";

export type PartsInput = { readonly scratch: Scratch; readonly path: string };
export type PartsWeighing = { readonly runs: number; readonly groups: number };

const { scratch, path } = actorInput<PartsInput>();
const ledger = await openScratch(scratch);
const nextBody = bodiesLike(await sampleBody(scratch, ledger));
await ledger.close();
const options = await describeScratch(scratch);
const planner = await createPlanner(options);
const { origin } = options;
const { signer: recordSigner, checkpointSigner } = planner;
const store = await openLevelStore(path);

type Group = {
  readonly bodies: readonly RecordBody[];
  readonly records: readonly SignedRecord[];
  readonly toSign: readonly Uint8Array[];
  readonly ops: readonly StoreOp[];
};

const protectedOf = (body: RecordBody): Uint8Array =>
  encodeProtected({
    contentType: recordContentType,
    kid: recordSigner.thumbprint,
    origin,
    subject: subjectOf(body),
  });

const nextGroup = async (): Promise<Group> => {
  const bodies = Array.from({ length: groupRecords }, nextBody);
  const records = await planner.sign(bodies);
  const toSign = records.map(({ body, bodyBytes }) => toBeSigned(protectedOf(body), bodyBytes));
  const { ops } = await planner.plan(records);
  return { bodies, records, toSign, ops };
};

const signature = new Uint8Array(64);
let tree: TreeState = emptyTree;

const encode = ({ bodies }: Group): void => {
  for (const body of bodies) {
    const payload = encodeBody(body);
    const protectedBytes = protectedOf(body);
    toBeSigned(protectedBytes, payload);
    encodeEnvelope({ statement: encodeStatement({ protectedBytes, payload, signature }), attestations: [] });
  }
};

const hash = ({ records }: Group): void => {
  for (const { bodyBytes, envelope } of records) {
    hashRecord(bodyBytes);
    leafHash(entryOf(envelope));
  }
};

const sign = async ({ toSign }: Group): Promise<void> => {
  await Promise.all(toSign.map(recordSigner.sign));
};

const seal = ({ records }: Group): void => {
  const seals = planner.sealer.stage(() => randomBytes(sealNonceBytes));
  for (const [index, record] of records.entries()) {
    seals.seal(record, BigInt(index), record.body.tenant);
  }
};

const index = ({ records }: Group): void => {
  for (const { body, hash } of records) indexOps(planner.tags, body, hash, { position: 1n, version: 1n });
};

const grow = async ({ records }: Group): Promise<void> => {
  const leaves = records.map(({ leaf }) => leaf);
  const firstPosition = tree.frontier.size;
  ({ tree } = planLeaves(tree, leaves));
  const { size } = tree.frontier;
  const root = rootOf(tree.frontier);
  const checkpoint = await signCheckpoint({ origin, size, root }, checkpointSigner);
  formatGroup({ firstPosition, leaves, checkpoint });
};

const steps: readonly {
  readonly name: string;
  readonly what: string;
  readonly run: (group: Group) => void | Promise<void>;
}[] = [
  {
    name: "encode",
    what: "schema checks, canonical CBOR of body, header, statement and envelope",
    run: encode,
  },
  { name: "hash", what: "SHA-256 of body, envelope and leaf", run: hash },
  { name: "sign", what: "Ed25519 in its thread, hand-over included", run: sign },
  { name: "seal", what: "AES-256-GCM and its nonce", run: seal },
  { name: "index", what: "keys and entries of the id, the hash and the decision index", run: index },
  {
    name: "tree",
    what: "Merkle nodes, root, signed checkpoint and group entry, shared by a group",
    run: grow,
  },
  {
    name: "store",
    what: "one synchronous batch a group, compaction included",
    run: ({ ops }) => store.commit(ops),
  },
];

const cpuUsed = (): number => {
  const { user, system } = process.cpuUsage();
  return user + system;
};

const weigh = async ({ runs, groups }: PartsWeighing): Promise<PartCosts> => {
  const costs = steps.map((): number[] => []);
  let last: Group | undefined;
  // The first round is a warm-up and not counted.
  for (let run = -1; run < runs; run += 1) {
    const made: Group[] = [];
    while (made.length < groups) made.push(await nextGroup());
    for (const [index, step] of steps.entries()) {
      const startUs = cpuUsed();
      for (const group of made) await step.run(group);
      if (run >= 0) costs[index]?.push((cpuUsed() - startUs) / (groups * groupRecords));
    }
    last = made.at(-1);
  }
  return {
    recordBytes: last?.records[0]?.envelope.length ?? 0,
    putsPerRecord: (last?.ops.length ?? 0) / groupRecords,
    parts: steps.map(({ name, what }, index) => ({ name, what, cpuUs: measure(costs[index] ?? []) })),
  };
};

answerParent({ weigh }, () => store.close());
