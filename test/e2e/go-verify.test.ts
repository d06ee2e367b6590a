/**
 * The Go module's verification beside ours: its own tests, which run the same vectors; the bugs planted in it; and its
 * command on golden files and fresh ones of a server, step by step.
 */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { KeyRole, readEvidence } from "@sigil/client";
import { repository } from "../../scripts/run.ts";
import { badlyProven, badlySigned, withRecord, without } from "../../scripts/vectors/evidence-changes.ts";
import { concatBytes, fromHex, parseHash, utf8Encode } from "../../src/core/bytes.ts";
import { verifyForeign } from "../../src/core/keys/verify.ts";
import { parsePolicy } from "../../src/core/merkle/policy.ts";
import { formatEvidence, parseEvidence } from "../../src/core/verify/evidence-file.ts";
import { verifyEvidence, type EvidenceVerdict } from "../../src/core/verify/evidence.ts";
import { Council } from "./council.ts";
import { randomDecisions } from "./random-decisions.ts";

const goModule = join(repository, "clients/go");

const go = (words: readonly string[], env: Readonly<Record<string, string>> = {}) =>
  spawnSync("go", words, {
    cwd: goModule,
    encoding: "utf8",
    maxBuffer: 1 << 26,
    env: { ...process.env, ...env },
  });

/** Undefined if the tests can run. Modules are not downloaded here: what is missing is said. */
const missing = ((): string | undefined => {
  if (go(["version"]).status !== 0) return "skipped: no Go";
  const packages = ["./verify/...", "./cmd/sigil-verify"];
  return go(["vet", ...packages], { GOPROXY: "off" }).status === 0
    ? undefined
    : "skipped: the Go module's dependencies are not there: (cd clients/go && go mod download)";
})();

type Trust = { readonly genesis?: string | null; readonly policy?: string | null };
type Case = Trust & { readonly name: string; readonly bytes: Uint8Array };

type Vectors = {
  readonly genesis: string;
  readonly policy: string;
  readonly accept: readonly { readonly name: string; readonly hex: string }[];
  readonly refuse: readonly (Trust & {
    readonly name: string;
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
    ...accept.map(({ name, hex }) => ({ name, genesis, policy, bytes: fromHex(hex) })),
    ...refuse.map(({ at, cut, hex, ...rest }) => ({
      genesis,
      policy,
      ...rest,
      bytes: concatBytes(first.subarray(0, at), fromHex(hex), first.subarray(at + cut)),
    })),
  ];
};

type Steps = readonly { readonly name: string; readonly outcome: string; readonly detail: string }[];
type Printed = { readonly verified: boolean; readonly steps: Steps; readonly replay?: unknown };

/** Details of what failed are sentences of each implementation; what passed is said in the same words. */
const compared = (verified: boolean, steps: Steps): unknown => ({
  verified,
  steps: steps.map(({ name, outcome, detail }) => [name, outcome, outcome === "failed" ? "" : detail]),
});

const exitOf = ({ holds, steps }: EvidenceVerdict): number =>
  holds ? 0 : steps[0]?.outcome === "failed" ? 2 : 1;

describe(`the Go module's verification${missing === undefined ? "" : ` (${missing})`}`, function () {
  this.slow(60_000);
  let directory = "";
  let program = "";

  before(async function () {
    if (missing !== undefined) this.skip();
    directory = await mkdtemp(join(tmpdir(), "sigil-verify-go-"));
    program = join(directory, "sigil-verify");
    const { status, stderr } = go(["build", "-o", program, "./cmd/sigil-verify"]);
    expect(status, stderr).to.equal(0);
  });
  after(async () => {
    if (directory !== "") await rm(directory, { recursive: true, force: true });
  });

  it("passes its own tests, none of them skipped for want of a vector", () => {
    const { status, stdout, stderr } = go([
      "test",
      "-short",
      "-count=1",
      "-v",
      "./verify/...",
      "./cmd/sigil-verify",
    ]);
    expect(status, `${stdout.slice(-4000)}${stderr}`).to.equal(0);
    const skipped = stdout
      .split("\n")
      .filter((line) => line.includes("skipped: ") && !line.includes("-short"));
    expect(skipped).to.deep.equal([]);
    for (const name of ["TestVectorsOfValues", "TestVectorsOfBrokenEncodings", "TestEvidenceVectorsRefuse"])
      expect(stdout).to.include(`--- PASS: ${name} `);
  });

  it("notices a bug planted for each rule of canonical CBOR, and what a compiler may fuse", () => {
    const { status, stdout, stderr } = go([
      "test",
      "-count=1",
      "-v",
      "-run",
      "Planted|Fused",
      "./verify/cbor",
      "./verify/model",
    ]);
    expect(status, `${stdout.slice(-4000)}${stderr}`).to.equal(0);
    expect(stdout).to.include("--- PASS: TestPlantedBugsAreNoticed ");
    expect(stdout).to.include("--- PASS: TestNoFusedMultiplyAdd ");
  });

  it("works out 3,000 decisions of random models again, to the last bit of z", async () => {
    const path = join(directory, "decisions.jsonl");
    const lines = randomDecisions(3000, 16).map((line) => `${JSON.stringify(line)}\n`);
    await writeFile(path, lines.join(""));
    const words = ["test", "-count=1", "-v", "-run", "^TestDecisionsOfAFile$", "./verify/model"];
    const { status, stdout, stderr } = go(words, { SIGIL_DECISIONS_FILE: path });
    expect(status, `${stdout.slice(-4000)}${stderr}`).to.equal(0);
    expect(stdout).to.include("--- PASS: TestDecisionsOfAFile ");
  });

  it("has no import of gRPC or Protocol Buffers", () => {
    const { status, stdout } = go(["list", "-deps", "./verify/...", "./cmd/sigil-verify"]);
    expect(status).to.equal(0);
    const imports = stdout.split("\n");
    expect(imports).to.include("sigil.example/go/verify/cbor");
    expect(imports.filter((name) => /grpc|protobuf|genproto|^net(\/|$)/.test(name))).to.deep.equal([]);
  });

  const expectBoth = async ({ name, bytes, genesis, policy }: Case): Promise<void> => {
    const [file, terms] = [join(directory, "file.sigil"), join(directory, "log.policy")];
    await writeFile(file, bytes);
    await writeFile(terms, policy ?? "");
    const words = [
      file,
      "-json",
      ...(typeof genesis === "string" ? ["-genesis", genesis] : []),
      ...(typeof policy === "string" ? ["-policy", terms] : []),
    ];
    const { stdout, stderr, status } = spawnSync(program, words, { encoding: "utf8" });
    const printed = JSON.parse(stdout === "" ? "{}" : stdout) as Printed;
    const trust = {
      ...(typeof genesis === "string" ? { genesis: parseHash(fromHex(genesis)) } : {}),
      ...(typeof policy === "string" ? { policy: parsePolicy(utf8Encode(policy)) } : {}),
    };
    const verdict = await verifyEvidence(bytes, trust, { verify: verifyForeign });
    expect(compared(printed.verified, printed.steps), name + stderr).to.deep.equal(
      compared(verdict.holds, verdict.steps),
    );
    expect(status, name).to.equal(exitOf(verdict));
    if (verdict.holds) expect(printed.replay, name).to.deep.equal(verdict.findings.replay);
  };

  it("finds of every golden file what ours finds, in the same words", async () => {
    for (const each of golden()) await expectBoth(each);
  });

  it("finds of fresh files of a server, whole and changed, what ours finds", async () => {
    await using council = await Council.open({}, { config: { checkpoint_mldsa44: true } });
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
    await council.approve(await council.proposeAny(), "ann", "ben");
    ids.push(await check("read", "user/ann/public/notes", true), await check("tool.shell", "secret/a", true));
    const files = await Promise.all(ids.map((auditId) => readEvidence(operator, { auditId })));
    const { reader } = council.served.server.ledger;
    for (let at = 0n; at < reader.size; at += 1n)
      files.push(await readEvidence(root, { hash: (await reader.readAt(at)).hash }));
    for (const [index, bytes] of files.entries()) await expectBoth({ name: `file ${index}`, bytes, genesis });
    const [bytes = new Uint8Array(0)] = files;
    const good = parseEvidence(bytes);
    const modelAt = (await verifyEvidence(bytes, {}, { verify: verifyForeign })).findings.model?.position;
    for (const changed of [
      bytes.subarray(1),
      formatEvidence(withRecord(good, good.position, badlySigned)),
      formatEvidence(withRecord(good, good.position, badlyProven)),
      formatEvidence(without(good, modelAt ?? 0n)),
    ])
      await expectBoth({ name: "changed", bytes: changed, genesis });
  });
});
