/**
 * Witnesses and logs that are not Sigil's. litewitness and omniwitness cosign a server's ledger, and refuse what they
 * must; Tessera's log has `sigil witness serve` cosign it, which refuses the same. All run as docs/operating/witness.md
 * prints it.
 */
import { generateKeyPairSync } from "node:crypto";
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { KeyRole, readEvidence } from "@sigil/client";
import { repository } from "../../scripts/run.ts";
import { parsePublicKey, toBase64 } from "../../src/core/bytes.ts";
import {
  formatAddCheckpoint,
  formatVerifierKey,
  parseCheckpoint,
  parseNote,
  parsePolicy,
  signCheckpoint,
  verifyByPolicy,
} from "../../src/core/merkle/index.ts";
import { verifyForeign } from "../../src/core/keys/verify.ts";
import { createSigner } from "../../src/crypto/signing/sign.ts";
import { SigilFault } from "../../src/errors.ts";
import { freePort } from "../contract/free-port.ts";
import { running, sigilHere, type Running } from "./command.ts";
import { makeDeployment, origin, type Deployment, type ServedDeployment } from "./deployment.ts";
import {
  commandOf,
  missingOf,
  printed,
  runPrinted,
  startLitewitness,
  startOmniwitness,
  type OtherWitness,
} from "./other-witnesses.ts";
import { refusalOf } from "./refusal.ts";

const untilMsMax = 30_000;
const until = async (what: string, holds: () => Promise<boolean> | boolean): Promise<void> => {
  for (const startMs = performance.now(); !(await holds());) {
    if (performance.now() - startMs > untilMsMax) throw new Error(`it does not come: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
};

const logKey = (name: string, publicKey: Uint8Array): string =>
  formatVerifierKey({ name, use: "log", publicKey: parsePublicKey(publicKey) });

describe("the commands of others that docs/operating/witness.md prints", () => {
  it("are those that run below, in the versions that scripts/services.sh has", async () => {
    const programs = ["ssh-keygen", "ssh-agent", "SSH_AUTH_SOCK=", "litewitness", "sqlite3 lw.db"];
    const known = [...programs, "generate_keys", "omniwitness", "sqlite3 ow.db", "posix-oneshot"];
    expect(printed.filter((text) => !known.some((beginning) => text.startsWith(beginning)))).to.deep.equal(
      [],
    );
    const read = (path: string): Promise<string> => readFile(join(repository, path), "utf8");
    const [page, services] = [await read("docs/operating/witness.md"), await read("scripts/services.sh")];
    for (const name of ["litewitness", "omniwitness"]) {
      const [, version] = new RegExp(`^${name}_version=(\\S+)$`, "m").exec(services) ?? [];
      expect(page).to.include(`cmd/${name}@${version}\``);
    }
    const [, tessera] = /tessera (v\S+)/.exec(await read("test/verifiers/tessera/go.mod")) ?? [];
    expect(page).to.include(`Tessera (${tessera})`);
  });
});

const programs = [
  {
    label: "litewitness",
    missing: missingOf("litewitness", "litewitness", "ssh-agent", "sqlite3"),
    unsigned: 403,
    unknown: 404,
    start: startLitewitness,
  },
  {
    label: "omniwitness",
    missing: missingOf("omniwitness", "omniwitness", "sqlite3"),
    // Of this version; tlog-witness has 403 and 404.
    unsigned: 500,
    unknown: 500,
    start: startOmniwitness,
  },
] as const;

for (const { label, missing, unsigned, unknown, start } of programs) {
  describe(`${label}, which cosigns a ledger${missing}`, function () {
    this.slow(10_000);
    this.timeout(60_000);
    let [directory, policyPath] = ["", ""];
    let deployment: Deployment | undefined;
    let served: ServedDeployment;
    let witness: OtherWitness | undefined;

    const policyLines = (vkey = witness?.vkey): readonly string[] => [
      `witness w ${vkey} ${witness?.url}/`,
      "quorum w",
    ];
    const config = () => ({ witness_policy: policyPath, witness_interval_ms: 20 });
    const serve = async (more: Readonly<Record<string, unknown>> = config()): Promise<void> => {
      served = await (deployment ?? (await makeDeployment())).serve({ config: more });
    };
    const restart = async (more?: Readonly<Record<string, unknown>>): Promise<void> => {
      await served[Symbol.asyncDispose]();
      await serve(more);
    };
    const decide = () => served.as("operator").trust.check({ action: "read", target: "user/notes" });
    const size = (): bigint => served.server.ledger.reader.size;
    const cosigned = (atLeast = 0n) => served.as("guest").audit.getCheckpoint({ cosigned: true, atLeast });
    const untilCosigned = (): Promise<void> =>
      until("a cosigned checkpoint", async () =>
        cosigned(size()).then(
          () => true,
          () => false,
        ),
      );
    const ready = async (): Promise<string> => (await fetch(`${served.server.operatorUrl}/readyz`)).text();
    /** The log's verifier key, of now. */
    const vkeyNow = async (): Promise<string> =>
      logKey(origin, (await served.as("guest").audit.getCheckpoint({})).publicKey);

    const post = async (body: string): Promise<{ readonly status: number; readonly text: string }> => {
      const answer = await fetch(`${witness?.url}/add-checkpoint`, { method: "POST", body });
      return { status: answer.status, text: await answer.text() };
    };
    const growth = async (oldSize: bigint) => {
      const { checkpoint, consistencyProof } = await served
        .as("guest")
        .audit.getConsistencyProof({ oldSize });
      return { oldSize, proof: consistencyProof as never[], checkpoint };
    };

    before(async function () {
      if (missing !== "") this.skip();
      directory = await mkdtemp(join(tmpdir(), "sigil-others-"));
      policyPath = join(directory, "witnesses.policy");
      deployment = await makeDeployment();
      await serve({});
      witness = await start({ origin, vkey: await vkeyNow() });
      await writeFile(policyPath, `${policyLines().join("\n")}\n`);
    });
    after(async () => {
      if (missing !== "") return;
      await served[Symbol.asyncDispose]();
      await witness?.[Symbol.asyncDispose]();
      await deployment?.[Symbol.asyncDispose]();
      await rm(directory, { recursive: true, force: true });
    });

    it("cosigns it as it grows, and sigil verify --policy counts its signature and nobody else's", async () => {
      await restart();
      for (let round = 0; round < 3; round += 1) {
        await decide();
        await untilCosigned();
      }
      expect(await ready()).to.equal("ready\n");
      const { auditId } = await decide();
      await untilCosigned();
      const file = await readEvidence(served.as("operator"), { auditId, cosigned: true });
      await writeFile(join(directory, "decision.sigil"), file);
      const other = generateKeyPairSync("ed25519").publicKey.export({ format: "jwk" }).x ?? "";
      const name = witness?.vkey.split("+")[0] ?? "";
      const stranger = parsePublicKey(Buffer.from(other, "base64url"));
      const strangeKey = formatVerifierKey({ name, use: "cosigner", publicKey: stranger });
      for (const [vkey, exitCode] of [
        [witness?.vkey, 0],
        [strangeKey, 1],
      ] as const) {
        const lines = [`log ${await vkeyNow()}`, ...policyLines(vkey)];
        await writeFile(join(directory, "trust.policy"), `${lines.join("\n")}\n`);
        const ended = await sigilHere(["verify", "decision.sigil", "--policy", "trust.policy", "--json"], {
          cwd: directory,
        });
        expect(ended.exitCode, ended.output + ended.problems).to.equal(exitCode);
      }
    });

    it("remembers over a kill what it cosigned, and goes on from there", async () => {
      await witness?.kill();
      await decide();
      await until("a note in readyz", async () =>
        (await ready()).includes("witnesses that do not answer: w"),
      );
      expect((await refusalOf(cosigned(size()))).codeName).to.equal("UNAVAILABLE");
      await witness?.start();
      await untilCosigned();
      expect(await ready()).to.equal("ready\n");
    });

    it("refuses an old size that is not its own, a false proof, an unknown log and a strange signature", async () => {
      const known = (await cosigned()).size;
      await restart({});
      await decide();
      await decide();
      const good = await growth(known);
      const refused = async (status: number, body: string): Promise<string> => {
        const answer = await post(body);
        expect(answer.status, answer.text).to.equal(status);
        return answer.text;
      };
      const stale = formatAddCheckpoint(await growth(known - 1n));
      expect(await refused(409, stale)).to.equal(`${known}\n`);
      expect(await refused(409, formatAddCheckpoint({ ...good, oldSize: 0n, proof: [] }))).to.equal(
        `${known}\n`,
      );
      await refused(400, formatAddCheckpoint({ ...good, oldSize: known + 100n }));
      const proof = good.proof.map((hash: Uint8Array, at) =>
        at === 0 ? hash.with(0, (hash[0] ?? 0) ^ 1) : hash,
      );
      await refused(422, formatAddCheckpoint({ ...good, proof: proof as never[] }));
      const { publicKey, sign } = createSigner(generateKeyPairSync("ed25519").privateKey);
      const said = parseCheckpoint(parseNote(good.checkpoint).text);
      const strange = await signCheckpoint(said, { publicKey, sign });
      await refused(unsigned, formatAddCheckpoint({ ...good, checkpoint: strange }));
      const elsewhere = await signCheckpoint({ ...said, origin: "other.example/log" }, { publicKey, sign });
      await refused(unknown, formatAddCheckpoint({ oldSize: 0n, proof: [], checkpoint: elsewhere }));
      await refused(400, "old\n\n");
      // It is the changes that were refused.
      expect((await post(formatAddCheckpoint(good))).status).to.equal(200);
    });

    it(`answers ${unsigned} after a rotation of the log's key until it has the new one`, async () => {
      await restart();
      await untilCosigned();
      await served.as("root").keys.rotateKey({ role: KeyRole.KEY_ROLE_CHECKPOINT });
      await decide();
      await until("a refusal", () => served.logged().includes(`it answered ${unsigned}`));
      expect((await refusalOf(cosigned(size()))).codeName).to.equal("UNAVAILABLE");
      await witness?.takeKey(await vkeyNow());
      await untilCosigned();
    });

    it("cosigns no ledger that was set back, nor one that went on from there", async () => {
      const data = deployment?.directory ?? "";
      const old = join(directory, "old");
      await served[Symbol.asyncDispose]();
      await cp(data, old, { recursive: true, preserveTimestamps: true });
      await serve();
      for (let decisions = 0; decisions < 3; decisions += 1) await decide();
      await untilCosigned();
      const seen = size();
      await served[Symbol.asyncDispose]();
      await rm(data, { recursive: true });
      await cp(old, data, { recursive: true, preserveTimestamps: true });

      await serve();
      const smaller = `it has cosigned size ${seen}, and the ledger has ${size()}`;
      expect(served.logged()).to.include(smaller);
      expect(await ready()).to.equal("ready\nwitnesses that do not answer: w\n");
      await served[Symbol.asyncDispose]();
      const required = await serve({ ...config(), anchor_required: true }).catch((error: unknown) => error);
      expect(required).to.be.instanceOf(SigilFault);
      expect(String(required)).to.include("anchor_required, and witnesses do not answer: w");

      await serve({});
      for (const grown of [0n, 3n]) {
        while (size() < seen + grown) await decide();
        await restart();
        await until("a refusal", () => served.logged().includes("it answered 422"));
        expect((await refusalOf(cosigned())).codeName).to.equal("UNAVAILABLE");
        await restart({});
      }
    });
  });
}

const posixMissing = missingOf("tessera", "posix-oneshot");

describe(`sigil witness serve, which cosigns a log of Tessera's${posixMissing}`, function () {
  this.slow(10_000);
  this.timeout(60_000);
  const [name, log] = ["witness.example/w1", "log.example"];
  let cwd = "";
  let [vkey, witnessVkey] = ["", ""];
  let witness: Running | undefined;

  const file = (path: string): string => join(cwd, path);
  const entries = async (...names: readonly string[]): Promise<void> => {
    await rm(file("entries"), { recursive: true, force: true });
    await mkdir(file("entries"));
    for (const each of names) await writeFile(file(`entries/${each}`), each);
  };
  /** @param storage where the log is. @param words more, or other, than the page has. */
  const append = (storage = "log", words = commandOf("posix-oneshot")) =>
    runPrinted(cwd, words, [[/--storage_dir log/g, `--storage_dir ${storage}`]]);
  /** It tries again without end. */
  const refused = async (storage: string, words = commandOf("posix-oneshot")): Promise<string> => {
    const { exitCode, said } = await append(storage, `timeout 3 ${words}`);
    expect(exitCode, said).to.not.equal(0);
    return said;
  };
  const unwitnessed = (storage: string) =>
    append(storage, commandOf("posix-oneshot").replace(/ --witness_policy_file \S+/, ""));
  const published = (storage = "log"): Promise<string> => readFile(file(`${storage}/checkpoint`), "utf8");
  const writeNoteKey = async (path: string, keyName: string): Promise<string> => {
    const { privateKey, publicKey } = generateKeyPairSync("ed25519");
    const [seed, raw] = [privateKey.export({ format: "jwk" }).d, publicKey.export({ format: "jwk" }).x];
    const made = logKey(keyName, Buffer.from(raw ?? "", "base64url"));
    const [, id] = made.split("+");
    const secret = Buffer.concat([Uint8Array.of(1), Buffer.from(seed ?? "", "base64url")]);
    await writeFile(file(path), `PRIVATE+KEY+${keyName}+${id}+${toBase64(secret)}`);
    return made;
  };
  const writePolicy = (key = witnessVkey): Promise<void> =>
    writeFile(file("witnesses.policy"), `witness w1 ${key} http://127.0.0.1:${listening}/\nquorum w1\n`);
  let listening = 0;

  before(async function () {
    if (posixMissing !== "") this.skip();
    cwd = await mkdtemp(join(tmpdir(), "sigil-others-"));
    vkey = await writeNoteKey("log.key", log);
    await writeFile(file("logs.policy"), `log ${vkey}\nquorum none\n`);
    await sigilHere(["key", "new", "w1.pem"], { cwd });
    witnessVkey = (await sigilHere(["key", "show", "w1.pem", "--vkey", name], { cwd })).output.trim();
    listening = await freePort();
    const words = ["witness", "serve", "--name", name, "--key", "w1.pem", "--logs", "logs.policy"];
    witness = running([...words, "--state", "w1.state", "--listen", `127.0.0.1:${listening}`], { cwd });
    await witness.printed(/"msg":"serving"/);
    await writePolicy();
  });
  after(async () => {
    await witness?.[Symbol.asyncDispose]();
    if (cwd !== "") await rm(cwd, { recursive: true, force: true });
  });

  it("is accepted by it, from the empty log on, and by Sigil's own reading of a policy", async () => {
    const policy = parsePolicy(Buffer.from(`log ${vkey}\nwitness w1 ${witnessVkey}\nquorum w1\n`));
    for (const [names, size] of [
      [["one", "two"], 2n],
      [["three", "four", "five"], 5n],
    ] as const) {
      await entries(...names);
      const { exitCode, said } = await append();
      expect(exitCode, said).to.equal(0);
      const { checkpoint, cosigned } = await verifyByPolicy(await published(), policy, verifyForeign);
      expect([checkpoint.size, cosigned.map((line) => line.name)]).to.deep.equal([size, [name]]);
    }
    expect(witness?.said()).to.not.match(/"status":4\d\d/);
  });

  it("refuses a fork of it, smaller or larger, which Tessera then does not publish", async () => {
    await entries("a", "b", "c");
    expect((await append()).exitCode).to.equal(0);
    for (const [names, status] of [
      [["uno"], 409],
      [["due", "tre", "quattro", "cinque", "sei", "sette", "otto", "nove"], 422],
    ] as const) {
      await entries(...names);
      expect((await unwitnessed("fork")).exitCode).to.equal(0);
      const before = await published("fork");
      await entries("dieci");
      await refused("fork");
      await until(`status ${status}`, () => witness?.said().includes(`"status":${status}`) ?? false);
      expect(await published("fork")).to.equal(before);
    }
    await entries("d");
    expect((await append()).exitCode).to.equal(0);
  });

  it("refuses a log that it does not know, and one that has the name but not the key", async () => {
    await entries("one");
    for (const [storage, keyName, status] of [
      ["unknown", "unknown.example", 404],
      ["impostor", log, 403],
    ] as const) {
      await writeNoteKey(`${storage}.key`, keyName);
      const words = commandOf("posix-oneshot").replace("log.key", `${storage}.key`);
      await refused(storage, words);
      await until(`status ${status}`, () => witness?.said().includes(`"status":${status}`) ?? false);
      expect(await published(storage).catch(() => "none")).to.equal("none");
    }
  });

  it("is not taken for another witness by Tessera", async () => {
    const { publicKey } = createSigner(generateKeyPairSync("ed25519").privateKey);
    await writePolicy(formatVerifierKey({ name, use: "cosigner", publicKey }));
    await entries("seven");
    const before = await published();
    expect(await refused("log")).to.match(/witness policy was not satisfied/);
    expect(await published()).to.equal(before);
  });
});
