/** A server that was told to stop ends, whatever its callers do. */
import { randomBytes } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, createTokenSigner } from "@sigil/client";
import { expect } from "chai";
import { describe, it } from "mocha";
import { closeOnSignal } from "../../src/wire/signals.ts";
import { freePorts, serving, sigilHere } from "./command.ts";
import { makeDeployment } from "./deployment.ts";

const origin = "stop.test";
/** A connection that is not shared with the others of this process. */
const own = { "grpc.use_local_subchannel_pool": 1 };

describe("a stop", function () {
  this.slow(6000);

  it("ends the process also while a watcher does not read", async () => {
    const cwd = await mkdtemp(join(tmpdir(), "sigil-stop-"));
    try {
      await sigilHere(["init", "--data", "data", "--dev", "--origin", origin], { cwd });
      const server = await serving(["serve", "--data", "data", ...freePorts], { cwd });
      const privateKey = await readFile(join(cwd, "data.keys/operator.pem"), "utf8");
      const signer = createTokenSigner({ principal: "operator", origin, privateKey });
      using connection = connect({ target: server.target, tls: "insecure", signer });
      const watch = connection.canon.watch({ fromPosition: 0n });
      await watch.next();
      // More than the windows of HTTP/2 and of the sockets hold together.
      const text = randomBytes(48 << 10).toString("hex");
      for (let batch = 0; batch < 20; batch += 1) {
        const writes = Array.from({ length: 5 }, (_, at) => ({
          id: `large/${batch}-${at}`,
          kind: "blob",
          content: { $case: "payloadJson", value: JSON.stringify({ text }) } as const,
        }));
        await connection.canon.batchWriteRecords({ writes });
      }
      expect(await server.stop()).to.equal(0);
      await watch.return();
    } finally {
      await rm(cwd, { recursive: true, force: true });
    }
  });

  it("serves old and new connections on for drain_delay_ms while health says NOT_SERVING; a second signal cuts it short", async () => {
    await using deployment = await makeDeployment();
    await using served = await deployment.serve({ config: { drain_delay_ms: 3_600_000 } });
    const { server, logged } = served;
    const stopped = closeOnSignal(server);
    const [old, late] = [served.as("operator"), served.as("operator", { channelOptions: own })];
    const watch = old.canon.watch({ fromPosition: 0n });
    await watch.next();
    process.emit("SIGTERM", "SIGTERM");
    for (const connection of [old, late]) {
      expect(await connection.health("")).to.equal("NOT_SERVING");
      expect(await connection.health("sigil.trust.v1.TrustService")).to.equal("NOT_SERVING");
      expect((await connection.trust.check({ action: "read", target: "public/a" })).allowed).to.equal(true);
    }
    expect(await (await fetch(`${server.operatorUrl}/readyz`)).text()).to.equal("not ready: stopping\n");
    await late.canon.writeRecord({ id: "a", kind: "blob", content: { $case: "payloadJson", value: "{}" } });
    expect((await watch.next()).done).to.equal(false);
    expect(logged()).to.not.include("draining");
    process.emit("SIGINT", "SIGINT");
    expect(await stopped).to.equal("SIGTERM");
    expect(logged()).to.include("draining");
    expect(server.ledger.status.kind).to.equal("closed");
    await watch.return();
  });

  it("drains by itself when the delay is over", async () => {
    await using deployment = await makeDeployment();
    await using served = await deployment.serve({ config: { drain_delay_ms: 100 } });
    const stopped = closeOnSignal(served.server);
    process.emit("SIGTERM", "SIGTERM");
    expect(await stopped).to.equal("SIGTERM");
    expect(served.logged()).to.match(/serving on while health says NOT_SERVING[^]*draining[^]*stopped/);
  });

  it("is not what SIGHUP asks for, with certificates or without, also while the server starts", async () => {
    await using deployment = await makeDeployment();
    const starting = deployment.serve();
    const stopped = closeOnSignal(starting.then(({ server }) => server));
    process.emit("SIGHUP", "SIGHUP");
    await using served = await starting;
    process.emit("SIGHUP", "SIGHUP");
    expect((await served.as("guest").trust.check({ action: "read", target: "public/a" })).allowed).to.equal(
      true,
    );
    expect(served.logged().match(/nothing to read again/g)).to.have.lengthOf(2);
    process.emit("SIGTERM", "SIGTERM");
    expect(await stopped).to.equal("SIGTERM");
    expect(process.listenerCount("SIGHUP")).to.equal(0);
  });
});
