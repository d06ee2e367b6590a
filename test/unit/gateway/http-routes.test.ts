/** The routes that the contracts name: every RPC has one or is gRPC's alone, and no path has two. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { describe, it } from "mocha";
import { repository } from "../../../scripts/run.ts";
import { findRoute, readContracts, routesOf } from "../../../src/gateway/http/routes.ts";
import {
  compareTemplates,
  decodeCapture,
  matchTemplate,
  overlap,
  parseTemplate,
} from "../../../src/gateway/http/template.ts";
import { readDescriptors } from "../../../src/rpc/transport/descriptors.ts";

const contracts = readContracts(readDescriptors());
const routes = routesOf(contracts);

const rpcs = [...contracts].flatMap((type) =>
  type.kind === "service" && type.typeName.startsWith("sigil.")
    ? type.methods.map((rpc) => `/${type.typeName}/${rpc.name}`)
    : [],
);

/** Streams of the caller's own have no form in HTTP/1.1; a backup is a file's worth of chunks, tiles are files. */
const grpcAlone = [
  "/sigil.trust.v1.TrustService/StreamChecks",
  "/sigil.module.v1.ModuleService/ProposeModule",
  "/sigil.backup.v1.BackupService/Backup",
  "/sigil.backup.v1.BackupService/Inspect",
  "/sigil.audit.v1.AuditService/GetTile",
];

const page = readFileSync(join(repository, "docs/operating/http.md"), "utf8");

/** Of a table of the page: its cells in code. */
const cells = (heading: string): readonly (readonly string[])[] => {
  const section = page.split(/^## /m).find((text) => text.startsWith(heading)) ?? "";
  return [...section.matchAll(/^\| (`.*) \|$/gm)].map(([, row = ""]) =>
    row.split(" | ").map((cell) => cell.trim().replaceAll("`", "")),
  );
};

describe("the routes over HTTP", () => {
  it("reach every RPC, but for those that are gRPC's alone", () => {
    const reached = new Set(routes.map(({ rpcPath }) => rpcPath));
    const others = rpcs.filter((path) => !reached.has(path));
    expect(others).to.have.members(grpcAlone);
    expect(rpcs.length).to.be.at.least(45);
  });

  it("stand on the page for operators, each with its RPC, and no others do", () => {
    const written = cells("Routes").map(([route, rpc]) => `${route} ${rpc}`);
    const served = routes.map(
      ({ method, template, rpc }) => `${method} ${template.text} ${rpc.parent.name}.${rpc.name}`,
    );
    expect(written).to.have.members([
      ...served,
      "POST /trust/guard TrustService.Check",
      "GET /trust/forward TrustService.Check",
    ]);
    expect(cells("gRPC alone").map(([rpc]) => rpc)).to.have.members(
      grpcAlone.map((path) => path.split(/[./]/).slice(-2).join(".")),
    );
  });

  it("are one a path: of two that overlap, one is all literal where the other is not", () => {
    const pairs = routes.flatMap((a, at) => routes.slice(at + 1).map((b) => [a, b] as const));
    const both = pairs.filter(([a, b]) => a.method === b.method && overlap(a.template, b.template));
    expect(both.map(([a, b]) => `${a.template.text} ${b.template.text}`)).to.deep.equal([
      "/audit/checkpoint /audit/{audit_id}",
      "/audit/completeness /audit/{audit_id}",
    ]);
    for (const [a, b] of both) expect(compareTemplates(a.template, b.template)).to.be.below(0);
    const found = findRoute(routes, "GET", "/audit/checkpoint");
    expect(found.kind === "found" && found.route.rpc.name).to.equal("GetCheckpoint");
    const other = findRoute(routes, "GET", "/audit/checkpoints");
    expect(other.kind === "found" && other.route.rpc.name).to.equal("GetFrozenChain");
  });

  it("have no verb after a variable, and take segments at the end alone", () => {
    for (const text of ["/audit/{id}:verify", "/a/{id=**}/b", "/a/{id=*}", "a", "/A", "/a//b", "/a/:b", ""]) {
      expect(() => parseTemplate(text), text).to.throw("no template");
    }
  });

  it("find an id by one spelling of its path: nothing is decoded twice, repaired or cut off", () => {
    const template = parseTemplate("/canon/user/{id=**}");
    const idOf = (path: string): string => {
      const [capture] = matchTemplate(template, path.split("/").slice(1)) ?? [];
      return capture === undefined ? "no match" : decodeCapture(capture);
    };
    expect(idOf("/canon/user/a/b:c")).to.equal("a/b:c");
    expect(idOf("/canon/user/%C3%A9%2520")).to.equal("é%20");
    for (const path of [
      "",
      "/",
      "a/",
      "/a",
      "a//b",
      ".",
      "a/..",
      "%2e%2E/a",
      "a%2Fb",
      "a%2fb",
      "%",
      "%zz",
      "%ff",
    ]) {
      expect(() => idOf(`/canon/user/${path}`), path).to.throw(/must|no match/);
    }
    expect(idOf("/canon/user")).to.equal("no match");
    expect(idOf("/canon/%75ser/a")).to.equal("no match");
    expect(idOf("//canon/user/a")).to.equal("no match");
  });

  it("name the methods that a path has when it is asked by another", () => {
    expect(findRoute(routes, "PUT", "/trust/check")).to.deep.equal({
      kind: "otherMethod",
      methods: ["POST"],
    });
    expect(findRoute(routes, "HEAD", "/audit/x")).to.deep.equal({ kind: "otherMethod", methods: ["GET"] });
    expect(findRoute(routes, "GET", "/")).to.deep.equal({ kind: "none" });
  });
});
