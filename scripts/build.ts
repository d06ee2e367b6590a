/**
 * `npm run build`: what is published. `build/packages/{core,proto,client}` are the three packages as JavaScript with
 * declarations, each to be packed where it lies; `dist/` is the server's program, which carries the three as real files
 * in `dist/node_modules`, so that it depends on nothing that is not published. Two other directories may be named (`npm
 * run build -- DIST PACKAGES`), so that a test can build beside those in use.
 */
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { repository, run } from "./run.ts";

type Package = {
  readonly name: string;
  /**
   * Where its manifest lies in the repository; its compiled files lie at the same place below the compiler's output.
   */
  readonly folder: string;
};

const packages: readonly Package[] = [
  { name: "core", folder: "src/core" },
  { name: "proto", folder: "generated" },
  { name: "client", folder: "clients/typescript" },
];

/** What the server reads beside its JavaScript. */
const serverFiles = [
  "generated/descriptors.binpb",
  "generated/openapi.json",
  "generated/modules/hello.wasm",
  // The page of the HTTP port: carried and not depended on, since the package's own dependency reports installations
  // to its maker.
  ...[
    "package.json",
    "LICENSE",
    "NOTICE",
    "swagger-ui.css",
    "swagger-ui-bundle.js",
    "swagger-ui-bundle.js.LICENSE.txt",
  ].map((name) => `node_modules/swagger-ui-dist/${name}`),
];

const [dist, staged] = [process.argv[2] ?? "dist", process.argv[3] ?? "build/packages"].map((path) =>
  resolve(repository, path),
) as [string, string];

type Json = { readonly [name: string]: Json } | string | boolean;

const built = (path: string, ending: string): string => path.replace(/\.ts$/, ending);

/** An entry of `exports`: sources run as they are in the repository, so there one path is both. */
const publishedEntry = (entry: Json): Json =>
  typeof entry === "string" ? { types: built(entry, ".d.ts"), default: built(entry, ".js") } : entry;

/** An entry of `imports`: a path by condition. */
const publishedImport = (entry: Json): Json =>
  typeof entry !== "object"
    ? entry
    : Object.fromEntries(
        Object.entries(entry).map(([condition, path]) => [
          condition,
          typeof path === "string" ? built(path, condition === "types" ? ".d.ts" : ".js") : path,
        ]),
      );

const mapEntries = (entries: Json | undefined, to: (entry: Json) => Json): Json =>
  Object.fromEntries(
    Object.entries(typeof entries === "object" ? entries : {}).map(([name, entry]) => [name, to(entry)]),
  );

const publishedManifest = (text: string): string => {
  const { exports, imports, ...rest } = JSON.parse(text) as { readonly [name: string]: Json };
  const published = {
    ...rest,
    exports: mapEntries(exports, publishedEntry),
    ...(imports === undefined ? {} : { imports: mapEntries(imports, publishedImport) }),
  };
  return `${JSON.stringify(published, undefined, 2)}\n`;
};

const stage = async (emitted: string, { name, folder }: Package): Promise<void> => {
  const target = join(staged, name);
  await cp(join(emitted, folder), target, { recursive: true });
  await writeFile(
    join(target, "package.json"),
    publishedManifest(await readFile(join(repository, folder, "package.json"), "utf8")),
  );
  for (const [from, to] of [
    [join(repository, "LICENSE"), "LICENSE"],
    [join(repository, folder, "README.md"), "README.md"],
  ] as const) {
    await cp(from, join(target, to));
  }
};

const build = async (): Promise<number> => {
  await mkdir(join(repository, "build"), { recursive: true });
  const emitted = await mkdtemp(join(repository, "build", "emitted-"));
  try {
    const { exitCode, output } = await run(["tsc", "-p", "tsconfig.build.json", "--outDir", emitted]);
    process.stdout.write(output);
    if (exitCode !== 0) return exitCode;
    for (const directory of [dist, staged]) await rm(directory, { recursive: true, force: true });
    for (const each of packages) await stage(emitted, each);
    await cp(join(emitted, "src"), join(dist, "src"), {
      recursive: true,
      filter: (path) => path !== join(emitted, "src/core"),
    });
    for (const path of serverFiles) await cp(join(repository, path), join(dist, path));
    for (const { name } of packages) {
      await cp(join(staged, name), join(dist, "node_modules/@sigil", name), { recursive: true });
    }
    return 0;
  } finally {
    await rm(emitted, { recursive: true, force: true });
  }
};

process.exitCode = await build();
