/**
 * A client that remembers the numbers of its decisions, over restarts of both sides: it notices a server that was set
 * back to a backup, and the command holds what it remembers against the ledger.
 */
import { createPrivateKey } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import {
  CallerNumberError,
  connect,
  createTokenSigner,
  fileNumbers,
  readNumberFile,
  type NumberGap,
  type RememberOptions,
  type SigilConnection,
} from "@sigil/client";
import { freePorts, servingHere, sigilHere, type Ended } from "./command.ts";

const question = { action: "read", target: "public/docs" };
const whose = { origin: "restored.test", tenant: "demo", caller: "operator" };

describe("a client that remembers its numbers", function () {
  this.timeout(120_000);
  this.slow(20_000);
  let cwd: string;
  let genesis = "";

  const keyOf = (name: string) => ["--key", `data.keys/${name}.pem`, "--principal", name];
  const run = async (words: readonly string[], target = ""): Promise<Ended> =>
    sigilHere(words, { cwd, env: { SIGIL_CLIENT_SERVER: target } });
  const ok = async (words: readonly string[], target = ""): Promise<string> => {
    const { exitCode, problems, output } = await run(words, target);
    expect(exitCode, problems).to.equal(0);
    return output;
  };
  const serving = (data: string) =>
    servingHere(["serve", "--data", data, ...freePorts], { cwd, env: { SIGIL_KEK: "file:data.kek" } });
  const path = (): string => join(cwd, "numbers.json");
  const connectTo = async (
    target: string,
    remember: Partial<RememberOptions> = {},
  ): Promise<SigilConnection> => {
    const privateKey = createPrivateKey(await readFile(join(cwd, "data.keys/operator.pem")));
    const signer = createTokenSigner({ principal: "operator", origin: whose.origin, privateKey });
    const store = fileNumbers(path(), whose);
    return connect({ target, tls: "insecure", signer, remember: { store, ...remember } });
  };
  const held = async (): Promise<number> => Number((await readNumberFile(path()))?.seq ?? 0n);
  const faultOf = async (work: Promise<unknown>): Promise<CallerNumberError> => {
    try {
      await work;
    } catch (error) {
      if (error instanceof CallerNumberError) return error;
      throw error;
    }
    return expect.fail("it was handed on");
  };
  const compared = (target: string, file = "numbers.json"): Promise<Ended> =>
    run(["audit", "completeness", "--genesis", genesis, "--remembered", file, ...keyOf("observer")], target);

  before(async () => {
    cwd = await mkdtemp(join(tmpdir(), "sigil-remember-"));
    await ok(["init", "--data", "data", "--dev", "--origin", whose.origin]);
    const { genesis: hash } = JSON.parse(await readFile(join(cwd, "data", "deployment.json"), "utf8")) as {
      readonly genesis: string;
    };
    genesis = hash;
  });
  after(() => rm(cwd, { recursive: true }));

  it("has each number in its file once the answer is there: one by one, together, in batches and streams", async () => {
    await using server = await serving("data");
    const gaps: NumberGap[] = [];
    using sigil = await connectTo(server.target, { onGap: (gap) => gaps.push(gap) });
    const first = await sigil.trust.check({ ...question, idempotencyKey: "once" });
    expect(await held()).to.equal(Number(first.callerSeq));
    await Promise.all(Array.from({ length: 30 }, () => sigil.trust.check(question)));
    expect(await held()).to.equal(31);
    const again = await sigil.trust.check({ ...question, idempotencyKey: "once" });
    expect([again.replayed, again.callerSeq]).to.deep.equal([true, first.callerSeq]);
    await sigil.trust.batchCheck({ checks: [question, question, question] });
    expect(await held()).to.equal(34);
    const questions = Array.from({ length: 20 }, (_, at) => ({
      correlationId: String(at % 7),
      check: question,
    }));
    let answers = 0;
    for await (const { outcome } of sigil.trust.streamChecks(questions)) {
      answers += outcome?.$case === "decision" ? 1 : 0;
      expect(await held()).to.be.at.least(34 + answers);
    }
    expect([answers, await held()]).to.deep.equal([20, 54]);
    expect(gaps).to.deep.equal([]);
    // Another client of the same caller, which remembers nothing.
    await ok(
      [
        "check",
        ...Object.entries(question).flatMap(([name, value]) => [`--${name}`, value]),
        ...keyOf("operator"),
      ],
      server.target,
    );
    await sigil.trust.check(question);
    expect(gaps).to.deep.equal([{ from: 55n, to: 55n }]);
    const equal = await compared(server.target);
    expect(equal.exitCode, equal.problems).to.equal(0);
  });

  it("is told when a restore gave numbers again, over its own restart, and what it remembers is missing there", async () => {
    const before = await held();
    {
      await using server = await serving("data");
      await ok(["backup", "--to", "backup", ...keyOf("root")], server.target);
      using sigil = await connectTo(server.target);
      await sigil.trust.check(question);
      await sigil.trust.check(question);
      expect(await held()).to.equal(before + 2);
    }
    await ok(["restore", "--from", "backup", "--data", "again", "--kek", "file:data.kek"]);
    await using server = await serving("again");
    const lost = await compared(server.target);
    expect(lost.exitCode).to.equal(1);
    expect(lost.problems + lost.output).to.contain(`number ${before + 2} is remembered`);
    expect(lost.problems + lost.output).to.contain(`the ledger's newest number is ${before}`);
    const told: CallerNumberError[] = [];
    using lenient = await connectTo(server.target, { onFault: (each) => told.push(each) });
    expect((await lenient.trust.check(question)).callerSeq).to.equal(BigInt(before + 1));
    expect(told.map(({ kind, given, known }) => [kind, given.seq, known.seq])).to.deep.equal([
      ["wentBack", BigInt(before + 1), BigInt(before + 2)],
    ]);
    using sigil = await connectTo(server.target);
    const streamed = async (): Promise<void> => {
      for await (const _ of sigil.trust.streamChecks([{ correlationId: "a", check: question }]))
        expect.fail("handed on");
    };
    expect((await faultOf(streamed())).kind).to.equal("repeated");
    expect(await held()).to.equal(before + 2);
    const still = await compared(server.target);
    expect(still.exitCode).to.equal(1);
    expect(still.problems + still.output).to.contain("the ledger does not have it");
    // Numbers that nobody was given before.
    await sigil.trust.batchCheck({ checks: [question] });
    expect(await held()).to.equal(before + 3);
  });

  it("compares a file with what is asked, and says what does not fit", async () => {
    const words = ["audit", "completeness", ...keyOf("observer"), "--remembered", "numbers.json"];
    const wrong: readonly (readonly [readonly string[], RegExp])[] = [
      [[], /--remembered goes with --genesis/],
      [["--genesis", genesis, "--from", "2026-01-01T00:00:00Z"], /leave out --from and --until/],
      [["--genesis", genesis, "--who", "mentor"], /is of caller operator, not of --who/],
    ];
    for (const [more, rule] of wrong) {
      const { exitCode, problems } = await run([...words, ...more], "127.0.0.1:1");
      expect([exitCode, rule.test(problems)], problems).to.deep.equal([2, true]);
    }
    await writeFile(join(cwd, "other.json"), "{}");
    const { exitCode, problems } = await compared("127.0.0.1:1", "other.json");
    expect([exitCode, problems]).to.satisfy(
      ([code, text]: [number, string]) => code === 2 && /is no file of/.test(text),
    );
  });
});
