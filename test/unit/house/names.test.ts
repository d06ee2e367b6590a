/**
 * The names of the packages stand in clients/names.json, every manifest has them, one command changes them everywhere,
 * and nobody can publish under them by accident.
 */
import { readFileSync } from "node:fs";
import { cp, mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { expect } from "chai";
import { after, before, describe, it } from "mocha";
import names from "../../../clients/names.json" with { type: "json" };
import { isNamed, renamed, withChanges } from "../../../scripts/names.ts";
import { repository, run } from "../../../scripts/run.ts";

const read = (path: string): string => readFileSync(join(repository, path), "utf8");

type Manifest = {
  readonly name: string;
  readonly version: string;
  readonly private?: boolean;
  readonly license: string;
  readonly dependencies?: Readonly<Record<string, string>>;
};

const npmPackages = { core: "src/core", proto: "generated", client: "clients/typescript" } as const;
const npmManifests = Object.entries(npmPackages).map(
  ([part, folder]) => [part, JSON.parse(read(`${folder}/package.json`)) as Manifest] as const,
);
const pyproject = read("clients/python/pyproject.toml");
const goMod = read("clients/go/go.mod");

/** In two parts: a file that had them already would not change back. */
const other = ["an", "other"].join("");
const others = [
  `npm.scope=@${other}`,
  `python.distribution=${other}-thing`,
  `python.package=${other}_thing`,
  `go.module=${other}.test/of/go`,
];

/** Every spelling of a name, looked for without the rules that replace it. */
const spellings: readonly string[] = [
  `${names.npm.scope}/core`,
  `${names.npm.scope}/client`,
  `import ${names.python.package}`,
  `from ${names.python.package}`,
  `src/${names.python.package}`,
  `name = "${names.python.distribution}"`,
  `module ${names.go.module}`,
  `"${names.go.module}`,
];

describe("the names of the packages", () => {
  let tracked: readonly (readonly [path: string, text: string])[] = [];
  let copy = "";

  before(async () => {
    copy = await mkdtemp(join(tmpdir(), "sigil-names-"));
    const { output } = await run(["git", "ls-files", "--cached", "--others", "--exclude-standard"]);
    tracked = output
      .trim()
      .split("\n")
      .map((path) => [path, read(path)] as const)
      .filter(([, text]) => !text.includes("\0"));
  });

  after(() => rm(copy, { recursive: true, force: true }));

  it("are those of every manifest, with one version", () => {
    for (const [part, { name, version, dependencies = {} }] of npmManifests) {
      expect(name).to.equal(`${names.npm.scope}/${part}`);
      expect(version, name).to.equal(names.version);
      const own = Object.entries(dependencies).filter(([each]) => each.startsWith(`${names.npm.scope}/`));
      expect(own.filter(([, wanted]) => wanted !== names.version)).to.deep.equal([]);
    }
    expect(pyproject).to.contain(`\nname = "${names.python.distribution}"\nversion = "${names.version}"\n`);
    expect(pyproject).to.contain(`packages = ["src/${names.python.package}"]`);
    expect(goMod).to.match(new RegExp(`^module ${names.go.module.replaceAll(".", "\\.")}\n`));
  });

  it("cannot be published under by accident", () => {
    expect(npmManifests.filter(([, manifest]) => manifest.private !== true)).to.deep.equal([]);
    // Indexes refuse every classifier of this group.
    expect(pyproject).to.contain('\n  "Private :: Do Not Upload",\n');
    // RFC 2606 §2: the top level "example" is reserved, and resolves nowhere.
    expect(names.go.module.split("/")[0]).to.match(/\.example$/);
  });

  it("are under the licence of the repository, with its text in each package", () => {
    for (const [, { name, license }] of npmManifests) expect(license, name).to.equal("Apache-2.0");
    expect(pyproject).to.contain('\nlicense = "Apache-2.0"\n');
    for (const folder of ["python", "go"]) {
      expect(read(`clients/${folder}/LICENSE`), folder).to.equal(read("LICENSE"));
    }
  });

  it("stand beside the least versions that the stubs in Python run on", () => {
    const stubs = `clients/python/src/${names.python.package}/_proto/sigil/trust/v1/trust_pb2`;
    const [, protobuf] = /^# Protobuf Python Version: (\S+)$/m.exec(read(`${stubs}.py`)) ?? [];
    const [, grpcio] = /^GRPC_GENERATED_VERSION = '(\S+?)(?:\.0)?'$/m.exec(read(`${stubs}_grpc.py`)) ?? [];
    expect(pyproject).to.contain(`"protobuf>=${protobuf},<`);
    expect(pyproject).to.contain(`"grpcio>=${grpcio}"`);
  });

  it("change everywhere, and back to the same bytes", () => {
    const to = withChanges(names, others);
    const changed = tracked.filter(([path]) => isNamed(path));
    expect(changed.length).to.be.greaterThan(500);
    for (const [path, text] of changed) {
      const after = renamed(text, names, to);
      expect(
        spellings.filter((each) => after.includes(each)),
        path,
      ).to.deep.equal([]);
      expect(renamed(after, to, names) === text, path).to.equal(true);
    }
  });

  it("change by the command, with the folder of the package", async () => {
    const few = [
      "package.json",
      "clients/names.json",
      "clients/python/pyproject.toml",
      "clients/go/go.mod",
      "buf.gen.go.yaml",
      "scripts/names.ts",
      "scripts/run.ts",
      "clients/python/src",
      "proto/sigil/type",
    ];
    for (const path of few) {
      await mkdir(dirname(join(copy, path)), { recursive: true });
      await cp(join(repository, path), join(copy, path), { recursive: true });
    }
    for (const command of [
      ["init", "-q"],
      ["add", "-A"],
    ])
      await run(["git", ...command], { cwd: copy });
    const { exitCode, output } = await run(["node", "scripts/names.ts", "--text", ...others], { cwd: copy });
    expect(exitCode, output).to.equal(0);
    const changed = (path: string): string => readFileSync(join(copy, path), "utf8");
    expect(JSON.parse(changed("clients/names.json"))).to.deep.equal(withChanges(names, others));
    expect(changed("clients/python/pyproject.toml")).to.contain(`\nname = "${other}-thing"\n`);
    expect(changed("clients/go/go.mod")).to.match(new RegExp(`^module ${other}\\.test/of/go\n`));
    expect(changed("proto/sigil/type/v1/type.proto")).to.contain(
      `"${other}.test/of/go/sigil/type/v1;typev1"`,
    );
    expect(await readdir(join(copy, "clients/python/src"))).to.deep.equal([`${other}_thing`]);
  });

  for (const [wrong, why] of [
    ["npm.scope=sigil", "npm.scope must match"],
    ["python.package=a-b", "python.package must match"],
    ["go.module=nodots", "go.module must match"],
    ["python=x", "unknown name python"],
  ] as const) {
    it(`refuses ${wrong}`, () => {
      expect(() => withChanges(names, [wrong])).to.throw(RangeError, why);
    });
  }
});
