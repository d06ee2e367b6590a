/**
 * The packages for Python and Go as their users get them: built by the ordinary commands, a wheel and a source archive,
 * and a module zip behind a file proxy; installed, exactly these files, in an empty project, and imported there. No
 * registry is asked for anything: a name that is not ours must not be looked up.
 */
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import names from "../../clients/names.json" with { type: "json" };
import { repository, run } from "../../scripts/run.ts";
import { freePorts, serving } from "./command.ts";

const { version, python, go } = names;

const must = async (
  command: readonly string[],
  cwd: string,
  env: Readonly<Record<string, string>> = {},
): Promise<string> => {
  const { exitCode, output } = await run(command, { cwd, env });
  expect(exitCode, `${command.join(" ")}\n${output}`).to.equal(0);
  return output;
};

const interpreter = join(repository, "build/python-sdk/bin/python");
const wheels = join(repository, "build/wheels");
const installPython = "scripts/services.sh install python_sdk";
const pythonProblem = async (): Promise<string | undefined> => {
  if (!existsSync(wheels)) return `skipped: no wheels of what the package needs: ${installPython}`;
  const { exitCode } = await run([interpreter, "-c", "import build, hatchling, ensurepip"]);
  return exitCode === 0 ? undefined : `skipped: no build or hatchling: ${installPython}`;
};

const modzip = join(repository, "build/bin/sigil-modzip");
const offline = { GOPROXY: "off", GOFLAGS: "-mod=readonly" };
const goProblem = async (): Promise<string | undefined> => {
  const install = "scripts/services.sh install go_sdk";
  if (!existsSync(modzip)) return `skipped: no sigil-modzip: ${install}`;
  const { exitCode } = await run(["go", "list", "-deps", "./..."], {
    cwd: join(repository, "clients/go"),
    env: offline,
  });
  return exitCode === 0 ? undefined : `skipped: no gRPC for Go: ${install}`;
};

const [pythonMissing, goMissing] = await Promise.all([pythonProblem(), goProblem()]);
const suffix = (missing: string | undefined): string => (missing === undefined ? "" : ` (${missing})`);

/** Every contract, as the path of its stubs without an ending. */
const contracts = (await readdir(join(repository, "proto/sigil"), { recursive: true, encoding: "utf8" }))
  .filter((path) => path.endsWith(".proto"))
  .map((path) => `sigil/${path.slice(0, -".proto".length)}`)
  .toSorted();

describe("the package for Python" + suffix(pythonMissing), function () {
  this.slow(60_000);
  let home = "";
  let dist = "";
  const archives = (): readonly [wheel: string, source: string] => [
    join(dist, `${python.package}-${version}-py3-none-any.whl`),
    join(dist, `${python.package}-${version}.tar.gz`),
  ];
  const venvPython = (): string => join(home, "project/bin/python");

  before(async function () {
    if (pythonMissing !== undefined) return this.skip();
    home = await mkdtemp(join(tmpdir(), "sigil-python-"));
    dist = join(home, "dist");
    // A copy: a build writes beside its sources.
    const sources = join(home, "sources");
    await cp(join(repository, "clients/python"), sources, {
      recursive: true,
      filter: (path) => !/\/(?:__pycache__|\.\w+_cache)(?:\/|$)/.test(path),
    });
    await must([interpreter, "-m", "build", "--no-isolation", "--outdir", dist, sources], home);
    await must([interpreter, "-m", "venv", join(home, "project")], home);
  });

  after(() => rm(home, { recursive: true, force: true }));

  it("is one wheel and one source archive, of this name and version", async () => {
    expect((await readdir(dist)).toSorted()).to.deep.equal(
      archives()
        .map((path) => path.slice(dist.length + 1))
        .toSorted(),
    );
  });

  it("holds types, licence and the stubs of every contract of Sigil's, and of no other; no test and no cache", async () => {
    const list = "import sys, zipfile\nprint(*zipfile.ZipFile(sys.argv[1]).namelist(), sep='\\n')";
    const files = (await must([interpreter, "-c", list, archives()[0]], home)).trim().split("\n");
    expect(files).to.include(`${python.package}/py.typed`);
    expect(files.filter((path) => path.endsWith("/licenses/LICENSE"))).to.have.length(1);
    const stubs = files
      .filter((path) => path.endsWith("_pb2.py"))
      .map((path) => path.slice(0, -"_pb2.py".length));
    expect(stubs.toSorted()).to.deep.equal(contracts.map((path) => `${python.package}/_proto/${path}`));
    for (const path of stubs) {
      expect(files).to.include.members([`${path}_pb2.pyi`, `${path}_pb2_grpc.py`, `${path}_pb2_grpc.pyi`]);
    }
    expect(files.filter((path) => /(?:^|\/)tests?\/|__pycache__|(?:^|\/)google\//.test(path))).to.deep.equal(
      [],
    );
  });

  it("installs in an empty project from this file, with nothing looked up, and imports", async () => {
    const pip = [venvPython(), "-m", "pip", "install", "-q", "--no-index", "--find-links", wheels];
    await must([...pip, archives()[0]], home);
    const modules = [
      python.package,
      ...contracts.flatMap((path) =>
        ["_pb2", "_pb2_grpc"].map(
          (ending) => `${python.package}._proto.${path.replaceAll("/", ".")}${ending}`,
        ),
      ),
    ];
    await must([venvPython(), "-W", "error", "-c", `import ${modules.join(", ")}`], home);
  });

  it("calls a server as its page begins, with the newest packages that it takes", async () => {
    const [, example = ""] =
      /```python\n([^]*?)```/.exec(await readFile(join(repository, "clients/python/README.md"), "utf8")) ??
      [];
    await using server = await serving(["dev", ...freePorts], { cwd: home });
    const given = [
      "import pathlib, sys",
      'target, tls = sys.argv[1], "insecure"',
      "private_key = pathlib.Path(sys.argv[2]).read_bytes()",
    ].join("\n");
    const program = example.replace('"billing"', '"operator"').replace('"sigil.example.org"', '"sigil.dev"');
    const key = join(home, ".sigil/keys/operator.pem");
    const command = [venvPython(), "-W", "error", "-c", `${given}\n${program}`, server.target, key];
    expect(await must(command, home)).to.equal("refunded\n");
  });

  it("says whom it is from, and has indexes refuse it", async () => {
    const metadata = `from importlib.metadata import metadata\nprint(metadata("${python.distribution}"))`;
    const text = await must([venvPython(), "-c", metadata], home);
    expect(text).to.contain(`\nVersion: ${version}\n`);
    expect(text).to.contain("\nLicense-Expression: Apache-2.0\n");
    expect(text).to.contain("\nRequires-Python: >=3.10\n");
    expect(text).to.contain("\nClassifier: Private :: Do Not Upload\n");
  });
});

describe("the package for Go" + suffix(goMissing), function () {
  this.slow(60_000);
  let home = "";
  const tag = `v${version}`;

  before(async function () {
    if (goMissing !== undefined) return this.skip();
    home = await mkdtemp(join(tmpdir(), "sigil-go-"));
    await must([modzip, join(repository, "clients/go"), tag, join(home, "proxy")], home);
    await mkdir(join(home, "project"));
  });

  // The cache is written without permission to change it.
  after(async () => {
    await run(["chmod", "-R", "u+w", home], { cwd: tmpdir() });
    await rm(home, { recursive: true, force: true });
  });

  it("installs in an empty project through a file proxy, with nothing looked up, and runs", async () => {
    const project = join(home, "project");
    // What it needs itself comes from the cache, which is a proxy too; sums are those that the module pins.
    const cache = (await must(["go", "env", "GOMODCACHE"], repository)).trim();
    const env = {
      GOPROXY: `file://${join(home, "proxy")},file://${join(cache, "cache/download")}`,
      GOMODCACHE: join(home, "modules"),
      // Compiled packages are found again wherever the cache of modules is.
      GOFLAGS: "-mod=mod -trimpath",
      GONOSUMDB: go.module,
      GOSUMDB: "off",
    };
    const imported = [...new Set(contracts.map((path) => path.replace(/\/\w+$/, "")))];
    await writeFile(
      join(project, "main.go"),
      [
        "package main",
        "import (",
        `\t_ "${go.module}"`,
        ...imported.map((path) => `\t_ "${go.module}/${path}"`),
        ")",
        'func main() { println("imported") }',
        "",
      ].join("\n"),
    );
    await must(["go", "mod", "init", "example.com/project"], project, env);
    await must(["go", "get", `${go.module}@${tag}`], project, env);
    expect(await must(["go", "run", "."], project, env)).to.contain("imported");
    expect(await must(["go", "list", "-m", go.module], project, env)).to.equal(`${go.module} ${tag}\n`);
  });

  it("holds its licence and stubs, and neither tools nor what is not Go's", async () => {
    const entries = await readdir(join(home, "modules", `${go.module}@${tag}`), {
      recursive: true,
      encoding: "utf8",
    });
    expect(entries).to.include.members(["LICENSE", "go.mod"]);
    expect(entries.filter((path) => path.startsWith("tools"))).to.deep.equal([]);
    const stubs = entries.filter((path) => path.endsWith(".pb.go") && !path.endsWith("_grpc.pb.go"));
    expect(stubs.toSorted()).to.deep.equal(contracts.map((path) => `${path}.pb.go`));
  });
});
