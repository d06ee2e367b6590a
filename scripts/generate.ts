/**
 * `npm run generate`: the TypeScript stubs and the descriptor set from proto/, and the modules from their sources. The
 * package's own manifest stands beside what is generated. With `--check` it generates into a temporary directory
 * instead, names every committed file that differs, and fails if there is one.
 */
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { addMessageJson } from "./message-json.ts";
import { compileModule } from "./modules.ts";
import { run } from "./run.ts";

const root = process.cwd();
/** The built-in one, and the one that the tour takes in. */
const modules = [
  ["examples/modules/hello/hello.ts", "hello.wasm"],
  ["examples/modules/redact/assemblyscript/redact.ts", "redact.wasm"],
] as const;
const output = "generated";
/** What stands beside generated files and is written by people. */
const written = ["package.json", "README.md"];

/** Descriptors serve reflection, which has no use for comments and positions. */
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
  return "";
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

const differences = async (fresh: string): Promise<readonly string[]> => {
  const named: string[] = [];
  const committed = await filesUnder(join(root, output));
  const generated = await filesUnder(join(fresh, output));
  for (const path of new Set([...committed.keys(), ...generated.keys()])) {
    if (written.includes(path)) continue;
    const [before, after] = [committed.get(path), generated.get(path)];
    if (before === undefined) named.push(`${output}/${path} is missing`);
    else if (after === undefined) named.push(`${output}/${path} is not generated`);
    else if (!before.equals(after)) named.push(`${output}/${path} differs from what is generated`);
  }
  return named;
};

const check = async (): Promise<string> => {
  const fresh = await mkdtemp(join(tmpdir(), "sigil-generate-"));
  try {
    const problem = await generateInto(fresh);
    if (problem !== "") return problem;
    const named = await differences(fresh);
    return named.length === 0 ? "" : `${named.join("\n")}\nrun: npm run generate\n`;
  } finally {
    await rm(fresh, { recursive: true });
  }
};

const problem = process.argv.includes("--check") ? await check() : await generateInto(root);
process.stderr.write(problem);
process.exitCode = problem === "" ? 0 : 1;
