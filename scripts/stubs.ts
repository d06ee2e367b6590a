/**
 * The stubs in Python and Go, of Sigil's own contracts: those of google.rpc and google.api come from the packages that
 * publish them. By `python -m grpc_tools.protoc` with mypy-protobuf, and by protoc-gen-go and protoc-gen-go-grpc, each
 * in the version that the package pins. A toolchain that is not here is said to be missing, with the command that
 * installs it.
 */
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import names from "../clients/names.json" with { type: "json" };
import { run } from "./run.ts";

export type Stubs = {
  readonly language: string;
  /** Holds nothing else: what is in it and is not generated, goes. */
  readonly folder: string;
  /** What is missing to generate them; undefined if nothing is. */
  readonly missing: (root: string) => Promise<string | undefined>;
  /** Generates the folder, empty so far, under `directory`, from what is under `root`. @returns the error output. */
  readonly generate: (root: string, directory: string) => Promise<string>;
};

const python = "build/python-sdk/bin/python";
const requirements = "clients/python/requirements/dev.txt";
/** Packages of which the stubs are made. */
const makers = ["grpcio-tools", "mypy-protobuf"] as const;

const pythonMissing = async (root: string): Promise<string | undefined> => {
  const install = "scripts/services.sh install python_sdk";
  const program = `from importlib.metadata import version\nprint(*map(version, ${JSON.stringify(makers)}))`;
  const { exitCode, output } = await run([join(root, python), "-c", program], { cwd: root });
  if (exitCode !== 0) return `no grpcio-tools or mypy-protobuf: ${install}`;
  const pins = await readFile(join(root, requirements), "utf8");
  const wanted = makers.map((name) => new RegExp(`^${name}==(\\S+)`, "m").exec(pins)?.[1]);
  const found = output.trim().split(" ");
  const at = wanted.findIndex((version, index) => version !== found[index]);
  return at === -1 ? undefined : `${makers[at]} is ${found[at]}, and not ${wanted[at]}: ${install}`;
};

const protosUnder = async (folder: string): Promise<readonly string[]> =>
  (await readdir(folder, { recursive: true, encoding: "utf8" }))
    .filter((path) => path.endsWith(".proto"))
    .toSorted();

/** Imports of each other, and the names that messages have of their modules, are those of the package they are in. */
const inPackage = (text: string): string =>
  text
    .replaceAll(/^from sigil\./gm, `from ${names.python.package}._proto.sigil.`)
    .replaceAll(
      /(_builder\.BuildTopDescriptorsAndMessages\(DESCRIPTOR, ')sigil\./g,
      `$1${names.python.package}._proto.sigil.`,
    );

const pythonFolder = `clients/python/src/${names.python.package}/_proto`;

const generatePython = async (root: string, into: string): Promise<string> => {
  const directory = join(into, pythonFolder);
  await mkdir(directory, { recursive: true });
  const protos = await protosUnder(join(root, "proto/sigil"));
  const outputs = ["python", "grpc_python", "mypy", "mypy_grpc"].map((each) => `--${each}_out=${directory}`);
  const { exitCode, output } = await run(
    [
      join(root, python),
      "-m",
      "grpc_tools.protoc",
      `--plugin=protoc-gen-mypy=${join(root, dirname(python), "protoc-gen-mypy")}`,
      `--plugin=protoc-gen-mypy_grpc=${join(root, dirname(python), "protoc-gen-mypy_grpc")}`,
      "-I",
      "proto",
      ...outputs,
      ...protos.map((path) => `proto/sigil/${path}`),
    ],
    { cwd: root },
  );
  if (exitCode !== 0) return output;
  const folders = new Set([directory]);
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isDirectory()) folders.add(path);
    else await writeFile(path, inPackage(await readFile(path, "utf8")));
  }
  for (const folder of folders) await writeFile(join(folder, "__init__.py"), "");
  return "";
};

const goTools = "clients/go/tools";
const goMissing = async (root: string): Promise<string | undefined> => {
  const install = "scripts/services.sh install go_sdk";
  const env = { GOPROXY: "off", GOFLAGS: "-mod=readonly" };
  for (const plugin of ["protoc-gen-go", "protoc-gen-go-grpc"]) {
    const { exitCode } = await run(["go", "-C", goTools, "tool", plugin, "--version"], { cwd: root, env });
    if (exitCode !== 0) return `no ${plugin}: ${install}`;
  }
  return undefined;
};

/** The plugins write to the path of a package below the module. */
const generateGo = async (root: string, into: string): Promise<string> => {
  const { exitCode, output } = await run(
    ["buf", "generate", "--template", "buf.gen.go.yaml", "--output", join(into, "clients/go")],
    { cwd: root },
  );
  return exitCode === 0 ? "" : output;
};

const languages: readonly Stubs[] = [
  { language: "Python", folder: pythonFolder, missing: pythonMissing, generate: generatePython },
  { language: "Go", folder: "clients/go/sigil", missing: goMissing, generate: generateGo },
];

/** Those whose toolchain is here, and of the others what they miss. */
export const findStubs = async (
  root: string,
): Promise<{ readonly found: readonly Stubs[]; readonly missing: readonly string[] }> => {
  const problems = await Promise.all(languages.map(({ missing }) => missing(root)));
  return {
    found: languages.filter((_, at) => problems[at] === undefined),
    missing: languages.flatMap(({ folder }, at) =>
      problems[at] === undefined ? [] : [`${folder} is left as it is: ${problems[at]}\n`],
    ),
  };
};

/** @returns the error output. */
export const generateStubs = async (
  found: readonly Stubs[],
  root: string,
  directory: string,
): Promise<string> => {
  for (const { folder, generate } of found) {
    await rm(join(directory, folder), { recursive: true, force: true });
    const problem = await generate(root, directory);
    if (problem !== "") return problem;
  }
  return "";
};
