/**
 * `npm run build`: dist/, the JavaScript and declarations that are published. Another directory may be named after it
 * (`npm run build -- build/package`), so that a test can build beside one that is in use.
 * The command line calls servers through the client package; the published package carries that package's files inside
 * it, so that it has no dependency which is not published: the one bare import of it is made relative here.
 */
import { cp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname, join, relative, resolve } from "node:path";
import { repository, run } from "./run.ts";

const client = "@sigil/client";
const clientEntry = "clients/typescript/src/index.js";
/** What is generated and no TypeScript: the compiler does not copy it. */
const generatedFiles = ["generated/descriptors.binpb", "generated/modules/hello.wasm"];
const directory = resolve(repository, process.argv[2] ?? "dist");

const pointAtClient = async (file: string): Promise<void> => {
  const before = await readFile(file, "utf8");
  const path = relative(dirname(file), join(directory, clientEntry));
  const after = before.replaceAll(`"${client}"`, JSON.stringify(path.startsWith(".") ? path : `./${path}`));
  if (after !== before) await writeFile(file, after);
};

const build = async (): Promise<number> => {
  await rm(directory, { recursive: true, force: true });
  const { exitCode, output } = await run(["tsc", "-p", "tsconfig.build.json", "--outDir", directory]);
  process.stdout.write(output);
  if (exitCode !== 0) return exitCode;
  for (const path of generatedFiles) await cp(join(repository, path), join(directory, path));
  const emitted = await readdir(join(directory, "src"), { recursive: true });
  const modules = emitted.filter((path) => path.endsWith(".js") || path.endsWith(".d.ts"));
  await Promise.all(modules.map((path) => pointAtClient(join(directory, "src", path))));
  return 0;
};

process.exitCode = await build();
