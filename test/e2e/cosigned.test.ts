/**
 * Checkpoints that witnesses cosign: a server asks those of its policy, publishes what a quorum signed, counts no
 * answer that does not verify, and refuses to start where they saw another past.
 */
import { generateKeyPairSync } from "node:crypto";
import { cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { afterEach, beforeEach, describe, it } from "mocha";
import { readEvidence } from "@sigil/client";
import { verifyForeign } from "../../src/core/keys/verify.ts";
import {
  formatVerifierKey,
  parseNote,
  parsePolicy,
  signCosignature,
  verifyByPolicy,
} from "../../src/core/merkle/index.ts";
import { toHex, utf8Encode } from "../../src/core/bytes.ts";
import { sha256 } from "../../src/core/hash.ts";
import { parseEvidence } from "../../src/core/verify/evidence-file.ts";
import { verifyEvidence } from "../../src/core/verify/evidence.ts";
import { createSigner } from "../../src/crypto/signing/sign.ts";
import { SigilFault } from "../../src/errors.ts";
import { createMemoryBacking, openMemoryStore } from "../../src/storage/memory.ts";
import type { Store } from "../../src/storage/store.ts";
import { serveWitness, type WitnessServer } from "../../src/witness/server.ts";
import { Witness } from "../../src/witness/witness.ts";
import { makeDeployment, type Deployment, type ServedDeployment } from "./deployment.ts";
import { refusalOf } from "./refusal.ts";

const quiet = { info: () => {}, warn: () => {}, error: () => {} };

/** A witness that can be stopped and started, and keeps what it signed. */
class Place {
  readonly name: string;
  readonly signer = createSigner(generateKeyPairSync("ed25519").privateKey);
  readonly #backing = createMemoryBacking();
  #server: WitnessServer | undefined;
  #store: Store | undefined;
  #port = 0;
  url = "";

  constructor(name: string) {
    this.name = name;
  }

  get vkey(): string {
    return formatVerifierKey({ name: this.name, use: "cosigner", publicKey: this.signer.publicKey });
  }

  async start(
    served: Pick<ServedDeployment["server"]["ledger"]["reader"], "origin" | "ring">,
  ): Promise<void> {
    const publicKey = served.ring.entries.find(({ role }) => role === "checkpoint")?.publicKey;
    if (publicKey === undefined) throw new Error("there is no checkpoint key");
    const witness = new Witness({
      name: this.name,
      signer: this.signer,
      logs: [{ origin: served.origin, publicKey }],
      store: (this.#store = await openMemoryStore(this.#backing)),
      nowSeconds: () => 1_700_000_000n,
    });
    this.#server = await serveWitness({ witness, host: "127.0.0.1", port: this.#port, log: quiet });
    this.url = this.#server.url;
    this.#port = Number(new URL(this.url).port);
  }

  async stop(): Promise<void> {
    await this.#server?.close();
    await this.#store?.close();
    [this.#server, this.#store] = [undefined, undefined];
  }
}

const until = async (holds: () => Promise<boolean> | boolean): Promise<void> => {
  while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 10));
};

describe("checkpoints that witnesses cosign", function () {
  this.slow(10_000);
  let [directory, policyPath] = ["", ""];
  let deployment: Deployment;
  let served: ServedDeployment;
  let places: readonly Place[];
  const liars: Server[] = [];

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
    for (const liar of liars.splice(0)) liar.close();
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
    const { publicKey } = await served.as("guest").audit.getCheckpoint({});
    const log = {
      name: served.server.ledger.reader.origin,
      use: "log",
      publicKey: publicKey as never,
    } as const;
    const policy = (least: string) =>
      parsePolicy(utf8Encode(policyText([`log ${formatVerifierKey(log)}`, ...linesOf(places)], least)));
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

  it("are given with the signatures that the policy asks for, and move as the ledger grows", async () => {
    await serve();
    const key = formatVerifierKey({
      name: served.server.ledger.reader.origin,
      use: "log",
      publicKey: (await served.as("guest").audit.getCheckpoint({})).publicKey as never,
    });
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
    const strange = createSigner(generateKeyPairSync("ed25519").privateKey);
    const other = new Place("witness.example/w2");
    const textOf = (body: string): string => parseNote(body.slice(body.indexOf("\n\n") + 2)).text;
    const lineBy = async (
      text: string,
      name: string,
      { publicKey, sign }: typeof strange,
    ): Promise<string> => {
      const { keyId, signature } = await signCosignature(text, 1n, { name, publicKey, sign });
      return `\u2014 ${name} ${Buffer.concat([keyId, signature]).toString("base64")}\n`;
    };
    const anotherText = `other.example/log\n7\n${Buffer.alloc(32).toString("base64")}\n`;
    const lies: readonly ((text: string) => Promise<string> | string)[] = [
      () => "",
      () => "\u2014 witness.example/w2 AAAA\n",
      (text) => lineBy(text, "witness.example/w2", strange),
      (text) => lineBy(text, "witness.example/w1", other.signer),
      () => lineBy(anotherText, "witness.example/w2", other.signer),
      (text) => lineBy(text.replace(/\n\d+\n/, "\n1\n"), "witness.example/w2", other.signer),
      () => "x".repeat(1 << 20),
    ];
    let told = 0;
    const liar = createServer((request, response) => {
      const answer = async (): Promise<void> => {
        const body = Buffer.concat(await request.toArray()).toString();
        const lie = lies[told % lies.length];
        told += 1;
        response.writeHead(200, { "content-type": "text/plain" });
        response.end((await lie?.(textOf(body))) ?? "");
      };
      if (request.method === "GET") response.writeHead(404).end();
      else void answer();
    });
    liars.push(liar);
    await new Promise<void>((resolve) => liar.listen(0, "127.0.0.1", resolve));
    const { port } = liar.address() as AddressInfo;
    const first = `witness w1 ${honest?.vkey} ${honest?.url}`;
    await writePolicy([first, `witness w2 ${other.vkey} http://127.0.0.1:${port}`]);
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
