/**
 * Verification in Python (clients/python), which is written from docs/spec and not from the core: its own tests, and
 * both implementations beside each other on golden, changed and fresh files, on attestations and on answers.
 */
import { spawnSync } from "node:child_process";
import { createHash, createPrivateKey, createPublicKey, sign } from "node:crypto";
import { readFileSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { readEvidence, RecordProof, Verdict, type trustV1 } from "@sigil/client";
import { repository, run } from "../../scripts/run.ts";
import {
  concatBytes,
  fromHex,
  parseHash,
  parsePublicKey,
  toHex,
  utf8Encode,
  type PublicKey,
} from "../../src/core/bytes.ts";
import { verifyForeign } from "../../src/core/keys/verify.ts";
import { parsePolicy } from "../../src/core/merkle/policy.ts";
import { attestationToSign, formatAttestationStatement } from "../../src/core/quorum/statement.ts";
import { checkAttested, type CommittedRecord } from "../../src/core/quorum/verifying.ts";
import type { EnrolledWitness } from "../../src/core/quorum/registry.ts";
import { packReader } from "../../src/cli/pack/directory.ts";
import { verifyPack } from "../../src/core/pack/verify.ts";
import { verifyEvidence } from "../../src/core/verify/evidence.ts";
import type { EvidenceTrust } from "../../src/core/verify/grounds.ts";
import { hashOf, origin, proposalId, registryOf, witnessOf } from "../unit/canon/quorum-world.ts";
import { Council, modelWith } from "./council.ts";
import { randomDecisions } from "./random-decisions.ts";

const home = join(repository, "clients/python");
const python = join(repository, "build/python-sdk/bin/python");
const hasPackages = spawnSync(python, ["-c", "import cryptography, pytest"]).status === 0;
const missing = hasPackages
  ? undefined
  : "skipped: no cryptography or pytest: scripts/services.sh install python_sdk";

type Trust = { readonly genesis: string | null; readonly policy: string | null };
type File = Trust & { readonly name: string; readonly bytes: Uint8Array };
type Step = { readonly name: string; readonly outcome: string; readonly detail: string };

type Vectors = {
  readonly genesis: string;
  readonly policy: string;
  readonly accept: readonly { readonly name: string; readonly hex: string }[];
  readonly refuse: readonly (Partial<Trust> & {
    readonly name: string;
    readonly at: number;
    readonly cut: number;
    readonly hex: string;
  })[];
};

type PackVectors = {
  readonly trust: Trust;
  readonly accept: Readonly<Record<string, string>>;
  readonly refuse: readonly {
    readonly what: string;
    readonly files: Readonly<Record<string, string>>;
    readonly trust: Trust;
  }[];
};

const vectors = JSON.parse(
  readFileSync(new URL("../vectors/evidence.json", import.meta.url), "utf8"),
) as Vectors;
const { genesis, policy } = vectors;
const wholes = vectors.accept.map(({ name, hex }) => ({ name, genesis, policy, bytes: fromHex(hex) }));
const first = wholes[0]?.bytes ?? new Uint8Array(0);

const golden: readonly File[] = [
  ...wholes,
  ...vectors.refuse.map(({ name, at, cut, hex, ...trust }) => ({
    name,
    genesis,
    policy,
    ...trust,
    bytes: concatBytes(first.subarray(0, at), fromHex(hex), first.subarray(at + cut)),
  })),
];

/** The same numbers in every run: a splitmix of 32 bits. */
const seeded = (seed: number): ((below: number) => number) => {
  let state = seed;
  return (below) => {
    state = (state + 0x9e37_79b9) | 0;
    let mixed = Math.imul(state ^ (state >>> 16), 0x85eb_ca6b);
    mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2_ae35);
    return ((mixed ^ (mixed >>> 16)) >>> 0) % below;
  };
};

/** Bytes changed, cut out, doubled: what no vector foresees. */
const changedFiles = (count: number): readonly File[] => {
  const below = seeded(16);
  return Array.from({ length: count }, (_, index) => {
    const whole = wholes[below(wholes.length)] ?? expect.fail();
    const at = below(whole.bytes.length);
    const [head, tail] = [whole.bytes.subarray(0, at), whole.bytes.subarray(at)];
    const kinds = [
      () => concatBytes(head, Uint8Array.of((tail[0] ?? 0) ^ (1 + below(255))), tail.subarray(1)),
      () => concatBytes(head, tail.subarray(1 + below(40))),
      () => concatBytes(head, tail.subarray(0, 1 + below(40)), tail),
    ];
    const change = kinds[below(kinds.length)] ?? expect.fail();
    return { ...whole, name: `${whole.name}, change ${index}`, bytes: change() };
  });
};

const trustOf = ({ genesis: hash, policy: terms }: Trust): EvidenceTrust => ({
  genesis: hash === null ? undefined : parseHash(fromHex(hash)),
  policy: terms === null ? undefined : parsePolicy(utf8Encode(terms)),
});

const here = async ({ bytes, ...trust }: File): Promise<readonly Step[]> =>
  (await verifyEvidence(bytes, trustOf(trust), { verify: verifyForeign })).steps;

describe("verification in Python" + (missing === undefined ? "" : ` (${missing})`), function () {
  this.slow(30_000);
  let directory = "";

  before(async function () {
    if (missing !== undefined) this.skip();
    directory = await mkdtemp(join(tmpdir(), "sigil-python-verify-"));
  });
  after(async () => {
    if (directory !== "") await rm(directory, { recursive: true, force: true });
  });

  const env = {
    PYTHONPATH: [join(home, "src"), join(home, "tests")].join(":"),
    PYTHONDONTWRITEBYTECODE: "1",
  };

  type Lying = Trust & { readonly path: string };

  /** The steps of each file or pack; that the command's exit says the same is compared here. */
  const ask = async (lying: readonly Lying[]): Promise<readonly (readonly Step[])[]> => {
    const steps = new Map<string, readonly Step[]>();
    for (const each of new Set(lying.map((one) => JSON.stringify([one.genesis, one.policy])))) {
      const [hash, terms] = JSON.parse(each) as readonly [string | null, string | null];
      const paths = lying
        .filter((one) => one.genesis === hash && one.policy === terms)
        .map(({ path }) => path);
      const policyFile = join(directory, "log.policy");
      if (terms !== null) await writeFile(policyFile, terms);
      const words = [
        ...(hash === null ? [] : ["--genesis", hash]),
        ...(terms === null ? [] : ["--policy", policyFile]),
      ];
      const command = ["-m", "sigil_client.verify", ...paths, ...words, "--json"];
      const done = spawnSync(python, command, { encoding: "utf8", env, maxBuffer: 1 << 28 });
      const lines = done.stdout.trimEnd().split("\n");
      expect(lines, done.stderr).to.have.length(paths.length);
      let worst = 0;
      for (const [at, path] of paths.entries()) {
        const said = JSON.parse(lines[at] ?? "") as {
          readonly verified: boolean;
          readonly steps: readonly Step[];
        };
        const failedAt = said.steps.findIndex(({ outcome }) => outcome === "failed");
        expect(said.verified).to.equal(failedAt < 0);
        worst = Math.max(worst, failedAt < 0 ? 0 : failedAt === 0 ? 2 : 1);
        steps.set(path, said.steps);
      }
      expect(done.status, done.stderr).to.equal(worst);
    }
    return lying.map(({ path }) => steps.get(path) ?? expect.fail());
  };

  const inPython = async (files: readonly File[]): Promise<readonly (readonly Step[])[]> => {
    const folder = await mkdtemp(join(directory, "files-"));
    const lying = files.map((file, index) => ({ ...file, path: join(folder, String(index)) }));
    await Promise.all(lying.map(({ path, bytes }) => writeFile(path, bytes)));
    return ask(lying);
  };

  const expectSame = async (files: readonly File[]): Promise<void> => {
    const found = await inPython(files);
    for (const [index, file] of files.entries()) {
      expect(found[index], file.name).to.deep.equal(await here(file));
    }
  };

  type Asked = Readonly<Record<string, unknown>>;

  const judge = (questions: readonly Asked[]): readonly unknown[] => {
    const input = questions.map((question) => `${JSON.stringify(question)}\n`).join("");
    const done = spawnSync(python, ["-m", "verify.judge"], {
      input,
      encoding: "utf8",
      env,
      maxBuffer: 1 << 26,
    });
    expect(done.status, done.stderr).to.equal(0);
    return done.stdout
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as unknown);
  };

  it("passes its own tests: vectors, planted bugs, attacks", async () => {
    const command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/verify"];
    const { exitCode, output } = await run(command, { cwd: home, env: { PYTHONDONTWRITEBYTECODE: "1" } });
    expect(exitCode, output).to.equal(0);
    expect(Number(/(\d+) passed/.exec(output)?.[1])).to.be.above(1000);
  });

  it("takes the steps that the core takes, with the same words, over every golden file", async () => {
    await expectSame(golden);
  });

  it("and over 1,000 changed files, of which neither takes one", async () => {
    const files = changedFiles(1000);
    await expectSame(files);
    for (const file of files) {
      expect(
        (await here(file)).some(({ outcome }) => outcome === "failed"),
        file.name,
      ).to.equal(true);
    }
  });

  it("and over every golden pack", async () => {
    const { trust, accept, refuse } = JSON.parse(
      readFileSync(new URL("../vectors/pack.json", import.meta.url), "utf8"),
    ) as PackVectors;
    const packs = [{ what: "the whole", files: {}, trust }, ...refuse].map((pack, index) => ({
      ...pack,
      ...pack.trust,
      path: join(directory, `pack-${index}`),
    }));
    for (const { path, files } of packs) {
      await mkdir(path);
      for (const [name, content] of Object.entries({ ...accept, ...files })) {
        await writeFile(join(path, name), name === "proof" ? fromHex(content) : content);
      }
    }
    const found = await ask(packs);
    for (const [index, pack] of packs.entries()) {
      const options = { verify: verifyForeign, onProgress: () => {} };
      const { steps } = await verifyPack(packReader(pack.path), trustOf(pack), options);
      expect(found[index], pack.what).to.deep.equal(steps);
    }
  });

  it("and over fresh files of a server, whose answers it verifies by the proofs in them", async () => {
    await using council = await Council.open();
    const [operator, root] = [council.as("operator"), council.as("root")];
    const text = await readFile(join(council.deployment.directory, "deployment.json"), "utf8");
    const trusted = (JSON.parse(text) as { readonly genesis: string }).genesis;
    const proof = RecordProof.RECORD_PROOF_INCLUSION;
    const requests = [
      { action: "write", target: "user/notes", input: utf8Encode("about notes"), keepInput: true, proof },
      { action: "admin.grant", target: "elsewhere", proof },
      { action: "read", target: "/user//ann/public/notes/", proof },
    ];
    const decisions: trustV1.CheckResponse[] = [];
    for (const request of requests) decisions.push(await operator.trust.check(request));
    await council.approve(
      await council.propose({ id: "trust_model/active", content: modelWith({ bias: 1.25 }) }),
      "ann",
      "ben",
    );
    const files: File[] = [];
    for (const { auditId } of decisions) {
      const bytes = await readEvidence(operator, { auditId });
      files.push({ name: auditId, genesis: trusted, policy: null, bytes });
    }
    await expectSame(files);
    const { records } = await root.keys.listKeyRecords({});
    const keyRecords = records.map(({ ledgerPosition, envelope }) => ({
      position: String(ledgerPosition),
      envelope: toHex(envelope),
    }));
    const questions = decisions.map((decision, index) => ({
      what: "answer",
      genesis: trusted,
      keyRecords,
      action: requests[index]?.action,
      target: requests[index]?.target,
      position: String(decision.ledgerPosition),
      envelope: toHex(decision.proof?.envelope ?? expect.fail()),
      checkpoint: decision.proof?.checkpoint,
      proof: decision.proof?.inclusionProof.map(toHex),
      answer: {
        auditId: decision.auditId,
        verdict: decision.verdict === Verdict.VERDICT_ALLOW ? "allow" : "deny",
        allowed: decision.allowed,
        reason: decision.reason,
        callerSeq: String(decision.callerSeq),
        subject: decision.subject,
      },
    }));
    const verified = judge(questions) as readonly { readonly hash?: string; readonly holds?: boolean }[];
    expect(verified.map(({ holds }) => holds)).to.deep.equal(questions.map(() => true));
    const turned = questions.map((question) => ({
      ...question,
      answer: { ...question.answer, allowed: !question.answer.allowed },
    }));
    for (const said of judge(turned)) expect(said).to.have.property("refused");
    const other = questions.map((question) => ({ ...question, target: "user/other" }));
    for (const said of judge(other)) expect(said).to.have.property("refused");
  });

  it("works random decisions out again to the last bit, and notices one that is off", () => {
    const lines = randomDecisions(3000, 17);
    const outcomes = judge(lines.map(({ decision, model }) => ({ what: "decision", decision, model })));
    expect(outcomes).to.deep.equal(lines.map(({ outcome }) => ({ outcome })));
    expect(new Set(lines.map(({ outcome }) => outcome))).to.deep.equal(new Set(["partial", "different"]));
  });

  it("counts attestations as the core does, whoever made them and under whatever registry", async () => {
    const below = seeded(7);
    const pkcs8 = Buffer.from("302e020100300506032b657004220420", "hex");
    const pairs = Array.from({ length: 6 }, (_, name) => {
      const seed = createHash("sha256").update(`witness ${name}`).digest();
      const privateKey = createPrivateKey({
        key: Buffer.concat([pkcs8, seed]),
        format: "der",
        type: "pkcs8",
      });
      const { x = "" } = createPublicKey(privateKey).export({ format: "jwk" });
      return { privateKey, publicKey: parsePublicKey(Buffer.from(x, "base64url")) };
    });
    const oneOf = <T>(...items: readonly T[]): T => items[below(items.length)] as T;
    const often = <T>(usual: T, other: T): T => (below(8) === 0 ? other : usual);
    const keyOf = (name: number): PublicKey => pairs[name]?.publicKey ?? expect.fail();
    const attestation = (): Uint8Array => {
      const name = below(pairs.length);
      const verdict = often<"approve" | "reject">("approve", "reject");
      const said = {
        proposal: often(proposalId, "proposal/other"),
        record: often(hashOf(50), hashOf(51)),
        epoch: often(3, 2),
        verdict,
      };
      const by = { origin: often(origin, "other.example"), publicKey: keyOf(name) };
      const toSign = attestationToSign(said, by);
      const { privateKey } = pairs[name] ?? expect.fail();
      const bytes = formatAttestationStatement(toSign, sign(null, toSign.message, privateKey));
      if (below(10) === 0) bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
      return often(bytes, bytes.subarray(0, below(bytes.length)));
    };
    const world = (): CommittedRecord => {
      const witnesses: readonly EnrolledWitness[] = Array.from({ length: 1 + below(5) }, (_, name) =>
        witnessOf(name, {
          publicKey: often(keyOf(name), keyOf(0)),
          owner: often(`Owner ${name}`, " OWNER 0"),
          enrolledAt: often(1n, 200n),
        }),
      );
      const one = attestation();
      const attestations = [
        ...Array.from({ length: below(6) }, attestation),
        one,
        ...(below(4) === 0 ? [one] : []),
      ];
      const proposal = {
        id: proposalId,
        position: 100n,
        proposer: oneOf("alice", "w1", "Owner 2 ", "witness/W0"),
      };
      return {
        record: hashOf(50),
        attestations,
        registry: registryOf(below(5), witnesses, { proposerMayAttest: below(3) === 0 }),
        origin,
        ...(below(3) === 0 ? {} : { proposal }),
        enrols: below(3) === 0 ? { witness: "w5", publicKey: keyOf(5) } : null,
      };
    };
    const worlds = Array.from({ length: 400 }, world);
    const answers = judge(
      worlds.map(({ record, attestations, registry, proposal, enrols, ...rest }) => ({
        what: "attested",
        ...rest,
        record: toHex(record),
        attestations: attestations.map(toHex),
        k: registry.k,
        epoch: registry.epoch,
        proposerMayAttest: registry.proposerMayAttest,
        witnesses: [...registry.witnesses.values()].map(({ id, publicKey, owner, enrolledAt }) => ({
          id,
          key: toHex(publicKey),
          owner,
          enrolledAt: String(enrolledAt),
        })),
        proposal: proposal === undefined ? null : { ...proposal, position: String(proposal.position) },
        enrols: enrols && { witness: enrols.witness, key: toHex(enrols.publicKey) },
      })),
    );
    let reached = 0;
    for (const [index, each] of worlds.entries()) {
      const wanted = await checkAttested(each, verifyForeign);
      expect(answers[index], `world ${index}`).to.deep.equal(wanted);
      reached += wanted.reached ? 1 : 0;
    }
    expect(reached).to.be.within(20, 380);
  });
});
