/** What is proved of a caller's decisions in a span of time, how the command verifies it, and what is refused. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { afterEach, beforeEach, describe, it } from "mocha";
import { CompletenessEnd, ProofError, ProveCompletenessResponse, walkKeys } from "@sigil/client";
import { requireProof, type Asked } from "../../src/cli/audit/completeness.ts";
import { fromHex, parseHash } from "../../src/core/bytes.ts";
import { freePorts, servingHere, sigilHere, type Ended } from "./command.ts";
import { makeDeployment, type Deployment, type ServedDeployment } from "./deployment.ts";
import { refusalOf } from "./refusal.ts";

const { COMPLETENESS_END_DECISION, COMPLETENESS_END_HEAD, COMPLETENESS_END_NEWEST } = CompletenessEnd;

/** Of a deployment that a restore from a backup set back. */
const restoredAnswer = async (cwd: string): Promise<Ended> => {
  const keyOf = (name: string) => ["--key", `data.keys/${name}.pem`, "--principal", name];
  const ok = async (words: readonly string[], target = ""): Promise<string> => {
    const { exitCode, problems, output } = await sigilHere(words, {
      cwd,
      env: { SIGIL_CLIENT_SERVER: target },
    });
    expect(exitCode, problems).to.be.oneOf([0, 1]);
    return output;
  };
  const decide = async (target: string): Promise<void> =>
    void (await ok(["check", "--action", "read", "--target", "public/docs", ...keyOf("operator")], target));
  await ok(["init", "--data", "data", "--dev", "--origin", "restored.test"]);
  {
    await using server = await servingHere(["serve", "--data", "data", ...freePorts], { cwd });
    await decide(server.target);
    await decide(server.target);
    await ok(["backup", "--to", "backup", ...keyOf("root")], server.target);
    await decide(server.target);
  }
  await ok(["restore", "--from", "backup", "--data", "again", "--kek", "file:data.kek"]);
  const data = ["serve", "--data", "again", ...freePorts];
  await using server = await servingHere(data, { cwd, env: { SIGIL_KEK: "file:data.kek" } });
  await decide(server.target);
  const { genesis } = JSON.parse(await readFile(join(cwd, "again", "deployment.json"), "utf8")) as {
    readonly genesis: string;
  };
  return await sigilHere(["audit", "completeness", "--genesis", genesis, ...keyOf("operator")], {
    cwd,
    env: { SIGIL_CLIENT_SERVER: server.target },
  });
};

describe("that no decision is left out", () => {
  let deployment: Deployment;
  let served: ServedDeployment;
  let cwd: string;
  let aheadMs: number;
  const nowMs = (): number => Date.now() + aheadMs;

  const serve = async (): Promise<void> => {
    served = await deployment.serve({ config: { caller_head_seconds: 20 }, overrides: { clock: { nowMs } } });
  };
  /** Decisions of a caller, each `atMs` later than the one before. */
  const decide = async (
    count: number,
    who: "operator" | "mentor" = "operator",
    stepMs = 10,
  ): Promise<void> => {
    for (let each = 0; each < count; each += 1) {
      aheadMs += stepMs;
      await served.as(who).trust.check({ action: "write", target: "user/notes" });
    }
  };
  const prove = (
    span: { readonly fromTime?: Date; readonly untilTime?: Date } = {},
    principal = "operator",
  ) => served.as("observer").audit.proveCompleteness({ principal, ...span });
  const command = (...words: readonly string[]): Promise<Ended> =>
    sigilHere(["audit", "completeness", "--key", "observer.pem", "--principal", "observer", ...words], {
      cwd,
      env: { SIGIL_CLIENT_SERVER: served.server.target },
    });
  const genesis = async (): Promise<string> => {
    const text = await readFile(join(deployment.directory, "deployment.json"), "utf8");
    return (JSON.parse(text) as { readonly genesis: string }).genesis;
  };
  /** A moment that is later than all there is, and earlier than all that comes. */
  const moment = (): Date => {
    aheadMs += 5;
    const then = new Date(nowMs());
    aheadMs += 5;
    return then;
  };

  beforeEach(async () => {
    aheadMs = 0;
    cwd = await mkdtemp(join(tmpdir(), "sigil-completeness-"));
    deployment = await makeDeployment({ otherTenants: ["globex"] });
    const pem = deployment.privateKeys.observer.export({ type: "pkcs8", format: "pem" });
    await writeFile(join(cwd, "observer.pem"), pem, { mode: 0o600 });
    await serve();
  });
  afterEach(async () => {
    await served[Symbol.asyncDispose]();
    await deployment[Symbol.asyncDispose]();
    await rm(cwd, { recursive: true });
  });

  it("is proved by the decisions around a span, whoever else decides in it, over a restart", async () => {
    await decide(3);
    const from = moment();
    await decide(2);
    await decide(4, "mentor");
    await served[Symbol.asyncDispose]();
    await serve();
    await decide(3);
    const until = moment();
    await decide(2);
    const answer = await prove({ fromTime: from, untilTime: until });
    expect(answer.end).to.equal(COMPLETENESS_END_DECISION);
    expect([answer.before?.callerSeq, answer.after?.callerSeq, answer.decisions]).to.deep.equal([3n, 9n, 5n]);
    const within = { principal: "operator", fromTime: from, untilTime: until };
    const { chains } = await served.as("observer").audit.listFrozenChains(within);
    const numbers = chains.map(({ callerSeq }) => callerSeq).toSorted((a, b) => Number(a - b));
    expect(numbers).to.deep.equal([4n, 5n, 6n, 7n, 8n]);
    const span = ["--who", "operator", "--from", from.toISOString(), "--until", until.toISOString()];
    const shown = await command(...span, "--genesis", await genesis());
    expect(shown.exitCode, shown.problems).to.equal(0);
    expect(shown.output)
      .to.include("5 in the span, and no other")
      .and.to.include("yes, from the genesis record");
    const asJson = ProveCompletenessResponse.fromJSON(JSON.parse((await command(...span, "--json")).output));
    expect(asJson.decisions).to.equal(5n);
  });

  it("ends with the newest decision while that is young, and with a head once it is not", async () => {
    await decide(3);
    const young = await prove();
    expect(young.end).to.equal(COMPLETENESS_END_NEWEST);
    expect([young.before, young.decisions]).to.deep.equal([undefined, 3n]);
    aheadMs += 21_000;
    const before = served.server.ledger.reader.size;
    const first = await prove();
    expect([first.end, first.decisions]).to.deep.equal([COMPLETENESS_END_HEAD, 3n]);
    expect(first.after?.record?.kind).to.equal("caller_head");
    const again = await prove();
    expect(again.after?.record?.position).to.equal(first.after?.record?.position);
    expect(served.server.ledger.reader.size).to.equal(before + 1n);
    aheadMs += 21_000;
    const next = await prove();
    expect(next.after?.record?.prev).to.deep.equal(first.after?.record?.hash);
    expect((await command("--who", "operator", "--genesis", await genesis())).output).to.include(
      "recorded after the span",
    );
  });

  it("is proved of a span that ended, of nothing, and of a caller that never decided", async () => {
    await decide(2);
    const [from, until] = [moment(), moment()];
    const tooEarly = await prove({ fromTime: from, untilTime: until });
    expect([tooEarly.end, tooEarly.decisions]).to.deep.equal([COMPLETENESS_END_NEWEST, 0n]);
    aheadMs += 21_000;
    const nothing = await prove({ fromTime: from, untilTime: until });
    expect([nothing.end, nothing.decisions]).to.deep.equal([COMPLETENESS_END_HEAD, 0n]);
    expect(nothing.before?.callerSeq).to.equal(nothing.after?.callerSeq);
    const never = await prove({}, "mentor");
    expect([never.end, never.decisions, never.after?.callerSeq]).to.deep.equal([
      COMPLETENESS_END_HEAD,
      0n,
      0n,
    ]);
    await decide(1);
    const closed = await prove({ fromTime: from, untilTime: until });
    expect([closed.end, closed.decisions]).to.deep.equal([COMPLETENESS_END_DECISION, 0n]);
  });

  it("has one head made by whoever asks again and again", async () => {
    await decide(2);
    aheadMs += 21_000;
    const before = served.server.ledger.reader.size;
    const until = moment();
    await Promise.all(Array.from({ length: 10 }, () => prove({ untilTime: until })));
    for (let asked = 0; asked < 10; asked += 1) await prove({ untilTime: moment() });
    expect(served.server.ledger.reader.size).to.equal(before + 1n);
    const last = await prove({ untilTime: moment() });
    expect([last.end, last.after?.record?.kind, last.decisions]).to.deep.equal([
      COMPLETENESS_END_NEWEST,
      "caller_head",
      2n,
    ]);
    expect(
      (await command("--who", "operator", "--until", moment().toISOString(), "--genesis", await genesis()))
        .exitCode,
    ).to.equal(0);
  });

  it("holds of a head that is recorded while its caller decides", async () => {
    await decide(1);
    aheadMs += 21_000;
    const operator = served.as("operator");
    const asked = Array.from({ length: 40 }, () =>
      operator.trust.check({ action: "write", target: "user/notes" }),
    );
    const heads = await Promise.all(
      Array.from({ length: 5 }, () => prove({ untilTime: new Date(nowMs() - 15_000) })),
    );
    await Promise.all(asked);
    const { reader } = served.server.ledger;
    let newest = 0n;
    for (let position = 1n; position < reader.size; position += 1n) {
      const { body } = await reader.readAt(position);
      const payload = body.payload as { readonly caller_seq?: number; readonly seq?: number };
      if (body.kind === "caller_head") expect(BigInt(payload.seq ?? -1)).to.equal(newest);
      if (body.kind === "frozen_chain") newest = BigInt(payload.caller_seq ?? 0);
    }
    expect(newest).to.equal(41n);
    for (const { before, decisions } of heads)
      expect([before, decisions <= 41n]).to.deep.equal([undefined, true]);
  });

  it("goes on after a restore above what was restored, and names the gap", async () => {
    const answer = await restoredAnswer(cwd);
    expect(answer.output, answer.problems)
      .to.include("3 in the span")
      .and.to.match(/restored at +\d+: /);
    expect(answer.exitCode).to.equal(1);
  });

  it("is not taken from a server that answers something else", async () => {
    await decide(2);
    const from = moment();
    await decide(2);
    await decide(1, "mentor");
    const until = moment();
    await decide(1);
    await decide(1, "mentor");
    const span = { fromTime: from, untilTime: until };
    const walk = await walkKeys(served.as("observer"), parseHash(fromHex(await genesis())));
    const asked = { caller: "operator", tenant: "acme", fromMs: from.getTime(), untilMs: until.getTime() };
    const [answer, ofMentor, whole] = [await prove(span), await prove(span, "mentor"), await prove()];
    expect(await requireProof(walk, answer, asked)).to.deep.equal({ caller: "operator", tenant: "acme" });
    const mutations: readonly (readonly [
      string,
      Partial<ProveCompletenessResponse>,
      Partial<Asked>,
      RegExp,
    ])[] = [
      ["another caller", ofMentor, {}, /about mentor/],
      ["another tenant", answer, { tenant: "globex" }, /about tenant acme/],
      ["fewer decisions", { decisions: 1n }, {}, /counts otherwise/],
      ["no end", { after: undefined }, {}, /nothing ends/],
      ["an end nobody knows", { end: 99 as CompletenessEnd }, {}, /does not say how/],
      ["a head that is a decision", { end: COMPLETENESS_END_HEAD }, {}, /does not end as/],
      ["a later begin", { before: undefined }, {}, /counts otherwise/],
      ["two callers", { before: ofMentor.after }, {}, /not one caller's/],
      ["the two exchanged", { before: answer.after, after: answer.before }, {}, /order of the ledger/],
      ["a first one in the span", {}, { fromMs: 0 }, /not before the span/],
      ["a last one in the span", {}, { untilMs: until.getTime() + 60_000 }, /not after the span/],
      ["another number", { after: answer.after && { ...answer.after, callerSeq: 9n } }, {}, /and not 9/],
      ["another proof", { after: whole.after && { ...whole.after, inclusionProof: [] } }, {}, /./],
    ];
    for (const [what, changed, askedElse, rule] of mutations) {
      const told = await requireProof(walk, { ...answer, ...changed }, { ...asked, ...askedElse }).then(
        () => "taken",
        (error: unknown) => (error instanceof ProofError ? error.message : String(error)),
      );
      expect(told, what).to.match(rule).and.not.equal("taken");
    }
  });

  it("is answered about oneself to anybody, about others to an Observer, and only of one's tenant", async () => {
    await decide(1);
    const operator = served.as("operator").audit;
    expect((await operator.proveCompleteness({})).decisions).to.equal(1n);
    const codes = await Promise.all(
      [
        served.as("guest").audit.proveCompleteness({}),
        served.as("guest").audit.proveCompleteness({ principal: "operator" }),
        operator.proveCompleteness({ principal: "nobody" }),
        operator.proveCompleteness({ tenant: "globex" }),
        operator.proveCompleteness({ untilTime: new Date(nowMs() + 60_000) }),
        operator.proveCompleteness({ fromTime: new Date(2_000), untilTime: new Date(1_000) }),
      ].map(async (call) => (await refusalOf(call)).codeName),
    );
    expect(codes).to.deep.equal([
      "INVALID_ARGUMENT",
      "PERMISSION_DENIED",
      "NOT_FOUND",
      "PERMISSION_DENIED",
      "INVALID_ARGUMENT",
      "INVALID_ARGUMENT",
    ]);
  });
});
