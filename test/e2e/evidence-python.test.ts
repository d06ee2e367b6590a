/** examples/verify.py, with none of Sigil's code, beside our verifier: golden files, and fresh ones of a server. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { KeyRole, readEvidence } from "@sigil/client";
import { repository } from "../../scripts/run.ts";
import {
  badlyProven,
  badlySigned,
  turned,
  withLine,
  withRecord,
  without,
} from "../../scripts/vectors/evidence-changes.ts";
import { concatBytes, fromHex, parseHash, toHex, utf8Encode, type Hash } from "../../src/core/bytes.ts";
import { cborEncode } from "../../src/core/cbor/cbor.ts";
import { newestKey } from "../../src/core/keys/ring.ts";
import { verifyForeign } from "../../src/core/keys/verify.ts";
import { parseNote } from "../../src/core/merkle/note.ts";
import { parsePolicy } from "../../src/core/merkle/policy.ts";
import { formatVerifierKey } from "../../src/core/merkle/vkey.ts";
import { formatEvidence, parseEvidence } from "../../src/core/verify/evidence-file.ts";
import { verifyEvidence } from "../../src/core/verify/evidence.ts";
import { Council, modelWith } from "./council.ts";
import { makeDeployment } from "./deployment.ts";

const python = join(repository, "build/venv/bin/python");
const program = join(repository, "examples/verify.py");
const hasPackages = spawnSync(python, ["-c", "import cryptography, cbor2"]).status === 0;
const whyNot = hasPackages ? "" : " (skipped: no cryptography: scripts/services.sh install python_verifiers)";

type Trust = { readonly genesis?: string | null; readonly policy?: string | null };
type Case = Trust & { readonly name: string; readonly bytes: Uint8Array; readonly step: string | null };

type Vectors = {
  readonly genesis: string;
  readonly policy: string;
  readonly accept: readonly { readonly name: string; readonly hex: string }[];
  readonly refuse: readonly (Trust & {
    readonly name: string;
    readonly step: string;
    readonly at: number;
    readonly cut: number;
    readonly hex: string;
  })[];
};

const golden = (): readonly Case[] => {
  const text = readFileSync(new URL("../vectors/evidence.json", import.meta.url), "utf8");
  const { genesis, policy, accept, refuse } = JSON.parse(text) as Vectors;
  const first = fromHex(accept[0]?.hex ?? "");
  return [
    ...accept.map(({ name, hex }) => ({ name, genesis, policy, bytes: fromHex(hex), step: null })),
    ...refuse.map(({ at, cut, hex, ...rest }) => ({
      genesis,
      policy,
      ...rest,
      bytes: concatBytes(first.subarray(0, at), fromHex(hex), first.subarray(at + cut)),
    })),
  ];
};

describe(`an evidence verifier that is not Sigil's${whyNot}`, function () {
  this.slow(20_000);
  this.timeout(120_000);
  let directory = "";

  before(async function () {
    if (!hasPackages) this.skip();
    directory = await mkdtemp(join(tmpdir(), "sigil-verify-py-"));
  });
  after(async () => {
    if (directory !== "") await rm(directory, { recursive: true, force: true });
  });

  /** @returns the step that refuses the file, null if it holds. */
  const inPython = async ({ bytes, genesis, policy }: Case): Promise<string | null> => {
    const [file, terms] = [join(directory, "file.sigil"), join(directory, "log.policy")];
    await writeFile(file, bytes);
    await writeFile(terms, policy ?? "");
    const words = [
      file,
      ...(typeof genesis === "string" ? ["--genesis", genesis] : []),
      ...(typeof policy === "string" ? ["--policy", terms] : []),
    ];
    const { stdout, stderr, status } = spawnSync(python, [program, ...words], { encoding: "utf8" });
    const step = /^refused by (\w+): /m.exec(stdout)?.[1] ?? null;
    expect(status, stdout + stderr).to.equal(step === null ? 0 : step === "file" ? 2 : 1);
    return step;
  };

  const here = async ({ bytes, genesis, policy }: Case): Promise<string | null> => {
    const trust = {
      ...(typeof genesis === "string" ? { genesis: parseHash(fromHex(genesis)) } : {}),
      ...(typeof policy === "string" ? { policy: parsePolicy(utf8Encode(policy)) } : {}),
    };
    const { steps } = await verifyEvidence(bytes, trust, { verify: verifyForeign });
    return steps.find(({ outcome }) => outcome === "failed")?.name ?? null;
  };

  const expectBoth = async (each: Case): Promise<void> => {
    expect([await inPython(each), await here(each)], each.name).to.deep.equal([each.step, each.step]);
  };

  it("has fewer than 150 lines", () => {
    expect(readFileSync(program, "utf8").trimEnd().split("\n").length).to.be.below(150);
  });

  it("finds of every golden file what docs/spec/verify.md says", async () => {
    for (const each of golden()) await expectBoth(each);
  });

  it("takes fresh files of a server, and refuses each change by the step that is there for it", async () => {
    await using council = await Council.open();
    const [operator, root] = [council.as("operator"), council.as("root")];
    const text = await readFile(join(council.deployment.directory, "deployment.json"), "utf8");
    const { genesis } = JSON.parse(text) as { readonly genesis: string };
    const check = async (action: string, target: string, keepInput: boolean): Promise<string> => {
      const input = utf8Encode(`about ${target}`);
      return (await operator.trust.check({ action, target, input, keepInput })).auditId;
    };
    const ids = [await check("write", "user/notes", true), await check("admin.grant", "elsewhere", false)];
    await root.keys.rotateKey({ role: KeyRole.KEY_ROLE_RECORD });
    await root.keys.rotateKey({ role: KeyRole.KEY_ROLE_CHECKPOINT });
    const proposed = await council.propose({ id: "trust_model/active", content: modelWith({ bias: 1.25 }) });
    await council.approve(proposed, "ann", "ben");
    ids.push(await check("read", "user/ann/public/notes", true), await check("tool.shell", "secret/a", true));
    const files = await Promise.all(ids.map((auditId) => readEvidence(operator, { auditId })));
    const { reader } = council.served.server.ledger;
    const hashes: Hash[] = [];
    for (let at = 0n; at < reader.size; at += 1n) hashes.push((await reader.readAt(at)).hash);
    for (const hash of hashes) files.push(await readEvidence(root, { hash }));
    const vkeyOf = (role: "record" | "checkpoint"): string => {
      const publicKey = newestKey(reader.ring, role)?.publicKey;
      if (publicKey === undefined) throw new Error(`there is no ${role} key`);
      return formatVerifierKey({ name: reader.origin, use: "log", publicKey });
    };
    const policy = `log ${vkeyOf("checkpoint")}\nquorum none\n`;
    for (const [index, bytes] of files.entries()) {
      await expectBoth({ name: `file ${index}`, bytes, genesis, policy, step: null });
    }
    const [bytes = new Uint8Array(0)] = files;
    const good = parseEvidence(bytes);
    const findings = (await verifyEvidence(bytes, {}, { verify: verifyForeign })).findings;
    const modelAt = findings.model?.position ?? 0n;
    const keyAt = good.records.find(({ position }) => position > good.position)?.position ?? 0n;
    const table: readonly (Partial<Case> & { readonly step: string })[] = [
      { step: "file", bytes: bytes.subarray(1) },
      { step: "genesis", genesis: toHex(new Uint8Array(32)) },
      { step: "keys", bytes: formatEvidence(withRecord(good, keyAt, badlySigned)) },
      { step: "signature", bytes: formatEvidence(withRecord(good, good.position, badlySigned)) },
      { step: "record", bytes: formatEvidence(without(good, modelAt)) },
      { step: "disclosures", bytes: formatEvidence({ ...good, disclosures: cborEncode({}) }) },
      { step: "inclusion", bytes: formatEvidence(withRecord(good, good.position, badlyProven)) },
      { step: "checkpoint", bytes: formatEvidence(withLine(good, 0, turned)) },
      { step: "policy", policy: `log ${vkeyOf("record")}\nquorum none\n` },
      { step: "trust", genesis: null, policy: null },
    ];
    for (const change of table) {
      await expectBoth({ name: change.step, bytes, genesis, policy, ...change });
    }
  });

  it("walks over keys of ML-DSA-44, and leaves their lines aside, right and wrong, which the core does not", async () => {
    await using deployment = await makeDeployment();
    const text = await readFile(join(deployment.directory, "deployment.json"), "utf8");
    const { genesis } = JSON.parse(text) as { readonly genesis: string };
    await using served = await deployment.serve({ config: { checkpoint_mldsa44: true } });
    const [operator, root] = [served.as("operator"), served.as("root")];
    await root.keys.rotateKey({ role: KeyRole.KEY_ROLE_CHECKPOINT_MLDSA44 });
    const { auditId } = await operator.trust.check({ action: "read", target: "user/notes" });
    const { keys } = await root.keys.listKeys({});
    const { thumbprint, firstPosition } = keys.find((key) => key.lastPosition !== undefined) ?? expect.fail();
    await root.keys.retireKey({ thumbprint, fromPosition: firstPosition + 1n });
    const bytes = await readEvidence(operator, { auditId });
    const evidence = parseEvidence(bytes);
    expect(parseNote(evidence.checkpoint).signatures).to.have.length(2);
    await expectBoth({ name: "both lines", bytes, genesis, policy: null, step: null });
    const wrong = { name: "a wrong line", bytes: formatEvidence(withLine(evidence, 1, turned)), genesis };
    expect([
      await inPython({ ...wrong, policy: null, step: null }),
      await here({ ...wrong, policy: null, step: null }),
    ]).to.deep.equal([null, "checkpoint"]);
  });
});
