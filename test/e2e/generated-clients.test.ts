/**
 * docs/guides/generate-a-client.md works as printed: stubs of proto/sigil in Go and Python, compiled beside the
 * published googleapis packages, and a check of a real server through each. The blocks that install are
 * scripts/services.sh's.
 */
import { existsSync, readdirSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import { repository, run } from "../../scripts/run.ts";
import { freePorts, serving, type Serving } from "./command.ts";
import { expectAsPrinted, printedOn, searchPath, type Printed } from "./printed.ts";

const page = "docs/guides/generate-a-client.md";
const installs = /\b(?:pip install|install tool)\b/;
const steps = printedOn(page);

const works = async (command: readonly string[], cwd: string): Promise<boolean> =>
  (await run(command, { cwd, env: { GOPROXY: "off" } })).exitCode === 0;

const goProblem = async (): Promise<string | undefined> => {
  const cwd = join(repository, "examples/clients/go");
  const install = "scripts/services.sh install go_client";
  if (!(await works(["go", "version"], repository))) return `skipped: no go: ${install}`;
  const isFound = (plugin: string): boolean =>
    searchPath.split(delimiter).some((folder) => existsSync(join(folder, plugin)));
  const absent = ["protoc-gen-go", "protoc-gen-go-grpc"].find((plugin) => !isFound(plugin));
  if (absent !== undefined) return `skipped: no ${absent}: ${install}`;
  const packages = ["google.golang.org/grpc", "google.golang.org/genproto/googleapis/rpc/errdetails"];
  const isFetched = await works(["go", "list", "-deps", ...packages], cwd);
  return isFetched ? undefined : `skipped: no gRPC for Go: ${install}`;
};

const python = join(repository, "build/venv/bin/python");
const pythonProblem = async (): Promise<string | undefined> => {
  const imports = "import grpc_tools.protoc, grpc_status.rpc_status, google.rpc.error_details_pb2";
  return (await works([python, "-c", imports], repository))
    ? undefined
    : "skipped: no grpcio-tools: scripts/services.sh install python_client";
};

const isPython = ({ script }: Printed): boolean => /\bpython3?\b/.test(script);
const languages = [
  {
    language: "Go",
    missing: await goProblem(),
    own: steps.filter((step) => !isPython(step)),
    folder: "clients/go/sigil-go",
    ending: ".pb.go",
  },
  {
    language: "Python",
    missing: await pythonProblem(),
    own: steps.filter(isPython),
    folder: "clients/python",
    ending: "_pb2.py",
  },
];

const contracts = readdirSync(join(repository, "proto/sigil"), { recursive: true, encoding: "utf8" })
  .filter((path) => path.endsWith(".proto"))
  .map((path) => `sigil/${path.slice(0, -".proto".length)}`);

describe("the guide to generated clients", function () {
  this.slow(30_000);
  let home = "";
  let server: Serving | undefined;

  before(async () => {
    home = await mkdtemp(join(tmpdir(), "sigil-clients-"));
    server = await serving(["dev", ...freePorts], { cwd: home });
  });

  after(async () => {
    await server?.stop();
    await rm(home, { recursive: true, force: true });
  });

  const generated = (folder: string, ending: string): readonly string[] =>
    readdirSync(join(home, folder), { recursive: true, encoding: "utf8" })
      .filter((path) => path.endsWith(ending) && !path.endsWith(`_grpc${ending}`))
      .toSorted();

  for (const { language, missing, own, folder, ending } of languages) {
    describe(`in ${language}${missing === undefined ? "" : ` (${missing})`}`, () => {
      before(function () {
        if (missing !== undefined) this.skip();
      });

      it("has a step that installs, one that generates, and two calls", () => {
        expect(own.filter(({ script }) => installs.test(script))).to.have.length(1);
        expect(own.filter(({ script }) => script.includes("127.0.0.1:50051"))).to.have.length(2);
        expect(own.length).to.equal(4);
      });

      for (const step of own.filter(({ script }) => !installs.test(script))) {
        it(`works as printed at line ${step.line}`, () =>
          expectAsPrinted(step, {
            target: server?.target ?? "",
            home,
            replaced: [[/build\/clients/g, join(home, "clients")]],
          }));
      }

      it("gives stubs of every contract of Sigil's, and of no other", () => {
        expect(generated(folder, ending)).to.deep.equal(
          contracts.map((path) => `${path}${ending}`).toSorted(),
        );
      });

      if (language === "Python") {
        it("imports every one of them", async () => {
          const modules = contracts.map((path) => path.replaceAll("/", "."));
          const names = modules.flatMap((name) => [`${name}_pb2`, `${name}_pb2_grpc`]);
          const env = { PYTHONPATH: join(home, folder) };
          const { exitCode, output } = await run([python, "-c", `import ${names.join(", ")}`], { env });
          expect(exitCode, output).to.equal(0);
        });
      }
    });
  }
});
