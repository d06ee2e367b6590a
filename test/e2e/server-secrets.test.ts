/** Canaries through real calls: no payload, token or key in logs, errors or metrics. */
import { expect } from "chai";
import { describe, it } from "mocha";
import { SigilError, type SigilConnection } from "@sigil/client";
import { evaluate } from "../../src/core/model/model.ts";
import { rawCall } from "../contract/raw-call.ts";
import { makeDeployment, type Deployment, type ServedDeployment } from "./deployment.ts";

const canary = "canary-7f3a9c51-of-the-input";
const foreignToken = "eyJhbGciOiJFZERTQSJ9.Y2FuYXJ5LXRva2Vu.Y2FuYXJ5LXNpZ25hdHVyZQ";
const question = { action: "write", target: "user/notes", input: Buffer.from(canary) };

/** A secret as it might have been written by somebody who printed the bytes. */
const spellings = (secret: string): readonly string[] => {
  const bytes = Buffer.from(secret);
  // Base64 of a text inside a longer one depends on where it starts.
  const shifted = [0, 1, 2].map((start) => bytes.subarray(start).toString("base64").slice(4, 24));
  return [secret, bytes.toString("hex"), [...bytes].join(","), ...shifted];
};

const secretsOf = async (deployment: Deployment): Promise<readonly string[]> => {
  const { d = "" } = deployment.privateKeys.operator.export({ format: "jwk" });
  return [canary, foreignToken, d, await deployment.signer("operator").token()];
};

/** What the process itself prints from now on, until it is asked for. */
const printing = (): (() => string) => {
  let text = "";
  const write = process.stderr.write.bind(process.stderr);
  process.stderr.write = (part: string | Uint8Array) => {
    text += typeof part === "string" ? part : Buffer.from(part).toString();
    return true;
  };
  return () => {
    process.stderr.write = write;
    return text;
  };
};

/** Everything a stranger could read: what callers were told, the log, the metrics. */
const provoke = async (served: ServedDeployment, operator: SigilConnection): Promise<string> => {
  const told: unknown[] = [];
  const attempt = async (call: Promise<unknown>): Promise<void> => {
    await call.catch((error: unknown) => {
      const { message, facts, fieldViolations } = SigilError.from(error);
      told.push(message, facts, fieldViolations);
    });
  };
  const { auditId } = await operator.trust.check({ ...question, keepInput: true });
  await attempt(operator.trust.check(question));
  await attempt(operator.trust.check({ ...question, action: "" }));
  await attempt(operator.trust.check({ ...question, input: Buffer.alloc(300_000, canary) }));
  await attempt(operator.trust.check({ ...question, idempotencyKey: "k" }));
  await attempt(operator.trust.check({ ...question, input: Buffer.from(`${canary}!`), idempotencyKey: "k" }));
  await attempt(operator.trust.batchCheck({ checks: [question, { ...question, target: "" }] }));
  await attempt(operator.audit.getFrozenChain({ auditId }));
  await attempt(operator.audit.listFrozenChains({ pageToken: foreignToken }));
  const authorization = `Bearer ${foreignToken}`;
  await attempt(served.as("guest").trust.check(question, { metadata: { authorization } }));
  await attempt(served.as("guest").trust.check(question, { metadata: { authorization: foreignToken } }));
  const port = Number(served.server.target.split(":").at(-1));
  const printed = printing();
  for (const name of ["authorization", "x-api-key", "x!name"]) {
    const value = Buffer.from(`Bearer é${foreignToken}`);
    told.push(
      await rawCall({ port }, "/sigil.trust.v1.TrustService/Check", [[name, value]], Buffer.alloc(0)),
    );
  }
  told.push(printed());
  const { operatorUrl } = served.server;
  told.push(
    await (await fetch(`${operatorUrl}/metrics`)).text(),
    await (await fetch(`${operatorUrl}/readyz`)).text(),
  );
  return JSON.stringify(told) + served.logged();
};

describe("secrets", () => {
  it("are in no log line, no error and no metric, whatever goes wrong", async () => {
    await using deployment = await makeDeployment();
    let calls = 0;
    await using served = await deployment.serve({
      config: { log_level: "trace", slow_call_ms: 1 },
      overrides: {
        evaluate: (model, features) => {
          calls += 1;
          if (calls % 2 === 0) throw new Error(`cannot evaluate "${canary}" with ${foreignToken}`);
          return evaluate(model, features);
        },
      },
    });
    const seen = await provoke(served, served.as("operator"));
    expect(seen).to.contain("call failed");
    for (const secret of await secretsOf(deployment)) {
      for (const spelling of spellings(secret)) expect(seen.includes(spelling), spelling).to.equal(false);
    }
  });

  it("are struck out of the causes of incidents", async () => {
    await using deployment = await makeDeployment();
    let broken = false;
    await using served = await deployment.serve({
      overrides: {
        clock: {
          nowMs: () => {
            if (broken) throw new Error(`clock said "${canary}" to Bearer ${foreignToken}`);
            return Date.now();
          },
        },
      },
    });
    const guest = served.as("guest");
    broken = true;
    const error = await guest.trust.check(question).catch(SigilError.from);
    broken = false;
    if (!(error instanceof SigilError)) throw new Error("a broken clock gave an answer");
    const incident = error.facts["incident"] ?? "none";
    const line = served
      .logged()
      .split("\n")
      .find((text) => text.includes(incident));
    expect(line).to.contain("clock said").and.not.to.contain(canary);
    expect(line).not.to.contain(foreignToken);
    expect((await guest.trust.check({ action: "read", target: "public/docs" })).allowed).to.equal(true);
  });
});
