/** A server that was told to stop ends, whatever its callers do. */
import { randomBytes } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, createTokenSigner } from "@sigil/client";
import { expect } from "chai";
import { describe, it } from "mocha";
import { freePorts, serving, sigil } from "./command.ts";

const origin = "stop.test";

describe("a stop", function () {
  this.timeout(60_000);
  this.slow(6000);

  it("ends the process also while a watcher does not read", async () => {
    const cwd = await mkdtemp(join(tmpdir(), "sigil-stop-"));
    try {
      await sigil(["init", "--data", "data", "--dev", "--origin", origin], { cwd });
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
});
