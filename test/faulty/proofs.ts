/**
 * Allows that are not proved: an honest server behind a proxy that changes its answers, its proofs or its keys. Only a
 * client that verifies decisions can notice, and each row would be an allow to any other.
 */
import type { BatchCheckResponse, CheckRequest, CheckResponse } from "@sigil/client";
import { startProxy, type Ask, type Changes } from "./proxy.ts";
import { control, fault, type Row } from "./row.ts";
import { genesisOf, makeWorldDeployment, principal, type World } from "./world.ts";

type Proof = NonNullable<CheckResponse["proof"]>;

const flipped = (bytes: Uint8Array, at: number): Uint8Array => {
  const changed = Uint8Array.from(bytes);
  const index = at < 0 ? changed.length + at : at;
  changed[index] = (changed[index] ?? 0) ^ 1;
  return changed;
};

/** The same proof with a change; a reply without one stays as it is. */
const withProof = (reply: CheckResponse, change: (proof: Proof) => Partial<Proof>): CheckResponse =>
  reply.proof === undefined ? reply : { ...reply, proof: { ...reply.proof, ...change(reply.proof) } };

const proofChange =
  (change: (proof: Proof) => Partial<Proof>): NonNullable<Changes["check"]> =>
  (reply) =>
    withProof(reply, change);

/** A checkpoint with one line changed: origin, size, root, or the last, a signature. */
const withLine = (checkpoint: string, line: number, change: (text: string) => string): string =>
  checkpoint
    .split("\n")
    .map((text, index, all) => (index === (line < 0 ? all.length - 1 + line : line) ? change(text) : text))
    .join("\n");

/** Another letter in the middle: still base64, and another value. */
const otherBase64 = (text: string): string => {
  const at = text.length - 20;
  return `${text.slice(0, at)}${text[at] === "A" ? "B" : "A"}${text.slice(at + 1)}`;
};

const otherQuestion = { action: "write", target: "user/other" };

/** Of another question, with its proof, as the caller itself asked it. */
const another = (ask: Ask, { proof }: CheckRequest): Promise<CheckResponse> =>
  ask({ ...otherQuestion, proof });

/** With no digest in the answer, which any client would compare. */
const ofInput: NonNullable<Changes["check"]> = async (_reply, request, ask) => ({
  ...(await ask({ ...request, idempotencyKey: "", input: Buffer.from("refund 5,000") })),
  inputDigest: new Uint8Array(0),
});

const ofPrincipal: NonNullable<Changes["check"]> = async ({ subject }, request, ask) => ({
  ...(await ask({ ...request, idempotencyKey: "", subject: "mentor" })),
  subject,
});

const checks: readonly (readonly [name: string, what: string, check: NonNullable<Changes["check"]>])[] = [
  ["no-proof", "without its proof", (reply) => ({ ...reply, proof: undefined })],
  [
    "other-id",
    "with another audit id",
    async (reply, request, ask) => ({ ...reply, auditId: (await another(ask, request)).auditId }),
  ],
  [
    "other-number",
    "with another number of the caller",
    (reply) => ({ ...reply, callerSeq: reply.callerSeq + 1n }),
  ],
  ["other-subject", "about another subject", (reply) => ({ ...reply, subject: "mentor" })],
  ["other-reason", "for another reason", (reply) => ({ ...reply, reason: "ALLOWED" })],
  [
    "other-proof",
    "with the proof of another decision",
    async (reply, request, ask) => ({ ...reply, proof: (await another(ask, request)).proof }),
  ],
  [
    "other-position",
    "at the position of another decision",
    async (reply, request, ask) => ({
      ...reply,
      ledgerPosition: (await another(ask, request)).ledgerPosition,
    }),
  ],
  [
    "other-request",
    "of another request, whole, and with its own proof",
    (_reply, request, ask) => another(ask, request),
  ],
  [
    "other-action",
    "of another action on the same target, whole, and with its own proof",
    (_reply, request, ask) => ask({ action: "read", target: request.target, proof: request.proof }),
  ],
  [
    "signature",
    "with a broken signature of its record",
    proofChange(({ envelope }) => ({ envelope: flipped(envelope, -8) })),
  ],
  [
    "record",
    "with a record of which a bit was changed",
    proofChange(({ envelope }) => ({ envelope: flipped(envelope, 200) })),
  ],
  ["no-record", "with an empty record", proofChange(() => ({ envelope: new Uint8Array(0) }))],
  [
    "path",
    "with a changed hash of its path",
    proofChange(({ inclusionProof: [first = new Uint8Array(32), ...rest] }) => ({
      inclusionProof: [flipped(first, 0), ...rest],
    })),
  ],
  [
    "path-short",
    "with a path that lacks a hash",
    proofChange(({ inclusionProof }) => ({ inclusionProof: inclusionProof.slice(1) })),
  ],
  [
    "path-long",
    "with a path of one hash too many",
    proofChange(({ inclusionProof }) => ({ inclusionProof: [...inclusionProof, new Uint8Array(32)] })),
  ],
  [
    "path-hash-short",
    "with a path of 31-byte hashes",
    proofChange(({ inclusionProof }) => ({ inclusionProof: inclusionProof.map((hash) => hash.subarray(1)) })),
  ],
  [
    "checkpoint-signature",
    "with a broken signature of its checkpoint",
    proofChange(({ checkpoint }) => ({ checkpoint: withLine(checkpoint, -1, otherBase64) })),
  ],
  [
    "checkpoint-size",
    "with a checkpoint of another size",
    proofChange(({ checkpoint }) => ({
      checkpoint: withLine(checkpoint, 1, (size) => String(Number(size) + 1)),
    })),
  ],
  [
    "checkpoint-root",
    "with a checkpoint of another root",
    proofChange(({ checkpoint }) => ({ checkpoint: withLine(checkpoint, 2, otherBase64) })),
  ],
  [
    "checkpoint-origin",
    "with a checkpoint of another ledger's name",
    proofChange(({ checkpoint }) => ({ checkpoint: withLine(checkpoint, 0, (origin) => `${origin}2`) })),
  ],
  ["no-checkpoint", "without a checkpoint", proofChange(() => ({ checkpoint: "" }))],
  [
    "other-checkpoint",
    "with the checkpoint of a later commit",
    async (reply, request, ask) => {
      const { proof } = await another(ask, request);
      return withProof(reply, () => ({ checkpoint: proof?.checkpoint ?? "" }));
    },
  ],
];

type Changed = NonNullable<Changes["batch"]>;

const everyDecision = (
  { results, ...reply }: BatchCheckResponse,
  change: (decision: CheckResponse) => CheckResponse,
): BatchCheckResponse => ({
  ...reply,
  results: results.map(({ outcome }) => ({
    outcome: outcome?.$case === "decision" ? { $case: "decision", value: change(outcome.value) } : outcome,
  })),
});

const batches: readonly (readonly [name: string, what: string, batch: Changed])[] = [
  ["order", "whose items are out of order", (reply) => ({ ...reply, results: reply.results.toReversed() })],
  [
    "proofs-swapped",
    "whose items have each other's proofs",
    (reply) => {
      const proofs = reply.results.map(({ outcome }) =>
        outcome?.$case === "decision" ? outcome.value.proof : undefined,
      );
      let next = proofs.length;
      return everyDecision(reply, (decision) => ({ ...decision, proof: proofs[(next -= 1)] }));
    },
  ],
  [
    "no-proofs",
    "without proofs",
    (reply) =>
      everyDecision({ ...reply, sharedProof: undefined }, (decision) => ({ ...decision, proof: undefined })),
  ],
  ["no-shared-proof", "without what its proofs share", (reply) => ({ ...reply, sharedProof: undefined })],
  [
    "hashes",
    "with changed hashes",
    ({ sharedProof, ...reply }) => ({
      ...reply,
      sharedProof: sharedProof && {
        ...sharedProof,
        hashes: sharedProof.hashes.map((hash) => flipped(hash, 3)),
      },
    }),
  ],
  [
    "no-hashes",
    "without the hashes that its paths name",
    ({ sharedProof, ...reply }) => ({ ...reply, sharedProof: sharedProof && { ...sharedProof, hashes: [] } }),
  ],
  [
    "checkpoint",
    "with a broken signature of its checkpoint",
    ({ sharedProof, ...reply }) => ({
      ...reply,
      sharedProof: sharedProof && {
        ...sharedProof,
        checkpoint: withLine(sharedProof.checkpoint, -1, otherBase64),
      },
    }),
  ],
];

const swappedNames: NonNullable<Changes["streamed"]> = (reply) => ({
  ...reply,
  correlationId: reply.correlationId === "1" ? "2" : "1",
});

const unprovedStream: NonNullable<Changes["streamed"]> = ({ outcome, ...reply }) => ({
  ...reply,
  outcome:
    outcome?.$case === "decision"
      ? { $case: "decision", value: { ...outcome.value, proof: undefined } }
      : outcome,
});

const calls = ["check", "batch", "stream"] as const;

export const proofFaults = async (world: World): Promise<readonly Row[]> => {
  const { stack, honest } = world;
  const row = async (
    name: string,
    what: string,
    changes: Changes,
    { call = "check", ...more }: Pick<Partial<Row>, "call" | "before" | "about"> = {},
  ): Promise<Row> =>
    fault({
      name: `unproved-${name}`,
      what,
      target: await startProxy(world, changes),
      call,
      needsVerification: true,
      expect: "either",
      ...more,
    });
  // The first allow that ever came is the answer to every question, with its own proof.
  let old: CheckResponse | undefined;
  const oldest: NonNullable<Changes["check"]> = (reply) => (old ??= reply);
  const other = stack.use(await makeWorldDeployment());
  const otherServed = stack.use(await other.serve());
  if ((await genesisOf(other)) === world.genesis) throw new Error("two deployments with one genesis");
  // What the honest server says of an allow, on the proof of what it denied to somebody without a token.
  const allowed = await honest.as("operator").trust.check({ action: "write", target: "user/notes" });
  if (!allowed.allowed) throw new Error("the honest server does not allow what the rows ask");
  const asAllow: NonNullable<Changes["check"]> = ({
    auditId,
    ledgerPosition,
    proof,
    callerSeq,
    inputDigest,
  }) => ({
    ...allowed,
    auditId,
    ledgerPosition,
    proof,
    callerSeq,
    inputDigest,
  });
  const faithful = await startProxy(world, {
    check: (reply) => reply,
    batch: (reply) => reply,
    streamed: (reply) => reply,
  });
  return [
    ...calls.map((call) =>
      control({
        name: `control-proved-${call}`,
        what: "an honest server behind a proxy that changes nothing, verified",
        target: faithful,
        call,
        needsVerification: true,
      }),
    ),
    ...(await Promise.all([
      ...checks.map(([name, what, check]) => row(name, `an allow ${what}`, { check })),
      ...batches.map(([name, what, batch]) =>
        row(`batch-${name}`, `a batch ${what}`, { batch }, { call: "batch" }),
      ),
      row("deny", "a deny passed on as an allow, with its proof", { check: asAllow, dropToken: true }),
      row(
        "stream-names",
        "answers on a stream under each other's names",
        { streamed: swappedNames },
        { call: "stream" },
      ),
      row(
        "stream-no-proofs",
        "answers on a stream without proofs",
        { streamed: unprovedStream },
        { call: "stream" },
      ),
      row("old-allow", "an allow of the same question from before", { check: oldest }, { before: 1 }),
      row("old-allow-first", "an hour-old allow of the same question, as the first answer of a connection", {
        check: () => world.old,
      }),
      row(
        "other-input",
        "an allow of another input, whole, and with its own proof",
        { check: ofInput },
        { about: { input: "refund 5" } },
      ),
      row(
        "other-principal",
        "an allow of another principal under the name of who was asked about, with its own proof",
        { check: ofPrincipal },
        { about: { subject: principal } },
      ),
      row("other-deployment", "an honest server of another deployment of the same name", {
        target: otherServed.server.target,
      }),
      row("no-keys", "a server that shows no key", { keyRecords: (reply) => ({ ...reply, records: [] }) }),
      row("broken-keys", "a server that shows broken records of its keys", {
        keyRecords: (reply) => ({
          ...reply,
          records: reply.records.map((each) => ({ ...each, envelope: flipped(each.envelope, -8) })),
        }),
      }),
    ])),
  ];
};
