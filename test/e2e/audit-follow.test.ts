/** Listing by what the index finds, and following decisions exactly once, over a socket and on the command line. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { ListOrder, type ListFrozenChainsRequest } from "@sigil/client";
import { deploymentFormat } from "../../src/deployment/file.ts";
import { unpackFormat } from "../data/formats/unpack.ts";
import { freePorts, running, servingHere, sigilHere } from "./command.ts";
import { makeDeployment, type Deployment, type ServedDeployment } from "./deployment.ts";
import { codeOf } from "./refusal.ts";

describe("decisions by index and by position", () => {
  let deployment: Deployment;
  let served: ServedDeployment;
  const made: string[] = [];

  const walk = async (request: Partial<ListFrozenChainsRequest>): Promise<string[]> => {
    const ids: string[] = [];
    for (let pageToken = ""; ;) {
      const page = await served.as("observer").audit.listFrozenChains({ ...request, pageToken });
      ids.push(...page.chains.map(({ auditId }) => auditId));
      if (page.nextPageToken === "") return ids;
      pageToken = page.nextPageToken;
    }
  };

  before(async () => {
    deployment = await makeDeployment();
    served = await deployment.serve();
  });
  after(async () => {
    await served[Symbol.asyncDispose]();
    await deployment[Symbol.asyncDispose]();
  });

  it("filters by reason, session and target prefix, in any spelling, and joins them", async () => {
    const operator = served.as("operator");
    const ask = (target: string, session = "") => operator.trust.check({ action: "read", target, session });
    const order = ListOrder.LIST_ORDER_OLDEST_FIRST;
    const wanted = [(await ask("vault/ann", "s 1")).auditId, (await ask("vault/ann/key", "s 1")).auditId];
    const others = [(await ask("vault/anna", "s 1")).auditId, (await ask("vault/ann/key", "s 2")).auditId];
    made.push(...wanted, ...others);
    expect(await walk({ order, targetPrefix: "vault/ann", session: "s 1" })).to.deep.equal(wanted);
    expect(await walk({ order, targetPrefix: "vault//ann/", session: "s 1" })).to.deep.equal(wanted);
    expect(await walk({ order, targetGlob: "vault/ann/**" })).to.include(others[1]);
    expect(await walk({ order, session: "s 1" })).to.deep.equal([...wanted, others[0]]);
    const { chain } = await operator.audit.getFrozenChain({ auditId: wanted[0] ?? "" });
    const ofReason = await walk({ order, reason: chain?.reason ?? "", targetPrefix: "vault" });
    expect(ofReason).to.include.members(wanted);
    expect(await walk({ reason: "NO_SUCH_REASON" })).to.deep.equal([]);
    expect(await codeOf(walk({ reason: "no such reason" }))).to.equal("INVALID_ARGUMENT");
    expect(await codeOf(walk({ targetPrefix: "vault/../x" }))).to.equal("INVALID_ARGUMENT");
  });

  it("is followed from position to position: every decision once and in order, whatever is asked meanwhile", async () => {
    const [operator, { audit }] = [served.as("operator"), served.as("observer")];
    const seen: string[] = [];
    let fromPosition = 0n;
    let pageToken = "";
    for (let round = 0; round < 30; round += 1) {
      if (round < 20) made.push((await operator.trust.check({ action: "read", target: "public/x" })).auditId);
      const order = ListOrder.LIST_ORDER_OLDEST_FIRST;
      const page = await audit.listFrozenChains({ order, pageSize: 7, fromPosition, pageToken });
      seen.push(...page.chains.map(({ auditId }) => auditId));
      // Either way of going on: the token of this walk, or a walk of its own.
      if (round % 2 === 0 && page.nextPageToken !== "") pageToken = page.nextPageToken;
      else [fromPosition, pageToken] = [page.resumePosition, ""];
    }
    expect(seen).to.deep.equal(made);
    const newest = await audit.listFrozenChains({ pageSize: 1 });
    expect(newest.resumePosition).to.equal(newest.ledgerSize);
    expect((await audit.listFrozenChains({ fromPosition: newest.ledgerSize })).chains).to.deep.equal([]);
    const ahead = audit.listFrozenChains({ fromPosition: newest.ledgerSize + 1n });
    expect(await codeOf(ahead)).to.equal("OUT_OF_RANGE");
  });
});

describe("sigil audit list --follow", () => {
  it("shows each decision once, ends with Ctrl-C, and goes on where it was", async () => {
    const cwd = await mkdtemp(join(tmpdir(), "sigil-follow-"));
    try {
      const facts = unpackFormat(deploymentFormat, cwd);
      const env = { [facts.kekName]: facts.kek };
      await using server = await servingHere(["serve", "--data", "data", ...freePorts], { cwd, env });
      const at = { cwd, env: { ...env, SIGIL_CLIENT_SERVER: server.target } };
      const asOperator = ["--key", "operator.pem", "--principal", "operator"];
      const list = ["audit", "list", "--follow", "--json", ...asOperator];
      const ask = async (target: string): Promise<void> => {
        const words = ["check", "--action", "read", "--target", target, ...asOperator];
        expect((await sigilHere(words, at)).exitCode).to.be.oneOf([0, 1]);
      };
      type Line = { readonly target: string; readonly nextPosition: string };
      const linesOf = (output: string) =>
        output
          .trim()
          .split("\n")
          .map((line) => JSON.parse(line) as Line);
      await ask("follow/1");
      await using first = running([...list, "--target-prefix", "follow"], at);
      await first.printed(/follow\/1/);
      await ask("elsewhere");
      await ask("follow/2");
      const seen = linesOf(await first.printed(/follow\/2/));
      expect(seen.map(({ target }) => target)).to.deep.equal(["follow/1", "follow/2"]);
      expect(await first.end("SIGINT")).to.equal(0);
      await ask("follow/3");
      const next = seen.at(-1)?.nextPosition ?? "";
      await using second = running([...list, "--target-prefix", "follow", "--from-position", next], at);
      const rest = linesOf(await second.printed(/follow\/3/));
      expect(rest.map(({ target }) => target)).to.deep.equal(["follow/3"]);
      expect(await second.end("SIGINT")).to.equal(0);
      const wrong = await sigilHere([...list, "--until", "2030-01-01"], at);
      expect(wrong.exitCode).to.equal(2);
      expect(wrong.problems).to.include("--until does not go with --follow");
    } finally {
      await rm(cwd, { recursive: true });
    }
  });
});
