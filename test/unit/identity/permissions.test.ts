/** The permission table against the contracts: every RPC has a row, and the row says what its comment says. */
import { readdirSync, readFileSync } from "node:fs";
import { expect } from "chai";
import { describe, it } from "mocha";
import {
  AuditServiceService,
  BackupServiceService,
  CanonServiceService,
  KeyServiceService,
  ModuleServiceService,
  PrincipalServiceService,
  TrustServiceService,
  WitnessServiceService,
} from "@sigil/client";
import { SigilFault } from "../../../src/errors.ts";
import { anonymous, type Caller } from "../../../src/identity/caller.ts";
import { levelNames } from "../../../src/core/record/names.ts";
import { authorize, requiredLevel } from "../../../src/identity/permissions.ts";

const protoDirectory = new URL("../../../proto/sigil/", import.meta.url);

/** Full path → the word after "Level:" in the comment above the rpc. */
const documentedLevels = (): ReadonlyMap<string, string> => {
  const levels = new Map<string, string>();
  const files = readdirSync(protoDirectory, { recursive: true, encoding: "utf8" });
  for (const file of files.filter((name) => name.endsWith(".proto"))) {
    const text = readFileSync(new URL(file, protoDirectory), "utf8");
    const [, packageName = ""] = /^package ([\w.]+);/m.exec(text) ?? [];
    const [, service = ""] = /^service (\w+)/m.exec(text) ?? [];
    for (const [, comment = "", rpc = ""] of text.matchAll(/((?:^ *\/\/.*\n)+) *rpc (\w+)\(/gm)) {
      levels.set(`/${packageName}.${service}/${rpc}`, /Level: (\w+)/.exec(comment)?.[1]?.toLowerCase() ?? "");
    }
  }
  return levels;
};

const services = [
  TrustServiceService,
  AuditServiceService,
  CanonServiceService,
  WitnessServiceService,
  BackupServiceService,
  KeyServiceService,
  ModuleServiceService,
  PrincipalServiceService,
];
const generatedPaths = services.flatMap((service) => Object.values(service).map(({ path }) => path));

const callerOf = (level: Caller["level"]): Caller => ({ ...anonymous, level });

describe("permissions", () => {
  const documented = documentedLevels();

  it("documents a level for each of the generated methods", () => {
    expect([...documented.keys()]).to.have.members(generatedPaths);
    expect(generatedPaths).to.have.length(50);
  });

  for (const [path, level] of documented) {
    it(`gives ${path} the level of its comment, ${level}`, () => {
      expect(requiredLevel(path)).to.equal(level);
    });

    it(`lets exactly the levels from ${level} up call ${path}`, () => {
      for (const [rank, actual] of levelNames.entries()) {
        if (rank >= levelNames.findIndex((name) => name === level))
          expect(() => authorize(callerOf(actual), path)).not.to.throw();
        else expect(() => authorize(callerOf(actual), path)).to.throw(SigilFault, `needs level ${level}`);
      }
    });
  }

  it("keeps an RPC that is not in the table for Root", () => {
    for (const path of ["/sigil.trust.v1.TrustService/New", "/a.B/C", "", "constructor", "__proto__"]) {
      expect(requiredLevel(path)).to.equal("root");
      expect(() => authorize(callerOf("mentor"), path)).to.throw(SigilFault, "needs level root");
    }
  });

  it("lets Envoy ask about others from the level on that a check about others takes", () => {
    expect(requiredLevel("/envoy.service.auth.v3.Authorization/Check")).to.equal("operator");
  });

  it("lets everybody ask for health and reflection", () => {
    for (const path of [
      "/grpc.health.v1.Health/Check",
      "/grpc.health.v1.Health/Watch",
      "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    ]) {
      expect(requiredLevel(path)).to.equal("guest");
    }
  });
});
