/** What the HTTP port logs of an error that nobody expected: where it came from. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect } from "chai";
import { describe, it } from "mocha";
import { TrustServiceService } from "@sigil/proto/sigil/trust/v1/trust";
import { readContracts, routesOf } from "../../../src/gateway/http/routes.ts";
import { Serving } from "../../../src/gateway/http/serving.ts";
import { ByteBudget } from "../../../src/rpc/bounds/byte-budget.ts";
import { CallsUnderWay } from "../../../src/rpc/call/underway.ts";
import { readDescriptors } from "../../../src/rpc/transport/descriptors.ts";

const contracts = readContracts(readDescriptors());
const paths = routesOf(contracts).map(({ rpcPath }) => rpcPath);
const room = { bytesMax: 1, bytesPerHolderMax: 1, waitersMax: 1 };

/** @returns the fields of each line at level error, after GET of a path of a protocol whose answers all fail. */
const loggedAfter = async (path: string): Promise<readonly object[]> => {
  const logged: object[] = [];
  const silent = (): void => {};
  const serving = new Serving({
    protocols: [
      {
        takes: (each) => each === "/other/path",
        answer: () => Promise.reject(new Error("secret cause")),
        problem: ({ status }) => ({ status, headers: {}, text: "failed" }),
        answeredId: (_, requestId) => requestId,
      },
    ],
    rpc: {
      newId: () => "new-id",
      log: {
        isLevelEnabled: () => false,
        debug: silent,
        info: silent,
        warn: silent,
        error: (fields) => void logged.push(fields),
      },
      nowMs: () => 0,
      underWay: new CallsUnderWay(),
      observer: { onCall: silent, onRefused: silent },
    },
    intake: { budget: new ByteBudget({ ...room, refuse: () => new Error("no body is read") }) },
    services: [
      [
        Object.fromEntries(paths.map((each) => [each, { ...TrustServiceService.check, path: each }])),
        Object.fromEntries(paths.map((each) => [each, silent])),
      ],
    ],
    contracts,
    pages: new Map(),
    hosts: null,
    isProxy: () => false,
    bytesMax: 1_000,
  });
  const server = createServer((request, response) => void serving.serve(request, response));
  await once(server.listen(0, "127.0.0.1"), "listening");
  try {
    const { port } = server.address() as AddressInfo;
    expect((await fetch(`http://127.0.0.1:${port}${path}`)).status).to.equal(500);
  } finally {
    server.close();
  }
  return logged;
};

describe("an error that nobody expected", () => {
  it("is logged with the path of the protocol that it came from, without its query", async () => {
    const [line, ...more] = await loggedAfter("/other/path?with=query");
    expect(line).to.include({ rpc: "/other/path", request_id: "new-id" });
    expect(more).to.deep.equal([]);
  });
});
