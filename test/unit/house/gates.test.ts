/**
 * Every gate, run by its own npm script on a small copy of the repository with a planted violation: the gate fails and
 * names it. Where the copy is small enough to be clean, the same gate passes without the plant. Bound: 25 seconds.
 */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { expect } from "chai";
import { afterEach, before, describe, it } from "mocha";
import packageJson from "../../../package.json" with { type: "json" };
import { repository, run, type Outcome } from "../../../scripts/run.ts";

type Files = Readonly<Record<string, string>>;
type Gate = keyof typeof packageJson.scripts;

const configs = [
  "package.json",
  "tsconfig.json",
  "tsconfig.pure.json",
  "tsconfig.node20.json",
  "types",
  "oxlint.config.ts",
  ".oxfmtrc.json",
  "knip.json",
  "buf.yaml",
  "buf.gen.yaml",
  "buf.gen.openapi.yaml",
  "buf.gen.go.yaml",
];

const copies: string[] = [];

/** A copy of the configuration, of `parts` of the repository, and of `planted` files over them. */
const plant = (planted: Files, parts: readonly string[] = []): string => {
  const copy = mkdtempSync(join(tmpdir(), "sigil-gate-"));
  copies.push(copy);
  for (const part of [...configs, ...parts]) {
    cpSync(join(repository, part), join(copy, part), { recursive: true });
  }
  for (const [path, text] of Object.entries(planted)) {
    mkdirSync(dirname(join(copy, path)), { recursive: true });
    writeFileSync(join(copy, path), text);
  }
  symlinkSync(join(repository, "node_modules"), join(copy, "node_modules"));
  return copy;
};

/** The script as package.json has it; shell and tools from the copy. */
const runGate = (gate: Gate, copy: string, env: Files = {}, flags = ""): Promise<Outcome> =>
  run(["sh", "-c", `${packageJson.scripts[gate]} ${flags}`], { cwd: copy, env });

const expectRefusal = (outcome: Outcome, ...names: readonly string[]): void => {
  expect(outcome.exitCode, outcome.output).to.not.equal(0);
  for (const name of names) expect(outcome.output).to.contain(name);
};

const expectPass = (outcome: Outcome): void => {
  expect(outcome.exitCode, outcome.output).to.equal(0);
};

const readRepository = (path: string): string => readFileSync(join(repository, path), "utf8");

describe("the gates", function () {
  this.slow(4000);

  afterEach(() => {
    for (const copy of copies.splice(0)) rmSync(copy, { recursive: true });
  });

  describe("lint", () => {
    const planted = (number: number): string => `src/core/merkle/planted-${number}.ts`;
    const neighbour = {
      "src/core/merkle/neighbour.ts": "export const one = 1;\n",
      "src/core/merkle/clean.ts": 'import { one } from "./neighbour.ts";\nexport const two = one + 1;\n',
    };

    const refused: readonly (readonly [string, Files, string])[] = [
      [
        "a forbidden import",
        { [planted(1)]: 'export { x } from "../../rpc/status.ts";\n' },
        "'../../rpc/status.ts' import",
      ],
      [
        "a forbidden import of a type",
        { [planted(2)]: 'export type { X } from "../../ledger/ledger.ts";\n' },
        "'../../ledger/ledger.ts' import",
      ],
      [
        "a forbidden import in an expression",
        { [planted(3)]: 'export const load = () => import("../../rpc/status.ts");\n' },
        "'../../rpc/status.ts' import",
      ],
      [
        "a service that imports another service",
        { "src/trust/planted.ts": 'export { x } from "../audit/service.ts";\n' },
        "'../audit/service.ts' import",
      ],
      [
        "a value of a service whose types are allowed",
        {
          "src/modules/planted.ts": 'export { x } from "../canon/service.ts";\n',
          "src/modules/typed.ts": 'export type { X } from "../canon/service.ts";\n',
        },
        "'../canon/service.ts' import",
      ],
      [
        "a value of a service whose types are allowed, in a room",
        { "src/canon/proposals/planted.ts": 'export { x } from "../../trust/service.ts";\n' },
        "'../../trust/service.ts' import",
      ],
      [
        "a file whose types alone are imported, one by one",
        {
          "src/modules/planted-one.ts": 'import { type X } from "../trust/service.ts";\nexport type Y = X;\n',
        },
        "no-import-type-side-effects",
      ],
      [
        "a type against the line of services",
        { "src/trust/planted-up.ts": 'export type { X } from "../canon/service.ts";\n' },
        "'../canon/service.ts' import",
      ],
      [
        "a room that imports one above it",
        { "src/ledger/layout/planted.ts": 'export { x } from "../walk/walk.ts";\n' },
        "'../walk/walk.ts' import",
      ],
      [
        "a room that imports its folder's own files",
        { "src/ledger/read/planted.ts": 'export { x } from "../ledger.ts";\n' },
        "'../ledger.ts' import",
      ],
      [
        "a room of the core that imports one above it",
        { "src/core/record/planted.ts": 'export { x } from "../merkle/tree.ts";\n' },
        "'../merkle/tree.ts' import",
      ],
      [
        "a room of the package that a folder has no use for",
        { "src/storage/planted.ts": 'export { x } from "@sigil/core/record";\n' },
        "'@sigil/core/record' import",
      ],
      [
        "the stubs outside of rpc/",
        { "src/ledger/planted.ts": 'export { x } from "@sigil/proto/sigil/trust/v1/trust";\n' },
        "'@sigil/proto/sigil/trust/v1/trust' import",
      ],
      [
        "the client package outside of cli/",
        { "src/rpc/planted.ts": 'export { x } from "@sigil/client";\n' },
        "'@sigil/client' import",
      ],
      [
        "a folder that the table does not know",
        { "src/planted/planted.ts": 'export { x } from "../trust/service.ts";\n' },
        "'../trust/service.ts' import",
      ],
      [
        "a file of src/ itself that is no entry",
        { "src/planted.ts": 'export { x } from "./trust/service.ts";\n' },
        "'./trust/service.ts' import",
      ],
      [
        "a Node module in a pure folder",
        { [planted(4)]: 'export { readFile } from "node:fs";\n' },
        "'node:fs' import",
      ],
      [
        "a Node module in a pure file of a mixed folder",
        { "src/trust/window.ts": 'export { readFile } from "node:fs";\n' },
        "'node:fs' import",
      ],
      [
        "an e2e test that calls past the client package",
        { "test/e2e/planted.test.ts": 'export { x } from "@sigil/proto/sigil/trust/v1/trust";\n' },
        "no-restricted-imports",
      ],
      [
        "a circle of imports",
        {
          [planted(5)]: 'import { two } from "./other.ts";\nexport const one = (): number => two() + 1;\n',
          "src/core/merkle/other.ts":
            'import { one } from "./planted-5.ts";\nexport const two = (): number => one() + 1;\n',
        },
        "import(no-cycle)",
      ],
      [
        "Date.now in a pure folder",
        { [planted(6)]: "export const now = (): number => Date.now();\n" },
        "use of 'Date'",
      ],
      [
        "Math.random in a pure folder",
        { [planted(7)]: "export const r = (): number => Math.random();\n" },
        "'Math.random'",
      ],
      [
        "a floating promise",
        { [planted(8)]: "const wait = async () => 1;\nexport const go = (): void => {\n  wait();\n};\n" },
        "no-floating-promises",
      ],
      [
        "a switch that misses a case",
        {
          [planted(9)]:
            'export const f = (v: "a" | "b"): number => {\n  switch (v) {\n    case "a":\n      return 1;\n  }\n' +
            "  return 2;\n};\n",
        },
        "switch-exhaustiveness-check",
      ],
    ];

    // One run over all of them, each in a file of its own: a run costs seconds, whatever it finds.
    let found: readonly string[] = [];
    before(async () => {
      const all = Object.assign({}, ...refused.map(([, files]) => files)) as Files;
      // A line a finding, and no colours, which a CI's environment asks for.
      const outcome = await runGate("lint", plant({ ...neighbour, ...all }), {}, "--format=unix");
      expect(outcome.exitCode, outcome.output).to.not.equal(0);
      found = outcome.output.split("\n");
    });

    it("passes a type of a service further down the line", () => {
      expect(found.filter((each) => each.includes("typed.ts:"))).to.deep.equal([]);
    });

    it("passes a pure file that imports its neighbour", () => {
      expect(
        found.filter((each) => each.includes("clean.ts:") || each.includes("neighbour.ts:")),
      ).to.deep.equal([]);
    });

    for (const [name, files, rule] of refused) {
      it(`refuses ${name}`, () => {
        const [path = ""] = Object.keys(files);
        expect(found.filter((each) => each.includes(`${path}:`) && each.includes(rule))).to.not.deep.equal(
          [],
        );
      });
    }
  });

  describe("types", () => {
    const path = "src/core/record/planted.ts";
    const types = (text: string): Promise<Outcome> =>
      runGate("types", plant({ [path]: text }, ["src/gateway/ui/page", "src/verifier/page"]));

    it("passes a pure file that uses what every host has", async () => {
      const text = "export const encode = (text: string): Uint8Array => new TextEncoder().encode(text);\n";
      expectPass(await types(text));
    });

    it("refuses a Node type in a pure folder", async () => {
      const text = "export const size = (bytes: Buffer): number => bytes.length;\n";
      expectRefusal(await types(text), path, "Buffer");
    });

    it("refuses in the core what Node 20 does not have", async () => {
      const text = "export const later = () => Promise.withResolvers<number>();\n";
      expectRefusal(await types(text), path, "withResolvers");
    });

    it("refuses a type error", async () => {
      expectRefusal(await types('export const n: number = "1";\n'), path, "TS2322");
    });
  });

  describe("format", () => {
    it("refuses an unformatted file", async () => {
      const path = "src/planted.ts";
      const copy = plant({ [path]: "export const one = 1;\n" }, ["proto"]);
      expectPass(await runGate("format:check", copy));
      writeFileSync(join(copy, path), "export const one   =1\n");
      expectRefusal(await runGate("format:check", copy), path);
    });

    it("refuses an unformatted contract", async () => {
      const path = "proto/sigil/planted/v1/planted.proto";
      const text = 'syntax = "proto3";\npackage   sigil.planted.v1;\n';
      expectRefusal(await runGate("format:check", plant({ [path]: text }, ["proto"])), "planted.proto");
    });
  });

  describe("contracts", () => {
    const trust = "proto/sigil/trust/v1/trust.proto";
    const parts = ["proto", "contracts"];

    it("passes the contracts as they are", async () => {
      expectPass(await runGate("protos", plant({}, parts)));
    });

    it("refuses a field without a comment", async () => {
      const path = "proto/sigil/planted/v1/planted.proto";
      const text =
        'syntax = "proto3";\n\npackage sigil.planted.v1;\n\n// Documented.\nmessage Planted {\n  string bare = 1;\n}\n';
      expectRefusal(await runGate("protos", plant({ [path]: text }, parts)), path, '"bare"', "comment");
    });

    it("refuses a breaking change", async () => {
      const before = readRepository(trust);
      const renumbered = before.replace(/^(\s+(?:string|bytes) \w+) = 1;/m, "$1 = 999;");
      expect(renumbered).to.not.equal(before);
      expectRefusal(
        await runGate("protos", plant({ [trust]: renumbered }, parts)),
        "trust.proto",
        'field "1"',
      );
    });
  });

  describe("generation", () => {
    const stubs = "generated/src/sigil/trust/v1/trust.ts";
    const parts = ["proto", "generated", "scripts", "src", "examples/modules", "clients"];
    /** With the toolchains that scripts/services.sh installs, where it did. */
    const plantBesideTools = (planted: Files, parts: readonly string[]): string => {
      const copy = plant(planted, parts);
      symlinkSync(join(repository, "build"), join(copy, "build"));
      return copy;
    };
    const hello = "generated/modules/hello.wasm";

    it("passes what the contracts generate", async () => {
      expectPass(await runGate("generate:check", plantBesideTools({}, parts)));
    });

    it("refuses an edited generated file, one that nothing generates, and a module that its source does not give", async () => {
      const edited = `${readRepository(stubs)}export const planted = 1;\n`;
      const strange = "generated/src/planted.ts";
      const source = "examples/modules/hello/hello.ts";
      const files = {
        [stubs]: edited,
        [strange]: "export const planted = 1;\n",
        [source]: readRepository(source).replaceAll("hello, ", "hallo, "),
      };
      // The contract whose stub was edited and what it imports: the others' stubs are made in the test above.
      const few = ["google", "grpc", "sigil/trust", "sigil/type"].map((name) => `proto/${name}`);
      expectRefusal(
        await runGate("generate:check", plantBesideTools(files, [...few, ...parts.slice(1)])),
        `${stubs} differs`,
        `${strange} is not generated`,
        `${hello} differs`,
      );
    });
  });

  describe("generation in other languages", () => {
    const python = "clients/python/src/sigil_client/_proto/sigil/trust/v1/trust_pb2.pyi";
    const go = "clients/go/sigil/trust/v1/trust.pb.go";
    const parts = ["proto", "generated", "scripts", "src", "examples/modules", "clients"];
    const edited = {
      [python]: `${readRepository(python)}planted: int\n`,
      [go]: `${readRepository(go)}// planted\n`,
      "clients/go/sigil/trust/v1/planted.go": "package trustv1\n",
    };

    it("refuses edited stubs, or says which toolchain is missing", async () => {
      const copy = plant(edited, parts);
      symlinkSync(join(repository, "build"), join(copy, "build"));
      const outcome = await runGate("generate:check", copy, { CI: "" });
      for (const [folder, ...named] of [
        ["clients/python/src/sigil_client/_proto", `${python} differs`],
        ["clients/go/sigil", `${go} differs`, "clients/go/sigil/trust/v1/planted.go is not generated"],
      ] as const) {
        if (outcome.output.includes(`${folder} is left as it is`)) continue;
        expectRefusal(outcome, ...named);
      }
    });

    it("refuses in CI to leave them as they are, and not elsewhere", async () => {
      // No environment of Python there: `build` is not in the copy.
      const copy = plant({}, parts);
      const leftOut = "clients/python/src/sigil_client/_proto is left as it is: no grpcio-tools";
      expectRefusal(await runGate("generate:check", copy, { CI: "true" }), leftOut, "missing in CI");
      const elsewhere = await runGate("generate:check", copy, { CI: "" });
      expectPass(elsewhere);
      expect(elsewhere.output).to.contain(leftOut);
    });
  });

  describe("claims", () => {
    it("refuses a README claim without proof", async () => {
      const report = JSON.stringify({ passes: [], failures: [], pending: [] });
      const copy = plant(
        {
          "README.md": "It never lies. <!-- claim: honest -->\n\nIt always answers.\n",
          "claims.toml": '[honest]\ntests = ["never lies"]\nsymbols = ["src/a.ts#answer"]\n',
          "report.json": report,
        },
        ["scripts"],
      );
      const outcome = await runGate("claims", copy, { TEST_REPORT: "report.json" });
      expectRefusal(outcome, 'no test "never lies"', "no file src/a.ts", '"It always answers."');
    });
  });

  describe("unused", () => {
    it("refuses a dead export", async () => {
      const copy = plant({
        "src/main.ts": 'import { used } from "./planted.ts";\nconsole.log(used);\n',
        "src/planted.ts": "export const used = 1;\nexport const plantedDead = 2;\n",
      });
      expectRefusal(await runGate("unused", copy), "Unused exports (1)", "plantedDead", "src/planted.ts:2");
    });
  });
});
