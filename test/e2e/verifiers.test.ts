/**
 * What Sigil signs and proves, verified by libraries that are not Sigil's: go-cose and pycose for statements,
 * attestations and receipts, Go's sumdb/note and sumdb/tlog for checkpoints and proofs, transparency-dev/formats for
 * the ML-DSA-44 lines of checkpoints. For each a negative control that they must refuse.
 */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { repository } from "../../scripts/run.ts";
import { fromHex, parsePublicKey, toHex } from "../../src/core/bytes.ts";
import { coseKeyThumbprint, parseStatement } from "../../src/core/cose/cose.ts";
import { newestKey } from "../../src/core/keys/ring.ts";
import { decodeEnvelope, entryOf } from "../../src/core/record/record.ts";
import { Council, rawKey } from "./council.ts";

type Question = Readonly<Record<string, unknown>>;

const goProgram = join(repository, "build/bin/sigil-verifiers");
const python = join(repository, "build/venv/bin/python");
const pythonProgram = join(repository, "test/verifiers/python/verify.py");

const hasPycose = (): boolean => spawnSync(python, ["-c", "import pycose, cbor2"]).status === 0;

const verifiers = [
  {
    name: "Go",
    command: [goProgram],
    missing: existsSync(goProgram)
      ? undefined
      : "skipped: no Go verifiers: scripts/services.sh install go_verifiers",
    kinds: ["statement", "receipt", "checkpoint", "mldsa44", "inclusion", "consistency"],
  },
  {
    name: "Python",
    command: [python, pythonProgram],
    missing: hasPycose() ? undefined : "skipped: no pycose: scripts/services.sh install python_verifiers",
    kinds: ["statement", "receipt"],
  },
] as const;

const ask = (
  [program = "", ...words]: readonly string[],
  questions: readonly Question[],
): readonly string[] => {
  const input = questions.map((question) => `${JSON.stringify(question)}\n`).join("");
  const { stdout, stderr, status } = spawnSync(program, words, {
    input,
    encoding: "utf8",
    maxBuffer: 1 << 26,
  });
  expect(status, stderr).to.equal(0);
  return stdout.trimEnd().split("\n");
};

const flippedHex = (hex: string): string => `${hex.slice(0, -1)}${hex.endsWith("0") ? "1" : "0"}`;
/** Changes in the middle: of a COSE message its payload or path, so that the whole still parses. */
const flippedWithin = (hex: string, at: number): string =>
  `${hex.slice(0, at)}${hex[at] === "0" ? "1" : "0"}${hex.slice(at + 1)}`;

describe("verifiers that are not Sigil's", function () {
  this.slow(10_000);
  let council: Council | undefined;
  const questions: Question[] = [];
  const controls: Question[] = [];

  const take = (question: Question, ...broken: readonly Question[]): void => {
    questions.push(question);
    controls.push(...broken.map((change) => ({ ...question, ...change })));
  };

  before(async () => {
    council = await Council.open({}, { config: { checkpoint_mldsa44: true } });
    const [operator, guest] = [council.as("operator"), council.as("guest")];
    await council.approve(await council.proposeAny(), "ann", "ben");
    for (const count of [1, 5, 9]) {
      const checks = Array.from({ length: count }, (_, at) => ({
        action: "read",
        target: `user/notes/${at}`,
      }));
      await operator.trust.batchCheck({ checks });
    }
    const { reader } = council.served.server.ledger;
    const witnessKeys = [...council.keys.values()].map((witness) => toHex(rawKey(witness)));
    let attested = 0;
    const { origin } = reader;
    const key = toHex(newestKey(reader.ring, "checkpoint")?.publicKey ?? new Uint8Array(0));
    const mldsa44Key = toHex(newestKey(reader.ring, "checkpoint_mldsa44")?.publicKey ?? new Uint8Array(0));
    const { size, root, checkpoint } = await guest.audit.getCheckpoint({});
    take(
      { kind: "checkpoint", key, origin, note: checkpoint },
      { origin: `${origin}2` },
      { note: checkpoint.replace(/\n\d+\n/, "\n7\n") },
      { key: flippedHex(key) },
    );
    take(
      { kind: "mldsa44", key: mldsa44Key, origin, note: checkpoint },
      { origin: `${origin}2` },
      { note: checkpoint.replace(/\n\d+\n/, "\n7\n") },
      { note: checkpoint.replace(/.{4}(.{4}\n)$/, "AAAA$1") },
      { key: flippedHex(mldsa44Key) },
    );
    for (let position = 0n; position < size; position += 1n) {
      const { envelope, signedBy } = await reader.readAt(position);
      const entry = toHex(entryOf(envelope));
      const { statement, attestations } = decodeEnvelope(envelope);
      const bytes = toHex(statement);
      const signer = toHex(signedBy.publicKey);
      take(
        { kind: "statement", key: signer, bytes },
        { bytes: flippedHex(bytes) },
        { bytes: flippedWithin(bytes, bytes.length - 140) },
        { key },
      );
      for (const attestation of attestations) {
        const own = toHex(parseStatement(attestation).kid);
        const witness = witnessKeys.find(
          (each) => toHex(coseKeyThumbprint(parsePublicKey(fromHex(each)))) === own,
        );
        const attestedBytes = toHex(attestation);
        take(
          { kind: "statement", key: witness, bytes: attestedBytes },
          { bytes: flippedHex(attestedBytes) },
          { key: signer },
        );
        attested += 1;
      }
      const proved = await guest.audit.getInclusionProof({ position, receipt: true });
      const receipt = toHex(proved.receipt);
      take(
        { kind: "receipt", key, origin, entry, bytes: receipt },
        { entry: flippedHex(entry) },
        { bytes: flippedHex(receipt) },
        { bytes: flippedWithin(receipt, receipt.length - 140) },
        { origin: `${origin}2` },
        { key: signer },
      );
      const proof = proved.inclusionProof.map(toHex);
      const placed = { size: Number(size), position: Number(position), root: toHex(root) };
      take(
        { kind: "inclusion", entry, proof, ...placed },
        { entry: flippedHex(entry) },
        { proof: proof.slice(1) },
        { root: flippedHex(toHex(root)) },
      );
      if (position === 0n) continue;
      const old = await guest.audit.getCheckpoint({ size: position });
      const grown = await guest.audit.getConsistencyProof({ oldSize: position });
      take(
        {
          kind: "consistency",
          size: Number(size),
          root: toHex(root),
          oldSize: Number(position),
          oldRoot: toHex(old.root),
          proof: grown.consistencyProof.map(toHex),
        },
        { oldRoot: flippedHex(toHex(old.root)) },
        { root: flippedHex(toHex(root)) },
      );
    }
    expect(attested).to.equal(2);
  });

  after(() => council?.[Symbol.asyncDispose]());

  for (const { name, command, missing, kinds } of verifiers) {
    const title = `in ${name} accept ${kinds.join(", ")} and refuse each with a change`;
    if (missing !== undefined) {
      it(`${title}: ${missing}`, function () {
        this.skip();
      });
      continue;
    }
    it(title, () => {
      const isKnown = ({ kind }: Question): boolean => kinds.some((known) => known === kind);
      const [good, bad] = [questions.filter(isKnown), controls.filter(isKnown)];
      expect(new Set(good.map(({ kind }) => kind))).to.deep.equal(new Set(kinds));
      expect(ask(command, good)).to.deep.equal(good.map(() => "ok"));
      const accepted = ask(command, bad).flatMap((answer, at) => (answer === "ok" ? [bad[at]] : []));
      expect(accepted).to.deep.equal([]);
      expect(bad.length).to.be.above(good.length);
    });
  }
});
