/**
 * `npm run generate`: the stubs in TypeScript, Python and Go, the descriptor set and the OpenAPI document from proto/,
 * and the modules from their sources. The package's manifest is in the same folder. What needs a program that npm does
 * not install is left as it is where that is missing: the document needs protoc-gen-openapiv3, the stubs in Python and
 * Go the toolchains of scripts/stubs.ts. With `--check` generates into a temporary directory, lists committed files
 * that differ, and fails if there are any, or if CI misses a toolchain.
 */
import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { readContracts, routesOf } from "../src/gateway/http/routes.ts";
import { addMessageJson } from "./message-json.ts";
import { compileModule } from "./modules.ts";
import { openApiOf, type Part } from "./openapi.ts";
import { run } from "./run.ts";
import { findStubs, generateStubs } from "./stubs.ts";

const root = process.cwd();
/** The built-in module, and the one used in the tour. */
const modules = [
  ["examples/modules/hello/hello.ts", "hello.wasm"],
  ["examples/modules/redact/assemblyscript/redact.ts", "redact.wasm"],
] as const;
const output = "generated";
const document = "openapi.json";
const plugin = "protoc-gen-openapiv3";
const pluginFolder = [join(root, "build/bin"), ...(process.env["PATH"] ?? "").split(delimiter)].find(
  (folder) => existsSync(join(folder, plugin)),
);
const stubs = await findStubs(root);
/** Files beside the generated ones that are not generated here. */
const kept = ["package.json", "README.md", ...(pluginFolder === undefined ? [document] : [])];

/** @param directory already has the descriptors. @returns the error output. */
const generateDocument = async (directory: string, descriptors: string): Promise<string> => {
  if (pluginFolder === undefined) {
    process.stderr.write(`${output}/${document} is left as it is: scripts/services.sh install openapi\n`);
    return "";
  }
  const parts = await mkdtemp(join(tmpdir(), "sigil-openapi-"));
  try {
    const { exitCode, output: told } = await run(
      ["buf", "generate", "--template", "buf.gen.openapi.yaml", "--output", parts],
      {
        cwd: root,
        env: { PATH: [join(root, "node_modules/.bin"), pluginFolder, process.env["PATH"]].join(delimiter) },
      },
    );
    if (exitCode !== 0) return told;
    const routes = routesOf(readContracts(await readFile(descriptors)));
    const files = [...(await filesUnder(parts))].toSorted(([a], [b]) => (a < b ? -1 : 1));
    const whole = openApiOf(
      files.map(([, bytes]) => JSON.parse(bytes.toString("utf8")) as Part),
      routes,
    );
    await writeFile(join(directory, output, document), `${JSON.stringify(whole, undefined, 2)}\n`);
    return "";
  } finally {
    await rm(parts, { recursive: true });
  }
};

/** Descriptors are for reflection, which needs no comments and positions. */
const generateInto = async (directory: string): Promise<string> => {
  const descriptors = join(directory, "generated", "descriptors.binpb");
  const commands = [
    ["buf", "generate", "--output", directory],
    ["buf", "build", "--as-file-descriptor-set", "--exclude-source-info", "--output", descriptors],
  ];
  for (const command of commands) {
    const { exitCode, output } = await run(command, { cwd: root });
    if (exitCode !== 0) return output;
  }
  await addMessageJson(join(directory, "generated", "src"));
  for (const [source, wasm] of modules) {
    const problem = await compileModule(root, source, join(directory, "generated", "modules", wasm));
    if (problem !== "") return problem;
  }
  const { found, missing } = stubs;
  process.stderr.write(missing.join(""));
  const problem = await generateStubs(found, root, directory);
  return problem === "" ? generateDocument(directory, descriptors) : problem;
};

const filesUnder = async (directory: string): Promise<ReadonlyMap<string, Buffer>> => {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true }).catch(() => []);
  const files = new Map<string, Buffer>();
  for (const entry of entries.filter((each) => each.isFile())) {
    const path = join(entry.parentPath, entry.name);
    files.set(path.slice(directory.length + 1), await readFile(path));
  }
  return files;
};

/** What an interpreter leaves beside the sources it runs. */
const isCompiled = (path: string): boolean => path.includes("__pycache__");

const differences = async (fresh: string, folder: string): Promise<readonly string[]> => {
  const named: string[] = [];
  const committed = await filesUnder(join(root, folder));
  const generated = await filesUnder(join(fresh, folder));
  for (const path of new Set([...committed.keys(), ...generated.keys()])) {
    if (isCompiled(path) || (folder === output && kept.includes(path))) continue;
    const [before, after] = [committed.get(path), generated.get(path)];
    if (before === undefined) named.push(`${folder}/${path} is missing`);
    else if (after === undefined) named.push(`${folder}/${path} is not generated`);
    else if (!before.equals(after)) named.push(`${folder}/${path} differs from what is generated`);
  }
  return named;
};

const check = async (): Promise<string> => {
  const fresh = await mkdtemp(join(tmpdir(), "sigil-generate-"));
  try {
    const problem = await generateInto(fresh);
    if (problem !== "") return problem;
    if (process.env["CI"] === "true" && stubs.missing.length > 0) return "a toolchain is missing in CI\n";
    const folders = [output, ...stubs.found.map(({ folder }) => folder)];
    const named = (await Promise.all(folders.map((folder) => differences(fresh, folder)))).flat();
    return named.length === 0 ? "" : `${named.join("\n")}\nrun: npm run generate\n`;
  } finally {
    await rm(fresh, { recursive: true });
  }
};

const problem = process.argv.includes("--check") ? await check() : await generateInto(root);
process.stderr.write(problem);
process.exitCode = problem === "" ? 0 : 1;
