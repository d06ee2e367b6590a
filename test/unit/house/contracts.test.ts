/**
 * Every contract says which Go package it is, so that generated imports never change. buf.yaml leaves this rule to us.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import { describe, it } from "mocha";
import { repository } from "../../../scripts/run.ts";

const contracts = readdirSync(join(repository, "proto"), { recursive: true, encoding: "utf8" })
  .map((path) => path.replaceAll("\\", "/"))
  .filter((path) => path.endsWith(".proto"));

/** Where the published stubs are. */
const published: Readonly<Record<string, string>> = {
  "envoy/config/core/v3/base.proto": "github.com/envoyproxy/go-control-plane/envoy/config/core/v3;corev3",
  "envoy/service/auth/v3/attribute_context.proto":
    "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3;authv3",
  "envoy/service/auth/v3/external_auth.proto":
    "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3;authv3",
  "envoy/type/v3/http_status.proto": "github.com/envoyproxy/go-control-plane/envoy/type/v3;typev3",
  "google/api/annotations.proto": "google.golang.org/genproto/googleapis/api/annotations;annotations",
  "google/api/http.proto": "google.golang.org/genproto/googleapis/api/annotations;annotations",
  "google/rpc/error_details.proto": "google.golang.org/genproto/googleapis/rpc/errdetails;errdetails",
  "google/rpc/status.proto": "google.golang.org/genproto/googleapis/rpc/status;status",
  "grpc/health/v1/health.proto": "google.golang.org/grpc/health/grpc_health_v1",
};

/** `sigil/trust/v1/trust.proto` → `sigil.example/go/sigil/trust/v1;trustv1`. */
const ownGoPackage = (path: string): string => {
  const [root = "", ...parts] = path.split("/").slice(0, -1);
  return `sigil.example/go/${[root, ...parts].join("/")};${parts.join("")}`;
};

const goPackages = (path: string): readonly string[] => {
  const text = readFileSync(join(repository, "proto", path), "utf8");
  return [...text.matchAll(/^option go_package = "([^"]*)";$/gm)].map(([, value = ""]) => value);
};

describe("the contracts", () => {
  it("are where their Go package says: Sigil's in the reserved module, the others where they are published", () => {
    const wanted = contracts.map((path) => [path, [published[path] ?? ownGoPackage(path)]]);
    expect(contracts.map((path) => [path, goPackages(path)])).to.deep.equal(wanted);
    expect(contracts.filter((path) => path.startsWith("sigil/")).length).to.be.at.least(9);
  });
});
