/**
 * Checkpoints that witnesses cosign: a server asks those of its policy, publishes what a quorum signed, counts no
 * answer that does not verify, and refuses to start where they saw another past.
 */
import { cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { afterEach, beforeEach, describe, it } from "mocha";
import { readEvidence } from "@sigil/client";
import { verifyForeign } from "../../src/core/keys/verify.ts";
import { formatVerifierKey, parseNote, parsePolicy, verifyByPolicy } from "../../src/core/merkle/index.ts";
import { toHex, utf8Encode } from "../../src/core/bytes.ts";
import { sha256 } from "../../src/core/hash.ts";
import { parseEvidence } from "../../src/core/verify/evidence-file.ts";
import { verifyEvidence } from "../../src/core/verify/evidence.ts";
import { SigilFault } from "../../src/errors.ts";
import { sigilHere } from "./command.ts";
import { makeDeployment, type Deployment, type ServedDeployment } from "./deployment.ts";
import { liesOf, logKeyOf, Place, startLiar, until, type Liar } from "./log-witnesses.ts";
import { refusalOf } from "./refusal.ts";

describe("checkpoints that witnesses cosign", function () {
  this.slow(10_000);
  let [directory, policyPath] = ["", ""];
  let deployment: Deployment;
  let served: ServedDeployment;
  let places: readonly Place[];
  const liars: Liar[] = [];

  const policyText = (lines: readonly string[], least: string): string =>
    `${[...lines, `group both ${least} w1 w2`, "quorum both"].join("\n")}\n`;
  const writePolicy = async (lines: readonly string[], least = "all"): Promise<void> =>
    writeFile(policyPath, policyText(lines, least));
  const linesOf = (each: readonly Place[]): readonly string[] =>
    each.map(({ vkey, url }, index) => `witness w${index + 1} ${vkey} ${url}/`);
  const config = () => ({ witness_policy: policyPath, witness_interval_ms: 20 });
  const serve = async (more: Readonly<Record<string, unknown>> = {}): Promise<void> => {
    served = await deployment.serve({ config: { ...config(), ...more } });
  };
  const decide = () => served.as("operator").trust.check({ action: "read", target: "user/notes" });
  const cosigned = (atLeast = 0n) => served.as("guest").audit.getCheckpoint({ cosigned: true, atLeast });
  const size = (): bigint => served.server.ledger.reader.size;
  const untilCosigned = (atLeast: bigint): Promise<void> =>
    until(async () =>
      cosigned(atLeast).then(
        () => true,
        () => false,
      ),
    );
  const operator = async (path: string): Promise<string> =>
    (await fetch(`${served.server.operatorUrl}${path}`)).text();

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "sigil-cosigned-"));
    policyPath = join(directory, "policy");
    deployment = await makeDeployment();
    served = await deployment.serve();
    places = [new Place("witness.example/w1"), new Place("witness.example/w2")];
    for (const place of places) await place.start(served.server.ledger.reader);
    await served[Symbol.asyncDispose]();
    await writePolicy(linesOf(places));
  });
  afterEach(async () => {
    await served[Symbol.asyncDispose]();
    for (const place of places) await place.stop();
    for (const liar of liars.splice(0)) await liar.close();
    await deployment[Symbol.asyncDispose]();
    await rm(directory, { recursive: true, force: true });
  });

  it("stand in evidence files, which a policy then vouches for", async () => {
    await serve();
    const operator = served.as("operator");
    const { auditId } = await decide();
    await untilCosigned(size());
    const file = await readEvidence(operator, { auditId });
    const { checkpoint, size: said } = await cosigned();
    const log = logKeyOf(served.server.ledger.reader);
    const policy = (least: string) =>
      parsePolicy(utf8Encode(policyText([`log ${log}`, ...linesOf(places)], least)));
    const verdict = await verifyEvidence(file, { policy: policy("all") }, { verify: verifyForeign });
    expect(verdict.holds, JSON.stringify(verdict.steps)).to.equal(true);
    expect(verdict.findings.cosigned).to.deep.equal(["witness.example/w1", "witness.example/w2"]);
    expect(verdict.findings.checkpoint?.size).to.equal(said);
    expect(parseEvidence(file).checkpoint).to.equal(checkpoint);
    // Another that is not cosigned yet has the log's signature alone, and is refused by the policy.
    for (const place of places) await place.stop();
    const later = await decide();
    const bare = await readEvidence(operator, { auditId: later.auditId });
    const refused = await verifyEvidence(bare, { policy: policy("all") }, { verify: verifyForeign });
    expect(refused.steps.find(({ outcome }) => outcome === "failed")?.name).to.equal("policy");
    const asked = await refusalOf(readEvidence(operator, { auditId: later.auditId, cosigned: true }));
    expect(asked.codeName).to.equal("UNAVAILABLE");
  });

  it("stand in evidence packs, which wait for them, and which a policy then vouches for", async () => {
    await serve({ tiles_interval_ms: 0 });
    await decide();
    const pem = deployment.privateKeys.operator.export({ type: "pkcs8", format: "pem" });
    await writeFile(join(directory, "operator.pem"), pem, { mode: 0o600 });
    const options = { cwd: directory, env: { SIGIL_CLIENT_SERVER: served.server.target } };
    const as = ["--key", "operator.pem", "--principal", "operator"];
    const made = await sigilHere(["audit", "export", "--out", "pack", ...as], options);
    expect(made.exitCode, made.problems).to.be.oneOf([0, 1]);
    const { publicKey } = await served.as("guest").audit.getCheckpoint({});
    const log = formatVerifierKey({
      name: served.server.ledger.reader.origin,
      use: "log",
      publicKey: publicKey as never,
    });
    await writeFile(join(directory, "verify.policy"), policyText([`log ${log}`, ...linesOf(places)], "all"));
    const verified = await sigilHere(["verify", "pack", "--policy", "verify.policy", "--json"], options);
    expect(verified.exitCode, verified.output).to.equal(0);
    expect((JSON.parse(verified.output) as { readonly cosigned: readonly string[] }).cosigned).to.deep.equal([
      "witness.example/w1",
      "witness.example/w2",
    ]);
  });

  it("are given with the signatures that the policy asks for, and move as the ledger grows", async () => {
    await serve();
    const key = logKeyOf(served.server.ledger.reader);
    const policy = parsePolicy(utf8Encode(policyText([`log ${key}`, ...linesOf(places)], "all")));
    for (let round = 0; round < 4; round += 1) {
      await decide();
      await untilCosigned(size());
      const { checkpoint, size: said } = await cosigned(size());
      const vouched = await verifyByPolicy(checkpoint, policy, verifyForeign);
      expect(vouched.checkpoint.size).to.equal(said);
      expect(vouched.cosigned.map(({ name }) => name)).to.deep.equal(places.map(({ name }) => name));
    }
    expect((await refusalOf(cosigned(size() + 1n))).codeName).to.equal("OUT_OF_RANGE");
    expect(await operator("/readyz")).to.equal("ready\n");
    expect(await operator("/metrics")).to.match(/sigil_witness_answering\{witness="w1"\} 1/);
  });

  it("stay where they are while a witness is away, which readiness and metrics say, and go on after", async () => {
    await serve();
    await untilCosigned(size());
    const before = (await cosigned()).size;
    await places[1]?.stop();
    await decide();
    await until(async () => (await operator("/readyz")).includes("witnesses that do not answer: w2"));
    const refused = await refusalOf(cosigned(size()));
    expect([refused.codeName, refused.reason]).to.deep.equal(["UNAVAILABLE", "NOT_SERVING"]);
    expect((await cosigned()).size).to.equal(before);
    expect(await operator("/metrics")).to.match(/sigil_witness_failures_total\{witness="w2"\} [1-9]/);
    await places[1]?.start(served.server.ledger.reader);
    await untilCosigned(size());
    expect(await operator("/readyz")).to.equal("ready\n");
  });

  it("gain the line of a witness that answers late, though the ledger does not grow", async () => {
    await writePolicy(linesOf(places), "any");
    await places[1]?.stop();
    await serve();
    await untilCosigned(size());
    const [grown, lines] = [size(), async () => parseNote((await cosigned()).checkpoint).signatures];
    expect(await lines()).to.have.length(2);
    expect(await operator("/readyz")).to.include("witnesses that do not answer: w2");
    await places[1]?.start(served.server.ledger.reader);
    await until(async () => (await lines()).length === 3);
    expect((await lines()).slice(1).map(({ name }) => name)).to.deep.equal(places.map(({ name }) => name));
    expect([await operator("/readyz"), size()]).to.deep.equal(["ready\n", grown]);
  });

  it("count no answer that does not verify over them", async () => {
    const [honest] = places;
    const other = new Place("witness.example/w2");
    const lies = liesOf(other, honest?.name ?? "");
    let told = 0;
    const liar = await startLiar((text) => {
      const lie = lies[told % lies.length];
      told += 1;
      return lie?.(text) ?? "";
    });
    liars.push(liar);
    const first = `witness w1 ${honest?.vkey} ${honest?.url}`;
    await writePolicy([first, `witness w2 ${other.vkey} ${liar.url}`]);
    await serve();
    await until(async () => {
      await decide();
      return told >= lies.length;
    });
    expect((await refusalOf(cosigned())).codeName).to.equal("UNAVAILABLE");
    expect(await operator("/metrics")).to.match(/sigil_witness_answering\{witness="w1"\} 1/);
    expect(await operator("/metrics")).to.match(/sigil_witness_answering\{witness="w2"\} 0/);
  });

  it("are what tiles publish, and nothing past them", async () => {
    await serve({ http_listen: { host: "127.0.0.1", port: 0 }, tiles: "public", tiles_interval_ms: 0 });
    await untilCosigned(size());
    const published = async (): Promise<Response> => fetch(`${served.server.httpUrl}/tlog/checkpoint`);
    const note = await (await published()).text();
    expect(parseNote(note).signatures).to.have.length(3);
    await places[0]?.stop();
    await decide();
    expect(await (await published()).text()).to.equal(note);
  });

  describe("at the start", () => {
    const refusedStart = async (more: Readonly<Record<string, unknown>> = {}): Promise<SigilFault> => {
      try {
        await serve(more);
      } catch (error) {
        if (error instanceof SigilFault) return error;
        throw error;
      }
      throw new Error("it started");
    };

    it("refuse a ledger that is smaller than they saw, naming both", async () => {
      const old = join(directory, "old");
      await cp(deployment.directory, old, { recursive: true, preserveTimestamps: true });
      await serve();
      for (let decisions = 0; decisions < 3; decisions += 1) await decide();
      const seen = size();
      await untilCosigned(seen);
      await served[Symbol.asyncDispose]();
      await rm(deployment.directory, { recursive: true });
      await cp(old, deployment.directory, { recursive: true, preserveTimestamps: true });
      const { error, message } = await refusedStart();
      expect(error).to.include({ kind: "ledgerBehindWitness", seenSize: seen });
      expect(message).to.match(
        /^witness w[12] cosigned size \d+ with root [0-9a-f]{64}, the ledger has size \d+ /,
      );
      // It has another past once it has grown as far, without the witnesses.
      served = await deployment.serve();
      while (size() < seen) await decide();
      await served[Symbol.asyncDispose]();
      expect((await refusedStart()).error).to.include({
        kind: "ledgerBehindWitness",
        seenSize: seen,
        size: seen,
      });
      served = await deployment.serve();
    });

    it("are signed by no witness that knows nothing of them, while another has seen another past", async () => {
      const old = join(directory, "old");
      await cp(deployment.directory, old, { recursive: true, preserveTimestamps: true });
      await writePolicy(linesOf(places), "any");
      await places[1]?.stop();
      await serve();
      await decide();
      await untilCosigned(size());
      const { reader } = served.server.ledger;
      await served[Symbol.asyncDispose]();
      await rm(deployment.directory, { recursive: true });
      await cp(old, deployment.directory, { recursive: true, preserveTimestamps: true });
      await places[1]?.start(reader);
      expect((await refusedStart()).error).to.include({ kind: "ledgerBehindWitness", witness: "w1" });
      const known = `${places[1]?.url}/${toHex(sha256(utf8Encode(reader.origin)))}/checkpoint`;
      // Whatever was sent to it before the refusal has come by then.
      await new Promise((resolve) => setTimeout(resolve, 500));
      expect((await fetch(known)).status).to.equal(404);
      served = await deployment.serve();
    });

    it("serve without those that do not answer, unless they are required", async () => {
      await places[0]?.stop();
      const { error } = await refusedStart({ anchor_required: true });
      expect(error).to.deep.include({ kind: "notServing" });
      await serve();
      expect(await operator("/readyz")).to.include("witnesses that do not answer: w1");
    });

    it("refuse a policy that cannot be read, or names nobody to ask", async () => {
      for (const [text, rule] of [
        ["witness", /policy line 1/],
        ["quorum none\n", /has no witness with a URL/],
      ] as const) {
        await writeFile(policyPath, text);
        const { error } = await refusedStart();
        expect(error).to.include({ kind: "invalidConfig", key: "witness_policy" });
        expect("rule" in error && error.rule).to.match(rule);
      }
      await rm(policyPath);
      expect((await refusedStart()).message).to.match(/cannot be read/);
      served = await deployment.serve();
    });
  });
});
