/**
 * `npm run build`: builds everything that is published. `build/packages/{core,proto,client}` are the three packages as
 * JavaScript with declarations, ready to pack; `dist/` is the server, which bundles the three as real files in
 * `dist/node_modules`, so that it depends only on published packages. Other output directories may be given (`npm run
 * build -- DIST PACKAGES`), for tests.
 */
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { buildPage } from "../src/verifier/page.ts";
import { repository, run } from "./run.ts";

type Package = {
  readonly name: string;
  /** Folder of its manifest in the repository, and of its compiled files in the compiler's output. */
  readonly folder: string;
};

const packages: readonly Package[] = [
  { name: "core", folder: "src/core" },
  { name: "proto", folder: "generated" },
  { name: "client", folder: "clients/typescript" },
];

/** Files that the server reads besides its JavaScript. */
const serverFiles = [
  "generated/descriptors.binpb",
  "generated/openapi.json",
  "generated/modules/hello.wasm",
  "src/gateway/ui/page/page.css",
  "src/gateway/ui/page/icon.svg",
  // The page of the HTTP port: bundled instead of a dependency, since the package's own dependency reports
  // installations to its maker.
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

/** Converts an entry of `exports`: in the repository one source path serves as both types and code. */
const publishedEntry = (entry: Json): Json =>
  typeof entry === "string" ? { types: built(entry, ".d.ts"), default: built(entry, ".js") } : entry;

/** Converts an entry of `imports`, with a path per condition. */
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

/** What Node runs, and what browsers do: the page's modules are served as they are compiled, file by file. */
const compilers = (emitted: string): readonly (readonly string[])[] => {
  const page = "src/gateway/ui/page";
  const options = ["--noEmit", "false", "--noEmitOnError", "--rewriteRelativeImportExtensions"];
  return [
    ["tsc", "-p", "tsconfig.build.json", "--outDir", emitted],
    ["tsc", "-p", page, ...options, "--outDir", join(emitted, page)],
  ];
};

const build = async (): Promise<number> => {
  await mkdir(join(repository, "build"), { recursive: true });
  const emitted = await mkdtemp(join(repository, "build", "emitted-"));
  try {
    for (const command of compilers(emitted)) {
      const { exitCode, output } = await run(command);
      process.stdout.write(output);
      if (exitCode !== 0) return exitCode;
    }
    for (const directory of [dist, staged]) await rm(directory, { recursive: true, force: true });
    for (const each of packages) await stage(emitted, each);
    await cp(join(emitted, "src"), join(dist, "src"), {
      recursive: true,
      filter: (path) => path !== join(emitted, "src/core"),
    });
    await writeFile(join(dist, "src/verifier/verify.html"), buildPage());
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
