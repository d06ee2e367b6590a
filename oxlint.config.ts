/**
 * Lint: what is wrong, what is suspicious, and the architecture as a table. Read by oxlint (type-aware rules by
 * tsgolint). The table is DESIGN.md's: a folder imports the folders in its row, its own files and packages; nothing else.
 * test/unit/house/gates.test.ts plants a violation of each rule that carries a promise.
 */
import { defineConfig, type OxlintOverride } from "oxlint";
import pure from "./tsconfig.pure.json" with { type: "json" };

/**
 * No I/O, clock, randomness or Node types. The list is that of tsconfig.pure.json, which compiles these files without
 * Node's types; a file's opening comment says "Pure" exactly when it is listed (test/unit/house/sources.test.ts).
 */
const pureFiles = pure.include.filter((path) => path.startsWith("src/"));

type Rules = NonNullable<OxlintOverride["rules"]>;

/** What a service may build on. Never another service: server.ts hands it the functions it needs. */
const belowServices = ["record", "merkle", "keys", "ledger", "identity"];
const services = ["trust", "audit", "canon", "modules", "operations"];

/** Folder of src/ → folders of src/ it may import. */
const mayImport: Readonly<Record<string, readonly string[]>> = {
  record: [],
  merkle: ["record"],
  keys: ["record"],
  storage: ["record"],
  ledger: ["record", "merkle", "keys", "storage"],
  identity: ["record", "keys", "ledger"],
  config: ["record"],
  trust: belowServices,
  audit: belowServices,
  canon: belowServices,
  modules: belowServices,
  operations: belowServices,
  cdc: ["record", "ledger"],
  rpc: ["record", "identity", "generated", ...services],
  gateway: ["record", "rpc"],
  // The command line opens data directories itself (init, fsck, serve) but calls a server only as any caller does.
  cli: ["record", "config", "merkle", "keys", "storage", "ledger", "identity", ...services],
};

/** Single files a folder may also import, by path below src/. */
const mayImportFiles: Readonly<Record<string, readonly string[]>> = {
  config: ["log.ts"],
  cli: [
    "server.ts",
    "server-signals.ts",
    "deployment.ts",
    "deployment-inspection.ts",
    "deployment-migrate.ts",
    "deployment-rehearse.ts",
    "deployment-rewrap.ts",
    "deployment-restore.ts",
    "config.ts",
    "log.ts",
    "../clients/typescript/**",
  ],
};

const message = "The import table (oxlint.config.ts, docs/architecture.md) does not allow this import.";

const allowedPaths = (folder: string): readonly string[] => [
  ...(mayImport[folder] ?? []).map((name) => (name === "generated" ? "../generated/**" : `${name}/**`)),
  ...(mayImportFiles[folder] ?? []),
];

/** Everything that climbs out of `folder`, from a file `depth` folders below src/, but what its row allows. */
const climbing = (folder: string, depth: number): readonly string[] => {
  const climb = "../".repeat(depth);
  return [`${climb}**`, ...allowedPaths(folder).map((path) => `!${climb}${path}`)];
};

/** Packages a pure file may use: arithmetic on bytes, nothing that touches the world. */
const allPackagesButNoble = ["*", "!./**", "!../**", "!@noble/**"];

/** A path that climbs after it descended: the table could not be read off it. */
const crooked = ["./../**", "**/[a-z]*/../**"];

/** One group: oxlint reads the patterns of a rule as one list, the last match deciding. */
const folderRule = (folder: string, depth: number, packages: readonly string[] = []): Rules => ({
  "no-restricted-imports": [
    "error",
    { patterns: [{ group: [...packages, ...climbing(folder, depth), ...crooked], message }] },
  ],
});

/** Files of src/ itself that are no place for wiring. */
const rootFileRule = (allowed: readonly string[]): Rules => ({
  "no-restricted-imports": [
    "error",
    { patterns: [{ group: ["./**", "../**", ...allowed.map((name) => `!./${name}/**`)], message }] },
  ],
});

const folders = Object.keys(mayImport);

const folderOverrides = folders.flatMap((folder) => {
  const isPure = pureFiles.includes(`src/${folder}/**/*.ts`);
  const packages = isPure ? allPackagesButNoble : [];
  return [
    { files: [`src/${folder}/*.ts`], rules: folderRule(folder, 1, packages) },
    { files: [`src/${folder}/*/*.ts`], rules: folderRule(folder, 2, packages) },
  ];
});

/** The folder's own rule, and no packages but noble's. */
const pureFileRule = (file: string): Rules => {
  const [, folder = "", ...below] = file.split("/");
  return folderRule(folder, below.length, allPackagesButNoble);
};

const pureFileOverrides = pureFiles
  .filter((file) => !file.includes("*"))
  .map((file) => ({ files: [file], rules: pureFileRule(file) }));

const ambient = ["Date", "process", "Buffer", "performance", "crypto", "globalThis", "console", "fetch"];
const timers = ["setTimeout", "setInterval", "setImmediate", "queueMicrotask"];
const impure = "A pure file takes time, randomness and I/O as arguments.";

/** Calls to a server go through the client package, so that it is what the tests prove. */
const throughClient: Rules = {
  "no-restricted-imports": [
    "error",
    { patterns: [{ regex: "^[./]+/generated/", message: "Call a server through @sigil/client." }] },
  ],
};

export default defineConfig({
  plugins: ["typescript", "unicorn", "oxc", "import", "promise", "node"],
  categories: { correctness: "error", suspicious: "error" },
  options: { typeAware: true, denyWarnings: true },
  ignorePatterns: [
    "node_modules",
    "generated/**",
    "**/generated/**",
    "dist/**",
    "build/**",
    "clients/python/**",
    "clients/go/**",
    // AssemblyScript: the same ending, another language, checked by its own compiler.
    "examples/modules/**/*.ts",
  ],
  rules: {
    "typescript/no-floating-promises": "error",
    "typescript/no-misused-promises": "error",
    "typescript/await-thenable": "error",
    // A default beside every member of the union is allowed: it denies what only a broken type could bring.
    "typescript/switch-exhaustiveness-check": "error",
    "typescript/no-explicit-any": "error",
    "typescript/only-throw-error": "error",
    "typescript/return-await": ["error", "error-handling-correctness-only"],
    "import/no-cycle": ["error", { ignoreTypes: false }],
    // `import fc from "fast-check"` is how that library is written.
    "import/no-named-as-default": "off",
    "import/no-named-as-default-member": "off",
    "import/no-commonjs": "error",
    "import/no-mutable-exports": "error",
    "eslint/eqeqeq": "error",
    "eslint/no-console": "off",
    "eslint/no-var": "error",
    "eslint/prefer-const": "error",
    "eslint/no-warning-comments": [
      "error",
      { terms: ["todo", "fixme", "xxx", "hack"], location: "anywhere" },
    ],
    "eslint/max-lines": ["error", { max: 400, skipBlankLines: true, skipComments: true }],
    "typescript/no-unnecessary-type-parameters": "off",
    // Brands are made by asserting, in one parse function each.
    "typescript/no-unsafe-type-assertion": "off",
    // `tsc` checks that every path of an exhaustive switch returns; this rule does not see exhaustiveness.
    "typescript/consistent-return": "off",
    // An array that a function made is its own to sort or reverse, and a copy costs on the hot path.
    "unicorn/no-array-sort": "off",
    "unicorn/no-array-reverse": "off",
    // The arithmetic behind a verdict writes its constants out, digit by digit, as its specification does.
    "oxc/approx-constant": "off",
    // The formatter decides where a line breaks.
    "eslint/no-unexpected-multiline": "off",
    // gRPC status codes come as numbers; text on a terminal is measured in code points; a gauge registers itself.
    "typescript/no-unsafe-enum-comparison": "off",
    "typescript/no-unsafe-enum-assignment": "off",
    "typescript/no-misused-spread": "off",
    "eslint/no-new": "off",
    // Another task changes the condition while this one awaits.
    "eslint/no-unmodified-loop-condition": "off",
    // Inner names may repeat outer ones: `key` in a callback is clearer than `key2`.
    "eslint/no-shadow": "off",
    "unicorn/consistent-function-scoping": "off",
    // Bodies are handled in order: a loop that awaits is how a sequencer is written.
    "eslint/no-await-in-loop": "off",
    "promise/always-return": "off",
  },
  overrides: [
    { files: ["src/**/*.ts"], rules: { "eslint/no-console": "error" } },
    { files: ["src/cli/**/*.ts", "src/main.ts"], rules: { "eslint/no-console": "off" } },
    // A folder without a row imports nothing until the table has one.
    { files: ["src/*/**/*.ts"], rules: folderRule("", 1) },
    ...folderOverrides,
    ...pureFileOverrides,
    {
      files: pureFiles,
      rules: {
        "no-restricted-globals": [
          "error",
          ...[...ambient, ...timers].map((name) => ({ name, message: impure })),
        ],
        "no-restricted-properties": ["error", { object: "Math", property: "random", message: impure }],
      },
    },
    { files: ["src/config/config.ts"], rules: rootFileRule(["record", "config"]) },
    { files: ["src/main.ts"], rules: rootFileRule(["cli"]) },
    { files: ["test/e2e/**/*.ts", "examples/**/*.ts", "bench/**/*.ts"], rules: throughClient },
    // chai's assertions are expressions; a table of faults reads "given … then".
    {
      files: ["test/**/*.ts"],
      rules: {
        "eslint/no-unused-expressions": "off",
        "unicorn/no-thenable": "off",
        "typescript/unbound-method": "off",
      },
    },
  ],
});
