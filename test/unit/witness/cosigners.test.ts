/** What an operator reads of a witness that cannot be asked: the reason that Node.js gives, by its code. */
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { expect } from "chai";
import { afterEach, describe, it } from "mocha";
import { parsePublicKey } from "../../../src/core/bytes.ts";
import { sha256 } from "../../../src/core/hash.ts";
import { Cosigners } from "../../../src/witness/cosigners.ts";
import { makeCertificate } from "../../contract/certificates.ts";

const root = sha256(new Uint8Array(0));

/** Asks a witness at this URL once what it has seen. @returns what the log would say of it. */
const reasonAt = async (url: string): Promise<string> => {
  const reasons: string[] = [];
  const publicKey = parsePublicKey(new Uint8Array(32));
  const cosigners = new Cosigners({
    log: {
      origin: "log.example",
      newest: () => ({ checkpoint: "", size: 0n, root, proveConsistency: async () => [] }),
      rootAt: async () => root,
    },
    policy: {
      logs: [],
      witnesses: [{ label: "w", name: "witness.example", publicKey, url, use: "cosigner" }],
      groups: new Map(),
      quorum: "w",
    },
    intervalMs: 1000,
    onCosigned: () => {},
    onRefused: (_, rule) => reasons.push(rule),
  });
  expect(await cosigners.anchor(new AbortController().signal)).to.deep.equal(["w"]);
  return reasons.join("\n");
};

describe("witness/cosigners: the log says why a witness does not answer", () => {
  const servers: Server[] = [];
  const portOf = async (server: Server): Promise<number> => {
    servers.push(server);
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return (server.address() as AddressInfo).port;
  };
  afterEach(() => {
    for (const server of servers.splice(0)) server.close();
  });

  it("where nothing listens", async () => {
    const server = createServer();
    const port = await portOf(server);
    server.close();
    await once(server, "close");
    expect(await reasonAt(`http://127.0.0.1:${port}`)).to.equal("it does not answer: ECONNREFUSED");
  });

  it("where nobody vouches for its certificate", async () => {
    const { cert, key } = await makeCertificate("witness", "IP:127.0.0.1");
    const port = await portOf(createTlsServer({ cert, key }, (_, response) => response.end()));
    expect(await reasonAt(`https://127.0.0.1:${port}`)).to.equal(
      "it does not answer: DEPTH_ZERO_SELF_SIGNED_CERT",
    );
  });

  it("where it sends elsewhere, whoever it is", async () => {
    let asked = 0;
    const target = await portOf(
      createServer((_, response) => {
        asked += 1;
        response.writeHead(404).end();
      }),
    );
    const port = await portOf(
      createServer((_, response) =>
        response.writeHead(302, { location: `http://127.0.0.1:${target}/` }).end(),
      ),
    );
    expect(await reasonAt(`http://127.0.0.1:${port}`)).to.equal("it does not answer: unexpected redirect");
    expect(asked).to.equal(0);
  });
});
