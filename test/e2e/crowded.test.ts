/** Ports that others crowd: whoever has a name is served, and a probe is answered, whatever stands there in silence. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { canonV1, connect as dialSigil } from "@sigil/client";
import { expect } from "chai";
import { describe, it } from "mocha";
import { serve } from "../campaigns/starve/served.ts";
import { call, finish, frame, open } from "../campaigns/starve/wire.ts";
import { makeDeployment } from "./deployment.ts";
import { codeOf, refusalOf } from "./refusal.ts";

const { CanonServiceService: Canon, WatchRequest } = canonV1;

const dial = async (address: string): Promise<Socket> => {
  const colon = address.lastIndexOf(":");
  const socket = connect(Number(address.slice(colon + 1)), address.slice(0, colon))
    .on("error", () => {})
    .resume();
  await Promise.race([once(socket, "connect"), once(socket, "close")]);
  return socket;
};

const dialAll = (address: string, count: number): Promise<readonly Socket[]> =>
  Promise.all(Array.from({ length: count }, () => dial(address)));

describe("a crowd", () => {
  it("of idle connections leaves the ledger its files, and whoever has a name its connection and new ones", async () => {
    await using deployment = await makeDeployment();
    await using served = await serve(deployment.directory, 200);
    const as = () =>
      dialSigil({
        target: served.target,
        tls: "insecure",
        signer: deployment.signer("operator"),
        deadlineMs: 30_000,
      });
    const before = as();
    await before.trust.check({ action: "write", target: "user/a" });
    const idle = await dialAll(served.target, 250);
    const more: Socket[] = [];
    const check = { action: "write", target: "user/a" };
    for (let times = 0; times < 5; times += 1) {
      await before.trust.check(check);
      more.push(...(await dialAll(served.target, 20)));
    }
    const later = as();
    await later.trust.check(check);
    expect(await (await fetch(new URL("/readyz", served.operatorUrl))).text()).to.equal("ready\n");
    for (const connection of [before, later]) connection.close();
    for (const socket of [...idle, ...more]) socket.destroy();
  });

  it("of silent connections on the operator's port keeps no probe waiting, also when it comes again", async () => {
    await using deployment = await makeDeployment();
    await using served = await deployment.serve();
    const { operatorUrl } = served.server;
    const { host } = new URL(operatorUrl);
    const all: Socket[] = [];
    for (let waves = 0; waves < 3; waves += 1) {
      all.push(...(await dialAll(host, 64)));
      const reply = await fetch(new URL("/healthz", operatorUrl), { signal: AbortSignal.timeout(20_000) });
      expect(reply.status).to.equal(200);
    }
    for (const socket of all) socket.destroy();
  });

  it("of one caller's streams is refused past its number, and others have theirs", async () => {
    await using deployment = await makeDeployment();
    await using served = await deployment.serve({ config: { streams_per_caller_max: 3 } });
    const session = await open(served.server.target);
    const watching = frame(WatchRequest.encode(WatchRequest.fromPartial({})).finish());
    const token = await deployment.signer("observer").token();
    const begin = () => {
      const stream = call(session, Canon.watch.path, { token });
      stream.end(watching);
      return stream;
    };
    const watches = [begin(), begin(), begin()];
    await Promise.all(watches.map((stream) => once(stream, "response")));
    expect(await finish(begin()), "RESOURCE_EXHAUSTED").to.equal("8");
    const refused = await refusalOf(
      (async () => {
        for await (const _ of served.as("observer").canon.watch({})) break;
      })(),
    );
    expect([refused.codeName, refused.reason]).to.deep.equal(["RESOURCE_EXHAUSTED", "STREAMS_PER_CALLER"]);
    for await (const event of served.as("operator").canon.watch({})) {
      expect(event.event?.$case).to.equal("heartbeat");
      break;
    }
    watches[0]?.destroy();
    // Its place is free as soon as the server has heard of it.
    const watch = async (): Promise<string> => {
      for await (const _ of served.as("observer").canon.watch({})) return "OK";
      return "nothing";
    };
    while ((await codeOf(watch())) !== "OK") await new Promise((resolve) => setTimeout(resolve, 20));
    const metrics = await (await fetch(new URL("/metrics", served.server.operatorUrl))).text();
    expect(metrics).to.match(/sigil_refused_total\{bound="STREAMS_PER_CALLER"\} [2-9]/);
    session.destroy();
  });
});
