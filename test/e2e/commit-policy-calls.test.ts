/**
 * What waits under `commit_policy = "cosigned"`: every call that answers for a decision, by every transport, and a
 * module before it runs; and witnesses that are processes of their own.
 */
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect } from "chai";
import { afterEach, beforeEach, describe, it } from "mocha";
import { SigilError, type StreamChecksResponse } from "@sigil/client";
import { attributesOf, askingAt } from "../contract/ext-authz.ts";
import { put, writeOf } from "./canon-writes.ts";
import { sigilHere } from "./command.ts";
import {
  asked,
  CosignedWorld,
  isPending,
  notCosigned,
  policyOf,
  type NamedWitness,
} from "./cosigned-world.ts";
import { json, newKey, rawKey } from "./council.ts";
import { origin } from "./deployment.ts";
import { makeEnvoyWorld } from "./envoy-world.ts";
import { httpConfig, urlOf } from "./http-caller.ts";
import { logKeyOf, spawnWitness, until, type WitnessProcess } from "./log-witnesses.ts";
import { approve, codeOf as moduleOf, json as inputOf, upload } from "./modules.ts";
import { refusalOf } from "./refusal.ts";

describe("calls that wait for cosignatures", function () {
  this.slow(10_000);
  let world: CosignedWorld;
  beforeEach(async () => {
    world = await CosignedWorld.open();
  });
  afterEach(() => world[Symbol.asyncDispose]());

  it("are what every call waits for, and none of them gives what is not covered", async () => {
    await world.serve({ ...httpConfig, cosigned_timeout_ms: 6000 });
    const [root, mentor] = [world.council.as("root"), world.council.as("mentor")];
    const code = moduleOf({
      inside: '(data (i32.const 64) "x")',
      body: "(call $say (i32.const 64) (i32.const 1))",
    });
    for (const name of ["short", "gone-0", "gone-1"]) await approve(world.council, name, code);
    const over = async (path: string, body: unknown): Promise<void> => {
      const token = await world.council.deployment.signer("operator").token();
      const response = await fetch(urlOf(world.council.served) + path, {
        method: "POST",
        body: JSON.stringify(body),
        headers: { "content-type": "application/json", authorization: `Bearer ${token}` },
      });
      const text = await response.text();
      if (response.status === 200) return;
      const reason = text.includes("commit_policy cosigned: the record is committed") ? "NOT_COSIGNED" : text;
      throw new SigilError(response.status, response.headers.get("retry-after") ?? "", { reason });
    };
    /** Whose statuses are in their messages. */
    const inside = async (answers: AsyncIterable<{ readonly outcome?: unknown }>): Promise<void> => {
      for await (const { outcome } of answers as AsyncIterable<StreamChecksResponse>)
        if (outcome?.$case === "error") throw SigilError.fromStatus(outcome.value);
    };
    const through = async (parts: AsyncIterable<unknown>): Promise<void> => {
      for await (const part of parts)
        expect(part, "nothing comes before the decision is covered").to.be.an("object");
    };
    /** Each twice: what is prepared is there while witnesses answer, and what is done is done once. */
    const calls: Readonly<Record<string, (round: 0 | 1) => Promise<() => Promise<unknown>>>> = {
      Check: async () => () => world.check(),
      BatchCheck: async () => () => world.operator.trust.batchCheck({ checks: [asked, asked] }),
      StreamChecks: async () => () =>
        inside(world.operator.trust.streamChecks([{ correlationId: "a", check: asked }])),
      "POST /trust/check": async () => () => over("/trust/check", asked),
      "POST /access/v1/evaluation": async () => () =>
        over("/access/v1/evaluation", {
          subject: { type: "user", id: "operator" },
          action: { name: "read" },
          resource: { type: "public", id: "docs" },
        }),
      WriteRecord: async () => () => put(world.operator, "a/note", { n: 1 }),
      BatchWriteRecords: async () => () =>
        world.operator.canon.batchWriteRecords({ writes: [writeOf("b/1", {}), writeOf("b/2", {})] }),
      ProposeRecord: async () => () => world.council.proposeAny(),
      ProposeWitnessChange: async (round) => () => {
        const value = { id: `dan-${round}`, publicKey: rawKey(newKey()), owner: `Dan ${round}` };
        return world.council.proposeChange({ $case: "add", value });
      },
      AttestProposal: async () => {
        const proposal = await world.council.proposeAny();
        return () => world.council.attest(proposal, "ann");
      },
      CommitProposal: async () => {
        const proposal = await world.council.proposeAny({ separateCommit: true });
        await world.council.approve(proposal, "ann", "ben");
        return () => world.council.commit(proposal);
      },
      WithdrawProposal: async () => {
        const proposal = await world.council.proposeAny();
        return () => mentor.canon.withdrawProposal({ id: proposal.id });
      },
      SuspendPrincipal: async (round) => () =>
        root.principals.suspendPrincipal({ principal: ["owen", "olga"][round] ?? "", reason: "stolen" }),
      WithdrawFeedGrant: async (round) => {
        const content = json({ tenants: ["acme"], kinds: ["*"], spaces: ["*"] });
        const principal = ["fay", "finn"][round] ?? "";
        const proposal = await world.council.propose({ id: `feed_grant/${principal}`, content });
        await world.council.approve(proposal, "ann", "ben");
        return () => root.principals.withdrawFeedGrant({ principal });
      },
      Run: async () => () => world.operator.modules.run({ name: "short" }),
      RunStream: async () => () => through(world.operator.modules.runStream({ run: { name: "short" } })),
      ProposeModule: async (round) => () => mentor.modules.proposeModule(upload(`new-${round}`, code)),
      RetireModule: async (round) => () => mentor.modules.retireModule({ name: `gone-${round}` }),
    };
    const names = Object.keys(calls);
    const second = new Map<string, () => Promise<unknown>>();
    for (const name of names) {
      await (
        await calls[name]?.(0)
      )?.();
      second.set(name, (await calls[name]?.(1)) ?? (() => Promise.resolve()));
    }
    await world.stop(1, 2);
    const size = world.reader.size;
    const refused = await Promise.all(
      names.map(async (name) => refusalOf(second.get(name)?.() ?? Promise.resolve()).catch(() => name)),
    );
    expect(refused.map((refusal) => (typeof refusal === "string" ? refusal : refusal.reason))).to.deep.equal(
      names.map(() => "NOT_COSIGNED"),
    );
    for (const [index, refusal] of refused.entries()) {
      if (typeof refusal === "string" || names[index]?.startsWith("POST") !== true) continue;
      expect([refusal.code, refusal.message]).to.deep.equal([503, "CODE_503: 1"]);
    }
    // All of them were decided and recorded, and what they did stands.
    expect(Number(world.reader.size - size)).to.be.greaterThan(names.length);
    const { principal } = await root.principals.getPrincipal({ principal: "olga" });
    expect(principal?.suspension?.reason).to.equal("stolen");
    // But a module acts on its decision, and did not run.
    const { records } = await world.council
      .as("observer")
      .canon.listRecords({ filter: { kind: "module_run" } });
    expect(records).to.have.length(2);
  });

  it("are also what a run of a module waits for, once it has run", async () => {
    const gate = await world.gate(1);
    await world.stop(2);
    await world.serve();
    const ada = { name: "hello", input: inputOf({ name: "Ada" }) } as const;
    await world.operator.modules.run(ada);
    await until(async () => (await world.cosignedSize()) === world.reader.size);
    // One round for its decision, and one for the record of the run.
    gate.shut(1);
    const size = world.reader.size;
    const running = world.operator.modules.run(ada);
    await until(() => world.reader.size === size + 2n);
    expect(await isPending(running)).to.equal(true);
    gate.release();
    const { ledgerPosition, outputJson } = await running;
    expect([ledgerPosition, outputJson]).to.deep.equal([size + 1n, '{"greeting":"hello, Ada"}']);
    expect((await world.cosignedSize()) > ledgerPosition).to.equal(true);
  });

  it("are Envoy's too", async () => {
    await using other = await makeEnvoyWorld();
    await world.stop(0, 1, 2);
    {
      await using first = await other.serve();
      for (const place of world.places) await place.start(first.server.ledger.reader);
    }
    await using served = await other.serve({ config: world.config({ cosigned_timeout_ms: 4000 }) });
    using envoy = askingAt(served.server.target, other.pem("envoy"));
    const attributes = attributesOf({ principal: `spiffe://${origin}/observer`, path: "/public/a" });
    expect((await envoy.ask(attributes)).httpResponse?.$case).to.equal("okResponse");
    await world.stop(1, 2);
    expect(SigilError.from(await envoy.ask(attributes).catch((error: unknown) => error))).to.include(
      notCosigned,
    );
  });

  it("come from processes of sigil witness serve, killed and started again", async () => {
    await writeFile(join(world.directory, "logs.policy"), `log ${logKeyOf(world.reader)}\nquorum none\n`);
    const running: WitnessProcess[] = [];
    const launch = async (number: number, listen = "127.0.0.1:0"): Promise<NamedWitness> => {
      const name = `witness.example/p${number}`;
      const [key, state] = [`p${number}.pem`, `p${number}.state`];
      if (listen.endsWith(":0")) await sigilHere(["key", "new", key], { cwd: world.directory });
      const shown = await sigilHere(["key", "show", key, "--vkey", name], { cwd: world.directory });
      const flags = ["--name", name, "--key", key, "--logs", "logs.policy", "--state", state];
      const started = await spawnWitness([...flags, "--listen", listen], world.directory);
      running[number - 1] = started;
      return { vkey: shown.output.trim(), url: started.url };
    };
    const kill = async (number: number): Promise<void> => {
      const child = running[number - 1]?.child;
      if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
      const closed = once(child, "close");
      child.kill("SIGKILL");
      await closed;
    };
    try {
      const each = [await launch(1), await launch(2), await launch(3)];
      await world.write(policyOf(each));
      await world.serve({ cosigned_timeout_ms: 4000 });
      await kill(3);
      expect((await world.check()).allowed).to.equal(true);
      await kill(2);
      expect(await refusalOf(world.check("a key"))).to.include(notCosigned);
      const recorded = await world.newest();
      await launch(2, new URL(each[1]?.url ?? "").host);
      await until(async () => (await world.check("a key").catch(() => undefined)) !== undefined);
      expect(await world.check("a key")).to.include({
        allowed: true,
        auditId: recorded.auditId,
        replayed: true,
      });
    } finally {
      for (const number of [1, 2, 3]) await kill(number);
    }
  });
});
