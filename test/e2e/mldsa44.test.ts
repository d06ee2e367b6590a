/**
 * A server that signs checkpoints by ML-DSA-44 as well: which of its answers have that line, who accepts them, over a
 * restart, rotations and turning it off; and that without the option nothing is there.
 */
import { generateKeyPairSync, sign } from "node:crypto";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { afterEach, beforeEach, describe, it } from "mocha";
import { KeyRole, readEvidence, walkKeys, type KeyWalk } from "@sigil/client";
import { fromHex, parseHash, parseMldsa44PublicKey, toHex, type Hash } from "../../src/core/bytes.ts";
import { newestKey } from "../../src/core/keys/ring.ts";
import { verifyForeign } from "../../src/core/keys/verify.ts";
import { formatNote, parseNote, signSubtree, subtreeLines } from "../../src/core/merkle/index.ts";
import { formatEvidence, parseEvidence } from "../../src/core/verify/evidence-file.ts";
import { verifyEvidence } from "../../src/core/verify/evidence.ts";
import { createMldsa44Signer } from "../../src/crypto/signing/sign.ts";
import { sigilHere } from "./command.ts";
import { makeDeployment, origin, type Deployment, type ServedDeployment } from "./deployment.ts";
import { refusalOf } from "./refusal.ts";

const role = KeyRole.KEY_ROLE_CHECKPOINT_MLDSA44;
const config = { checkpoint_mldsa44: true, tiles: "public", tiles_interval_ms: 0 } as const;

/** With another signature in its last line. */
const broken = (note: string): string => note.replace(/.{4}(.{4}\n)$/, "AAAA$1");

describe("checkpoints under ML-DSA-44", function () {
  this.slow(10_000);
  let deployment: Deployment;
  let served: ServedDeployment;
  let genesis: Hash;

  const serve = async (more: object = config): Promise<void> => {
    served = await deployment.serve({ config: more });
  };
  const again = async (more: object = config): Promise<void> => {
    await served[Symbol.asyncDispose]();
    await serve(more);
  };
  const decide = async (): Promise<string> =>
    (await served.as("operator").trust.check({ action: "read", target: "user/notes" })).auditId;
  const walk = (): Promise<KeyWalk> => walkKeys(served.as("guest"), genesis);
  const file = (auditId: string): Promise<Uint8Array> => readEvidence(served.as("operator"), { auditId });
  const verdictOn = async (bytes: Uint8Array) => {
    const { holds, steps } = await verifyEvidence(bytes, { genesis }, { verify: verifyForeign });
    const step = steps.find(({ name }) => name === "checkpoint");
    return { holds, outcome: step?.outcome, detail: step?.detail ?? "" };
  };

  /** How many lines of the ML-DSA-44 key of its size a checkpoint has; the walk verifies all lines. */
  const linesIn = async (checkpoint: string): Promise<number> => {
    const walked = await walk();
    const { size } = await walked.verifyCheckpoint(checkpoint);
    const key = walked.keys.find(
      ({ role: held, firstPosition, lastPosition }) =>
        held === "checkpoint_mldsa44" &&
        firstPosition < size &&
        (lastPosition === null || size <= lastPosition + 1n),
    );
    if (key === undefined) return 0;
    return subtreeLines(parseNote(checkpoint), origin, parseMldsa44PublicKey(key.publicKey)).length;
  };

  beforeEach(async () => {
    deployment = await makeDeployment();
    const text = await readFile(join(deployment.directory, "deployment.json"), "utf8");
    genesis = parseHash(fromHex((JSON.parse(text) as { readonly genesis: string }).genesis));
    await serve();
  });
  afterEach(async () => {
    await served[Symbol.asyncDispose]();
    await deployment[Symbol.asyncDispose]();
  });

  it("bear both lines in every answer that is a proof, and one in those of a commit", async () => {
    const auditId = await decide();
    await decide();
    const { audit } = served.as("operator");
    const { size } = await audit.getCheckpoint({});
    const proofs = {
      newest: (await audit.getCheckpoint({})).checkpoint,
      exact: (await audit.getCheckpoint({ size: size - 1n })).checkpoint,
      reaching: (await audit.getCheckpoint({ atLeast: size - 1n })).checkpoint,
      inclusion: (await audit.getInclusionProof({ auditId })).checkpoint,
      consistency: (await audit.getConsistencyProof({ oldSize: 3n })).checkpoint,
      completeness: (await audit.proveCompleteness({ principal: "operator" })).checkpoint,
      evidence: parseEvidence(await file(auditId)).checkpoint,
      tile: new TextDecoder().decode((await audit.getTile({ path: "checkpoint" })).content),
    };
    for (const [name, checkpoint] of Object.entries(proofs)) {
      expect(await linesIn(checkpoint), name).to.equal(1);
      expect(parseNote(checkpoint).signatures, name).to.have.length(2);
      const refused = await linesIn(broken(checkpoint)).then(
        () => "accepted",
        (error: Error) => error.message,
      );
      expect(refused, name).to.match(/ML-DSA-44 signature must verify/);
    }
    const { checkpoint } = await audit.verifyFrozenChain({ auditId });
    expect(parseNote(checkpoint).signatures).to.have.length(1);
    expect(await linesIn(checkpoint)).to.equal(0);
  });

  it("hold in evidence offline, and a wrong line is refused by the step that is for it", async () => {
    const bytes = await file(await decide());
    const good = await verdictOn(bytes);
    expect(good).to.include({ holds: true, outcome: "passed" });
    expect(good.detail).to.match(/by ML-DSA-44 as well$/);
    const evidence = parseEvidence(bytes);
    const { text, signatures } = parseNote(evidence.checkpoint);
    const changed = (checkpoint: string) => verdictOn(formatEvidence({ ...evidence, checkpoint }));
    expect(await changed(broken(evidence.checkpoint))).to.deep.equal({
      holds: false,
      outcome: "failed",
      detail: "malformed checkpoint: the ML-DSA-44 signature must verify",
    });
    // A stranger's line is nobody's, and one that was taken away is not missed.
    const stranger = createMldsa44Signer(generateKeyPairSync("ml-dsa-44").privateKey);
    const other = await signSubtree({ origin, size: 1n, root: genesis }, stranger);
    const [ed25519] = signatures;
    if (ed25519 === undefined) throw new Error("there is no line");
    for (const lines of [[ed25519], [ed25519, other]]) {
      const verdict = await changed(formatNote({ text, signatures: lines }));
      expect(verdict).to.include({ holds: true });
      expect(verdict.detail).to.not.match(/ML-DSA/);
    }
  });

  it("keep their key over a restart, and pass it on by the command for every role", async () => {
    const early = await file(await decide());
    const listed = async () =>
      (await served.as("root").keys.listKeys({})).keys.filter((key) => key.role === role);
    const [first] = await listed();
    expect(first?.publicKey).to.have.length(1312);
    await again();
    expect(await listed()).to.deep.equal([first]);
    const { keys } = served.as("root");
    const { key: next } = await keys.rotateKey({
      role,
      expectedThumbprint: first?.thumbprint ?? new Uint8Array(0),
    });
    const stale = await refusalOf(
      keys.rotateKey({ role, expectedThumbprint: first?.thumbprint ?? new Uint8Array(0) }),
    );
    expect([stale.codeName, stale.reason]).to.deep.equal(["ABORTED", "KEY_REPLACED"]);
    const auditId = await decide();
    await again();
    const late = await file(auditId);
    for (const bytes of [early, late]) {
      const verdict = await verdictOn(bytes);
      expect(verdict).to.include({ holds: true });
      expect(verdict.detail).to.match(/by ML-DSA-44 as well$/);
    }
    const walked = (await walk()).keys.filter((key) => key.role === "checkpoint_mldsa44");
    expect(walked.map(({ thumbprint, state }) => [toHex(thumbprint), state])).to.deep.equal([
      [toHex(first?.thumbprint ?? new Uint8Array(0)), "ended"],
      [toHex(next?.thumbprint ?? new Uint8Array(0)), "active"],
    ]);
    const files = await readdir(join(deployment.directory, "keys"));
    expect(files.filter((name) => name.startsWith("checkpoint_")).toSorted()).to.deep.equal([
      "checkpoint_mldsa44-2.json",
    ]);
    const { key: retired } = await served
      .as("root")
      .keys.retireKey({ thumbprint: next?.thumbprint ?? new Uint8Array(0) });
    expect(retired).to.include({ role, state: 3 });
    expect((await verdictOn(await file(await decide()))).detail).to.match(/by ML-DSA-44 as well$/);
  });

  it("have their key in a backup, and go on with it where that is restored", async () => {
    const bytes = await file(await decide());
    const cwd = await mkdtemp(join(tmpdir(), "sigil-mldsa44-"));
    try {
      const pem = deployment.privateKeys.root.export({ format: "pem", type: "pkcs8" });
      await writeFile(join(cwd, "root.pem"), pem, { mode: 0o600 });
      const { target } = served.server;
      const asRoot = ["--key", "root.pem", "--principal", "root", "--server", target];
      for (const words of [
        ["backup", "--to", "backup", ...asRoot],
        ["restore", "--from", "backup", "--data", "restored"],
        ["fsck", "--data", "restored"],
      ]) {
        const { exitCode, problems } = await sigilHere(words, { cwd });
        expect(exitCode, problems).to.equal(0);
      }
      const { ring } = served.server.ledger.reader;
      await served[Symbol.asyncDispose]();
      served = await deployment.serve({ config: { ...config, data: join(cwd, "restored") } });
      const held = newestKey(served.server.ledger.reader.ring, "checkpoint_mldsa44");
      expect(held).to.deep.equal(newestKey(ring, "checkpoint_mldsa44"));
      expect((await verdictOn(await file(await decide()))).detail).to.match(/by ML-DSA-44 as well$/);
      expect(await verdictOn(bytes)).to.include({ holds: true });
      await again();
    } finally {
      await rm(cwd, { recursive: true });
    }
  });

  it("lose the line where the option is turned off, and what was given before holds on", async () => {
    const auditId = await decide();
    const before = await file(auditId);
    await again({});
    const after = await file(auditId);
    expect((await verdictOn(before)).detail).to.match(/by ML-DSA-44 as well$/);
    expect(await verdictOn(after)).to.include({ holds: true });
    expect((await verdictOn(after)).detail).to.not.match(/ML-DSA/);
    await again();
    expect((await verdictOn(await file(auditId))).detail).to.match(/by ML-DSA-44 as well$/);
  });

  it("are signed beside the event loop, which has a small part of the work that signing on it would be", async () => {
    const { privateKey } = generateKeyPairSync("ml-dsa-44");
    const signer = createMldsa44Signer(privateKey);
    const message = new Uint8Array(150);
    const signatures = Array.from({ length: 200 });
    // Processor time of this thread alone, however busy the machine is.
    const usedUs = (since: NodeJS.CpuUsage): number => {
      const { user, system } = process.threadCpuUsage(since);
      return user + system;
    };
    await signer.sign(message);
    const before = process.threadCpuUsage();
    await Promise.all(signatures.map(() => signer.sign(message)));
    const besideUs = usedUs(before);
    const blocked = process.threadCpuUsage();
    for (const _ of signatures) sign(null, message, privateKey);
    expect(besideUs).to.be.below(usedUs(blocked) / 2);
  });
});

describe("a deployment without ML-DSA-44", () => {
  it("has no such key, makes none, and gives the checkpoints that its commits made", async () => {
    await using deployment = await makeDeployment();
    await using served = await deployment.serve();
    await served.as("operator").trust.check({ action: "read", target: "user/notes" });
    const refused = await refusalOf(served.as("root").keys.rotateKey({ role }));
    expect(refused.codeName).to.equal("NOT_FOUND");
    const { reader } = served.server.ledger;
    expect((await served.as("guest").audit.getCheckpoint({})).checkpoint).to.equal(reader.tree.checkpoint);
    expect(reader.ring.entries.map((entry) => entry.role)).to.deep.equal(["record", "checkpoint"]);
    const files = (await readdir(join(deployment.directory, "keys"))).toSorted();
    expect(files).to.deep.equal(["checkpoint-1.json", "data", "record-1.json"]);
  });
});
