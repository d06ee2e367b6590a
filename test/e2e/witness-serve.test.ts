/** `sigil witness serve` as a process that cosigns a real ledger, is killed at any moment, and forgets nothing. */
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { toHex, utf8Encode } from "../../src/core/bytes.ts";
import { sha256 } from "../../src/core/hash.ts";
import { verifyForeign } from "../../src/core/keys/verify.ts";
import {
  formatAddCheckpoint,
  parsePolicy,
  parseVerifierKey,
  verifyByPolicy,
} from "../../src/core/merkle/index.ts";
import { sigilHere } from "./command.ts";
import { makeDeployment, type Deployment, type ServedDeployment } from "./deployment.ts";
import { logKeyOf, spawnWitness, type WitnessProcess } from "./log-witnesses.ts";

const name = "witness.example/w1";
const kills = 12;

describe("sigil witness serve", function () {
  this.slow(20_000);
  let cwd = "";
  let [deployment, served]: [Deployment?, ServedDeployment?] = [];
  let vkey = "";
  let running: WitnessProcess | undefined;

  const run = async (...words: readonly string[]) => sigilHere(words, { cwd });
  const start = async () => {
    const words = ["--name", name, "--key", "w1.pem", "--logs", "logs.policy"];
    const listening = ["--state", "w1.state", "--listen", "127.0.0.1:0"];
    return (running = await spawnWitness([...words, ...listening], cwd));
  };
  const end = async (signal: NodeJS.Signals): Promise<number | null> => {
    const { child } = running ?? {};
    if (child === undefined) return null;
    const closed = once(child, "close");
    child.kill(signal);
    await closed;
    running = undefined;
    return child.exitCode;
  };
  const grow = () => served?.as("operator").trust.check({ action: "read", target: "user/notes" });

  /** As a log does: from the size that the witness is at to the newest. @returns the note with its cosignature. */
  const submit = async (
    oldSize: bigint,
  ): Promise<{ readonly status: number; readonly text: string; readonly note: string }> => {
    const { checkpoint, consistencyProof: proof } = (await served
      ?.as("guest")
      .audit.getConsistencyProof({ oldSize })) ?? { checkpoint: "", consistencyProof: [] };
    const body = formatAddCheckpoint({ oldSize, proof: proof as never, checkpoint });
    const answer = await fetch(`${running?.url}/add-checkpoint`, { method: "POST", body });
    const text = await answer.text();
    return { status: answer.status, text, note: answer.status === 200 ? checkpoint + text : "" };
  };

  before(async () => {
    cwd = await mkdtemp(join(tmpdir(), "sigil-witness-"));
    deployment = await makeDeployment();
    served = await deployment.serve();
    await run("key", "new", "w1.pem");
    vkey = (await run("key", "show", "w1.pem", "--vkey", name)).output.trim();
    const log = logKeyOf(served.server.ledger.reader);
    await writeFile(join(cwd, "logs.policy"), `log ${log}\nquorum none\n`);
    await writeFile(join(cwd, "trust.policy"), `log ${log}\nwitness w1 ${vkey}\nquorum w1\n`);
  });
  after(async () => {
    await end("SIGKILL");
    await served?.[Symbol.asyncDispose]();
    await deployment?.[Symbol.asyncDispose]();
    await rm(cwd, { recursive: true, force: true });
  });

  it("cosigns a ledger, so that a policy that asks for it accepts the checkpoint", async () => {
    const { url } = await start();
    expect(parseVerifierKey(vkey)).to.include({ name, use: "cosigner" });
    const first = await submit(0n);
    expect(first.status, first.text).to.equal(200);
    await grow();
    const known = served?.server.ledger.reader.size ?? 0n;
    const second = await submit(known - 1n);
    expect(second.status, second.text).to.equal(200);
    const policy = parsePolicy(await readFile(join(cwd, "trust.policy")));
    const { checkpoint, cosigned } = await verifyByPolicy(second.note, policy, verifyForeign);
    expect(checkpoint.size).to.equal(known);
    expect(cosigned).to.have.length(1);
    const path = toHex(sha256(utf8Encode(checkpoint.origin)));
    expect(await (await fetch(`${url}/${path}/checkpoint`)).text()).to.equal(second.note);
    expect(await end("SIGTERM")).to.equal(0);
  });

  it(`forgets nothing that it answered, over ${kills} kills`, async () => {
    await start();
    let known = served?.server.ledger.reader.size ?? 0n;
    for (let kill = 0; kill < kills; kill += 1) {
      await grow();
      const asked = submit(known).catch(() => undefined);
      // From before the request is read to after it is answered.
      await new Promise((resolve) => setTimeout(resolve, kill * 2));
      await end("SIGKILL");
      const answer = await asked;
      const size = served?.server.ledger.reader.size ?? 0n;
      await start();
      const { status, text } = await submit(answer?.status === 200 ? size : known);
      // Unanswered, it may or may not have been kept; answered, it was.
      if (answer?.status === 200) expect(status, text).to.equal(200);
      else expect([200, 409]).to.include(status);
      if (status === 409) expect(text).to.equal(`${size}\n`);
      known = size;
    }
    await end("SIGTERM");
  });

  it("says what is wrong with how it is called", async () => {
    const all = ["--name", name, "--key", "w1.pem", "--logs", "logs.policy", "--state", "other.state"];
    const without = (flag: string): readonly string[] => all.toSpliced(all.indexOf(flag), 2);
    await writeFile(join(cwd, "bad.policy"), "log nothing\nquorum none\n");
    await writeFile(join(cwd, "none.policy"), "quorum none\n");
    for (const [words, rule] of [
      [without("--name"), "--name"],
      [without("--key"), "--key"],
      [without("--logs"), "--logs"],
      [without("--state"), "--state"],
      [[...without("--name"), "--name", "two words"], "key name"],
      [[...without("--logs"), "--logs", "bad.policy"], "policy line 1"],
      [[...without("--logs"), "--logs", "none.policy"], "names no log"],
      [[...without("--logs"), "--logs", "absent"], "cannot be read"],
      [[...all, "--listen", "nowhere"], "--listen must be HOST:PORT"],
    ] as const) {
      const { exitCode, problems } = await run("witness", "serve", ...words);
      expect([exitCode, problems]).to.satisfy(
        ([code, said]: [number, string]) => code === 2 && said.includes(rule),
      );
    }
  });

  it("is one process over one state", async () => {
    await start();
    const words = ["--name", name, "--key", "w1.pem", "--logs", "logs.policy", "--state", "w1.state"];
    const { exitCode, problems } = await run("witness", "serve", ...words);
    expect([exitCode, problems]).to.satisfy(
      ([code, said]: [number, string]) => code === 2 && /in use/.test(said),
    );
    await end("SIGTERM");
  });
});
