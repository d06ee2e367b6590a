/** With a proxy in the environment, nothing goes there that is not encrypted or not meant for another machine. */
import { once } from "node:events";
import { createServer, type AddressInfo } from "node:net";
import { ServerCredentials } from "@grpc/grpc-js";
import { expect } from "chai";
import { afterEach, describe, it } from "mocha";
import { connect, SigilError, type TlsOptions } from "@sigil/client";
import { makeCertificate } from "../../contract/certificates.ts";
import { startServer } from "./server.ts";

const names = ["grpc_proxy", "https_proxy", "http_proxy", "no_proxy", "no_grpc_proxy"] as const;
const before = new Map(names.map((name) => [name, process.env[name]]));

afterEach(() => {
  for (const [name, value] of before) {
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  }
});

/** A proxy that writes down what it is asked for and refuses it. */
const startProxy = async () => {
  const asked: string[] = [];
  const proxy = createServer((socket) => {
    socket.on("error", () => {});
    socket.once("data", (bytes) => {
      asked.push(bytes.toString("latin1").split("\r\n")[0] ?? "");
      socket.end("HTTP/1.1 403 Forbidden\r\n\r\n");
    });
  });
  await once(proxy.listen(0, "127.0.0.1"), "listening");
  const { port } = proxy.address() as AddressInfo;
  return { asked, url: `http://127.0.0.1:${port}`, [Symbol.dispose]: () => void proxy.close() };
};

const outcomeOf = async (target: string, tls: TlsOptions | "insecure"): Promise<string> => {
  const signer = { token: () => "t" };
  const channelOptions = { "grpc.enable_http_proxy": 1 };
  using sigil = connect({ target, tls, signer, insecureTokens: "send", channelOptions });
  try {
    return String((await sigil.trust.check({ action: "read" }, { deadlineMs: 3000 })).allowed);
  } catch (error) {
    return SigilError.from(error).codeName;
  }
};

describe("a proxy in the environment", () => {
  for (const name of ["grpc_proxy", "https_proxy", "http_proxy"] as const) {
    it(`gets nothing that stays on this machine, named by ${name}`, async () => {
      using proxy = await startProxy();
      for (const each of names) delete process.env[each];
      process.env[name] = proxy.url;
      const { cert, key } = await makeCertificate("localhost", "DNS:localhost");
      await using plain = await startServer();
      const pair = [{ cert_chain: Buffer.from(cert), private_key: Buffer.from(key) }];
      await using protectedServer = await startServer({}, ServerCredentials.createSsl(null, pair));
      const { port } = plain;
      for (const target of [
        plain.target,
        `localhost:${port}`,
        `dns:127.0.0.1:${port}`,
        `ipv4:127.0.0.1:${port}`,
      ]) {
        expect(await outcomeOf(target, "insecure"), target).to.equal("true");
      }
      const tls = { ca: cert, serverName: "localhost" };
      expect(await outcomeOf(protectedServer.target, tls)).to.equal("true");
      expect(proxy.asked).to.deep.equal([]);
    });
  }

  it("gets nothing in the clear, and TLS to another machine", async () => {
    using proxy = await startProxy();
    for (const each of names) delete process.env[each];
    process.env["http_proxy"] = proxy.url;
    expect(await outcomeOf("sigil.invalid:50051", "insecure")).to.equal("UNAVAILABLE");
    expect(proxy.asked).to.deep.equal([]);
    expect(await outcomeOf("sigil.invalid:50051", {})).to.equal("UNAVAILABLE");
    expect(proxy.asked[0]).to.equal("CONNECT sigil.invalid:50051 HTTP/1.1");
  });
});
