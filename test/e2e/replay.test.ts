/** A decision worked out again by the server: what agrees, what is taken as recorded, and what a forger changed. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { describe, it } from "mocha";
import { ReplayOutcome, type ReplayDecisionResponse } from "@sigil/client";
import { parseHash, utf8Encode } from "../../src/core/bytes.ts";
import type { CborMap } from "../../src/core/cbor/cbor.ts";
import { FEATURES } from "../../src/core/model/features.ts";
import { freePorts, servingHere, sigilHere } from "./command.ts";
import { makeDeployment } from "./deployment.ts";
import { refusalOf } from "./refusal.ts";

const { REPLAY_OUTCOME_EQUAL, REPLAY_OUTCOME_DIFFERENT, REPLAY_OUTCOME_PARTIAL, REPLAY_OUTCOME_AS_RECORDED } =
  ReplayOutcome;

const outcomeOf = ({ values }: ReplayDecisionResponse, field: string): ReplayOutcome | undefined =>
  values.find((value) => value.field === field)?.outcome;

const differing = ({ values }: ReplayDecisionResponse): readonly string[] =>
  values.flatMap(({ field, outcome }) => (outcome === REPLAY_OUTCOME_DIFFERENT ? [field] : []));

describe("a decision worked out again", function () {
  this.slow(5000);

  it("is equal, value by value, and partial where its input was not kept", async () => {
    await using deployment = await makeDeployment();
    await using served = await deployment.serve();
    const operator = served.as("operator");
    const question = { action: "write", target: "user/notes", input: utf8Encode("some text") };
    for (const keepInput of [true, false]) {
      const { auditId } = await operator.trust.check({ ...question, keepInput });
      const response = await operator.audit.replayDecision({ auditId });
      const { chain } = await operator.audit.getFrozenChain({ auditId });
      expect(response.outcome).to.equal(keepInput ? REPLAY_OUTCOME_EQUAL : REPLAY_OUTCOME_PARTIAL);
      expect(response.values.map(({ field }) => field)).to.deep.equal([
        ...FEATURES.map((name) => `features.${name}`),
        ...FEATURES.map((name) => `contributions.${name}`),
        "z",
        "score",
        "threshold",
        "review.low",
        "review.high",
        "verdict",
        "reason",
      ]);
      expect(outcomeOf(response, "features.rate")).to.equal(REPLAY_OUTCOME_AS_RECORDED);
      expect(outcomeOf(response, "features.entropy")).to.equal(
        keepInput ? REPLAY_OUTCOME_EQUAL : REPLAY_OUTCOME_AS_RECORDED,
      );
      const z = response.values.find(({ field }) => field === "z");
      expect(z?.recorded?.value).to.deep.equal({ $case: "number", value: chain?.z });
      expect(z?.recomputed).to.deep.equal(z?.recorded);
      expect(response.modelHash).to.deep.equal(chain?.modelHash);
      expect(response.modelPosition).not.to.equal(undefined);
    }
  });

  it("differs where the record says something else than its model gives", async () => {
    await using deployment = await makeDeployment();
    await using served = await deployment.serve();
    const operator = served.as("operator");
    const { auditId } = await operator.trust.check({ action: "write", target: "user/notes" });
    const { ledger } = served.server;
    const { chain } = await operator.audit.getFrozenChain({ auditId });
    const { body } = await ledger.reader.readAt(chain?.record?.position ?? 0n);
    const payload = body.payload as CborMap;
    const features = payload["features"] as CborMap;
    const table: readonly (readonly [CborMap, readonly string[]])[] = [
      [{ verdict: "deny" }, ["verdict"]],
      // The score follows from z.
      [{ z: (chain?.z ?? 0) + 1 }, ["z", "score"]],
      [{ features: { ...features, level: 1 } }, ["features.level"]],
      [{ features: { ...features, entropy: 0.5 } }, ["contributions.entropy", "z", "score"]],
      [{ reason: "REVIEW_BAND" }, ["reason"]],
    ];
    for (const [index, [change, fields]] of table.entries()) {
      const id = `forged-${index}`;
      await ledger.append([{ ...body, id, payload: { ...payload, ...change } }]);
      const response = await operator.audit.replayDecision({ auditId: id });
      expect(response.outcome, id).to.equal(REPLAY_OUTCOME_DIFFERENT);
      expect(differing(response), id).to.deep.equal(fields);
    }
    const given = Object.entries(payload);
    const rest = Object.fromEntries(given.filter(([name]) => !["z", "threshold", "review"].includes(name)));
    const unscored = { ...rest, features: {}, contributions: {}, reason: "MODEL_MISSING", verdict: "deny" };
    await ledger.append([{ ...body, id: "unscored", links: [], payload: unscored }]);
    const bare = await operator.audit.replayDecision({ auditId: "unscored" });
    expect(bare).to.deep.include({ outcome: REPLAY_OUTCOME_EQUAL, modelPosition: undefined });
    expect(bare.values.map(({ field }) => field)).to.deep.equal(["verdict"]);
    const strange = [{ label: "model", target: parseHash(new Uint8Array(32)) }];
    await ledger.append([{ ...body, id: "strange", links: strange }]);
    expect((await refusalOf(operator.audit.replayDecision({ auditId: "strange" }))).codeName).to.equal(
      "DATA_LOSS",
    );
  });

  it("is for whoever may see it", async () => {
    await using deployment = await makeDeployment();
    await using served = await deployment.serve();
    const { auditId } = await served.as("operator").trust.check({ action: "write", target: "user/notes" });
    const codeOf = async (call: Promise<unknown>): Promise<string> => (await refusalOf(call)).codeName;
    expect(await codeOf(served.as("guest").audit.replayDecision({ auditId }))).to.equal("NOT_FOUND");
    const asked = { auditId, tenant: "acme" };
    expect(await codeOf(served.as("guest").audit.replayDecision(asked))).to.equal("PERMISSION_DENIED");
    expect((await served.as("root").audit.replayDecision(asked)).outcome).to.equal(REPLAY_OUTCOME_EQUAL);
  });

  it("is a table on the command line", async () => {
    const cwd = await mkdtemp(join(tmpdir(), "sigil-replay-"));
    try {
      const made = await sigilHere(["init", "--data", "data", "--dev", "--origin", "replay.test"], { cwd });
      expect(made.exitCode, made.problems).to.equal(0);
      const server = await servingHere(["serve", "--data", "data", ...freePorts], { cwd });
      try {
        const as = ["--key", "data.keys/operator.pem", "--principal", "operator", "--server", server.target];
        const asked = ["check", "--action", "write", "--target", "user/notes", "--json", ...as];
        const { auditId } = JSON.parse((await sigilHere(asked, { cwd })).output) as {
          readonly auditId: string;
        };
        const shown = await sigilHere(["audit", "replay", auditId, ...as], { cwd });
        expect(shown.exitCode, shown.problems).to.equal(0);
        expect(shown.output).to.match(/^EQUAL {2}model [0-9a-f]{64} at \d+\n/);
        expect(shown.output).to.match(/\nfeatures\.rate +0 +0 +as recorded\n/);
        expect(shown.output).to.match(/\nverdict +allow +allow +equal\n/);
        const json = await sigilHere(["audit", "replay", auditId, "--json", ...as], { cwd });
        expect(JSON.parse(json.output)).to.include({ outcome: "REPLAY_OUTCOME_EQUAL" });
        expect((await sigilHere(["audit", "replay", "none", ...as], { cwd })).exitCode).to.equal(2);
      } finally {
        await server.stop();
      }
    } finally {
      await rm(cwd, { recursive: true, force: true });
    }
  });
});
