/**
 * `npm run packages`: tests the tarballs as users install them. Packs all four, installs the three packages with one
 * command into an empty project outside the repository, and runs the README's example there on every Node version the
 * client supports, by `import` and by `require`, against a server installed from its own tarball without development
 * dependencies; then type-checks the example in each kind of project, imports every path of the client, and has ESLint
 * refuse a decision as a condition. Needs the package registry. Exits with 1 on failure; `--keep` keeps the projects.
 */
import { once } from "node:events";
import { spawn, type ChildProcess } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { repository, run } from "./run.ts";

const nodeMajors = [20, 22, 24] as const;
const compilers = { "typescript-5.9": "npm:typescript@~5.9", "typescript-7": "npm:typescript@~7.0" } as const;
const readyMsMax = 60_000;

const base = await mkdtemp(join(tmpdir(), "sigil-packages-"));
const [tarballs, project, deployment] = ["tarballs", "project", "server"].map((name) => join(base, name)) as [
  string,
  string,
  string,
];

let failures = 0;
const report = (
  name: string,
  { exitCode, output }: { readonly exitCode: number; readonly output: string },
): boolean => {
  console.log(`${exitCode === 0 ? "ok    " : "FAILED"} ${name}`);
  if (exitCode !== 0) {
    failures += 1;
    console.log(output.replaceAll(/^/gm, "       "));
  }
  return exitCode === 0;
};

/** Runs and reports a step; aborts if it fails. */
const must = async (name: string, command: readonly string[], cwd: string): Promise<string> => {
  const outcome = await run(command, { cwd });
  if (!report(name, outcome)) throw new Error(`${name} failed`);
  return outcome.output;
};

const nodeOf = (major: number): string => join(project, "node_modules", `node-${major}`, "bin", "node");

const packAll = async (): Promise<readonly string[]> => {
  await must("npm run build", ["npm", "run", "-s", "build"], repository);
  await mkdir(tarballs);
  for (const name of ["core", "proto", "client"]) {
    await must(
      `npm pack @sigil/${name}`,
      ["npm", "pack", "--pack-destination", tarballs],
      join(repository, "build/packages", name),
    );
  }
  await must(
    "npm pack sigil",
    ["npm", "pack", "--ignore-scripts", "--pack-destination", tarballs],
    repository,
  );
  return (await readdir(tarballs)).map((file) => join(tarballs, file));
};

/** TypeScript sources in a tarball, which must not contain any. */
const sourcesIn = async (tarball: string): Promise<readonly string[]> => {
  const { output } = await run(["tar", "-tzf", tarball]);
  return output.split("\n").filter((path) => /(?<!\.d)\.[cm]?ts$/.test(path));
};

const emptyProject = async (path: string, name: string): Promise<void> => {
  await mkdir(path);
  await writeFile(join(path, "package.json"), JSON.stringify({ name, version: "1.0.0", private: true }));
};

const install = (packages: readonly string[], more: readonly string[] = []): readonly string[] => [
  "npm",
  "install",
  "--no-audit",
  "--no-fund",
  "--loglevel=error",
  ...more,
  ...packages,
];

/** The first example of the client's README, completed to a program. */
const readmeExample = async (): Promise<string> => {
  const readme = await readFile(join(repository, "clients/typescript/README.md"), "utf8");
  const example = /```ts\n([^]*?)```/.exec(readme)?.[1];
  if (example === undefined) throw new Error("the client's README begins with no example");
  // Replaces the reader's names by the sample deployment's.
  const closed = `${example}sigil.close();\n`;
  return closed.replace('"billing"', '"operator"').replace('"sigil.example.org"', '"sigil.dev"');
};

/** Paths of the client besides its own, each with what it exports. None of their frameworks is installed. */
const paths = {
  express: "guard",
  fastify: "guard",
  grpc: "guard",
  hono: "guard",
  lint: "default",
} as const;

const pathImports = Object.entries(paths).map(
  ([path, name]) => `import { ${name} as ${path} } from "@sigil/client/${path}";\n`,
);
const pathRequires = Object.entries(paths).map(
  ([path, name]) => `const { ${name}: ${path} } = require("@sigil/client/${path}");\n`,
);
const pathUse = `if ([${Object.keys(paths).join(", ")}].some((each) => !each)) throw new Error("a path is empty");
console.log("paths");
`;

const runPaths = async (): Promise<void> => {
  await writeFile(join(project, "paths.mjs"), pathImports.join("") + pathUse);
  await writeFile(join(project, "paths.cjs"), pathRequires.join("") + pathUse);
  for (const major of nodeMajors) {
    for (const file of ["paths.mjs", "paths.cjs"]) {
      const { exitCode, output } = await run([nodeOf(major), file], { cwd: project });
      const worked = exitCode === 0 && /^paths$/m.test(output);
      report(`Node ${major}, every path of the client, ${file}`, { exitCode: worked ? 0 : 1, output });
    }
  }
};

/** A decision as a condition, told by its type alone: nothing in its line names a connection. */
const misuse = `import { connect, type Decision } from "@sigil/client";
const gate = connect({ target: "localhost:1", tls: "insecure" });
const ask = (): Promise<Decision> => gate.check({ action: "read", target: "public/docs" });
export const misused = async (): Promise<number> => ((await ask()) ? 1 : 2);
export const used = async (): Promise<number> => ((await ask()).allowed ? 1 : 2);
`;

const eslintConfig = `import { parser } from "typescript-eslint";
import sigil from "@sigil/client/lint";
export default [
  {
    files: ["misuse.ts"],
    languageOptions: { parser, parserOptions: { project: "./tsconfig.misuse.json", tsconfigRootDir: import.meta.dirname } },
    plugins: { sigil },
    rules: { "sigil/no-decision-as-condition": "error" },
  },
];
`;

/** The shipped rule with the types of the compiler, as a user of typescript-eslint has it. */
const runLint = async (): Promise<void> => {
  await writeFile(join(project, "misuse.ts"), misuse);
  await writeFile(join(project, "eslint.config.mjs"), eslintConfig);
  const options = {
    module: "nodenext",
    target: "es2023",
    strict: true,
    noEmit: true,
    skipLibCheck: true,
    types: ["node"],
  };
  await writeFile(
    join(project, "tsconfig.misuse.json"),
    JSON.stringify({ compilerOptions: options, files: ["misuse.ts"] }),
  );
  const eslint = [nodeOf(24), "node_modules/eslint/bin/eslint.js", "--format", "json", "misuse.ts"];
  const { output } = await run(eslint, { cwd: project });
  const lines = [...output.matchAll(/"no-decision-as-condition"[^}]*?"line":(\d+)|"line":(\d+)/g)].map(
    ([, one, other]) => one ?? other,
  );
  report("ESLint refuses a decision as a condition, by its type, and nothing else", {
    exitCode: lines.join() === "4" ? 0 : 1,
    output,
  });
};

const given = `
const target = process.argv[2] ?? "", tls = "insecure";
const privateKey = readFileSync(process.argv[3] ?? "", "utf8");
`;

const asModule = (example: string): string =>
  `import { readFileSync } from "node:fs";\n${example.replace(/^(import .*\n)/, `$1${given}`)}`;

const asScript = (example: string): string =>
  `const { readFileSync } = require("node:fs");
${example.replace(/^import (\{[^}]*\}) from ("[^"]*");\n/, (_, names: string, from: string) => `const ${names} = require(${from});\n${given}main();\nasync function main() {\n`)}
}
`;

const asTypeScript = (example: string): string =>
  example.replace(
    /^(import .*\n)/,
    `$1import { hashRecord } from "@sigil/core/record";
import { CheckRequest } from "@sigil/proto/sigil/trust/v1/trust";
${pathImports.join("")}declare const target: string, privateKey: string;
const tls = "insecure";
export const paths = [${Object.keys(paths).join(", ")}];
export const used = [hashRecord, CheckRequest.create({ action: "read" })];
export {};
`,
  );

/** Compiler settings of each kind of project; `skipLibCheck` is off, so that our declarations are also checked. */
const projects = [
  { name: "ESM under node16", module: "node16", moduleResolution: "node16", file: "example.mts" },
  { name: "ESM under nodenext", module: "nodenext", moduleResolution: "nodenext", file: "example.mts" },
  { name: "ESM for a bundler", module: "esnext", moduleResolution: "bundler", file: "example.mts" },
  { name: "CommonJS under nodenext", module: "nodenext", moduleResolution: "nodenext", file: "example.cts" },
] as const;

const checkTypes = async (example: string): Promise<void> => {
  await writeFile(join(project, "example.mts"), asTypeScript(example));
  // A CommonJS file has no top-level await.
  const body = asTypeScript(example).split("export {};\n");
  await writeFile(
    join(project, "example.cts"),
    `${body[0]}export const main = async (): Promise<void> => {\n${body[1]}};\n`,
  );
  for (const { name, module, moduleResolution, file } of projects) {
    const options = {
      module,
      moduleResolution,
      target: "es2023",
      lib: ["es2023"],
      strict: true,
      noEmit: true,
      skipLibCheck: false,
      types: ["node"],
    };
    const config = `tsconfig.${file}.${module}.json`;
    await writeFile(join(project, config), JSON.stringify({ compilerOptions: options, files: [file] }));
    for (const compiler of Object.keys(compilers)) {
      const command = [nodeOf(24), join("node_modules", compiler, "bin/tsc"), "-p", config];
      report(`types, ${name}, ${compiler}`, await run(command, { cwd: project }));
    }
  }
};

/** Starts `sigil dev` from the installed tarball, on the newest Node. @returns the process and its address. */
const startServer = async (): Promise<{ readonly server: ChildProcess; readonly target: string }> => {
  const command = join(deployment, "node_modules/sigil/bin/sigil.js");
  const server = spawn(
    nodeOf(24),
    [
      command,
      "dev",
      "--listen",
      "127.0.0.1:0",
      "--operator-listen",
      "127.0.0.1:0",
      "--http-listen",
      "127.0.0.1:0",
    ],
    {
      cwd: deployment,
      stdio: ["ignore", "ignore", "pipe"],
    },
  );
  const lines = createInterface({ input: server.stderr });
  const timer = setTimeout(() => server.kill(), readyMsMax);
  for await (const line of lines) {
    const target = /^Serving on (\S+),/.exec(line)?.[1];
    if (target === undefined) continue;
    clearTimeout(timer);
    lines.close();
    server.stderr.resume();
    return { server, target };
  }
  throw new Error("the installed server said no address");
};

const runExamples = async (example: string, target: string): Promise<void> => {
  await writeFile(join(project, "example.mjs"), asModule(example));
  await writeFile(join(project, "example.cjs"), asScript(example));
  const key = join(deployment, ".sigil/keys/operator.pem");
  for (const major of nodeMajors) {
    for (const [way, file] of [
      ["import", "example.mjs"],
      ["require", "example.cjs"],
    ] as const) {
      const { exitCode, output } = await run([nodeOf(major), file, target, key], { cwd: project });
      // Expected output: one line with the decision's id and that it verifies.
      const worked = exitCode === 0 && /[0-9a-f-]{36} true/.test(output);
      report(`Node ${major}, by ${way}`, { exitCode: worked ? 0 : 1, output });
    }
  }
};

const everything = async (): Promise<void> => {
  const packed = await packAll();
  for (const tarball of packed) {
    const sources = await sourcesIn(tarball);
    report(`no TypeScript sources in ${tarball.slice(tarballs.length + 1)}`, {
      exitCode: sources.length,
      output: sources.join("\n"),
    });
  }
  const isServer = (path: string): boolean =>
    /sigil-\d[^/]*$/.test(path) && !/sigil-(?:core|proto|client)-/.test(path);
  await emptyProject(project, "client-of-sigil");
  await must(
    "npm install of the three in one command",
    install(packed.filter((path) => !isServer(path))),
    project,
  );
  const tools = [
    ...nodeMajors.map((major) => `node-${major}@npm:node@${major}`),
    ...Object.entries(compilers).map(([name, spec]) => `${name}@${spec}`),
    "@types/node@24",
    // For ESLint, whose TypeScript is not the newest.
    "eslint",
    "typescript-eslint",
  ];
  await must("npm install of Nodes and compilers", install(tools, ["--save-dev"]), project);
  await emptyProject(deployment, "server-of-sigil");
  await must(
    "npm install of the server, for production",
    install(packed.filter(isServer), ["--omit=dev"]),
    deployment,
  );
  const example = await readmeExample();
  const { server, target } = await startServer();
  try {
    await runExamples(example, target);
  } finally {
    server.kill();
    await once(server, "exit");
  }
  report("the installed server stops when it is told to", { exitCode: server.exitCode ?? 1, output: "" });
  await checkTypes(example);
  await runPaths();
  await runLint();
};

try {
  await everything();
} catch (error) {
  failures += 1;
  console.error(error);
} finally {
  if (process.argv.includes("--keep")) console.log(`kept: ${base}`);
  else await rm(base, { recursive: true, force: true });
}
process.exitCode = failures === 0 ? 0 : 1;
