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

/** Rooms of the package `@sigil/core`, as its manifest exports them. */
const core = (...rooms: readonly string[]): readonly string[] => rooms.map((room) => `@sigil/core/${room}`);
const formats = core("bytes", "errors", "limits", "cbor", "cose", "record");
const wholeCore = [...formats, ...core("hash", "keys", "merkle", "model", "pack", "quorum", "verify")];

/** What a service may build on. Never another service's code: `wire/` hands it the functions it needs. */
const belowServices = [...wholeCore, "crypto", "ledger", "identity"];
const services = ["trust", "audit", "canon", "modules", "deployment"];

/** Folder of src/ → folders of src/ and packages of this repository it may import. */
const mayImport: Readonly<Record<string, readonly string[]>> = {
  core: [],
  log: core("limits"),
  config: [...core("bytes", "errors", "limits", "record"), "log"],
  storage: core("bytes", "errors", "limits"),
  crypto: [...formats, ...core("hash", "keys")],
  ledger: [...wholeCore, "storage", "crypto"],
  identity: [...formats, ...core("keys"), "crypto", "ledger"],
  trust: belowServices,
  audit: belowServices,
  canon: belowServices,
  modules: belowServices,
  // Consumers of the feed, outside of the server as well: what they read is passed in.
  projections: wholeCore,
  // Makes, opens and copies data directories, so it knows the store and the code of modules beside the ledger.
  deployment: [...belowServices, "storage", "canon", "modules"],
  // Of other logs, in a process of its own; and the asking of witnesses about this one.
  witness: [...core("bytes", "errors", "limits", "hash", "keys", "merkle"), "crypto", "storage"],
  // Consumers of the feed: whoever starts one hands it the source.
  relay: core("bytes", "errors", "limits", "cbor", "hash", "record"),
  rpc: [...wholeCore, "@sigil/proto/**", "identity", "config", ...services],
  gateway: [
    ...core("bytes", "errors", "limits", "cbor", "hash", "merkle", "record"),
    "@sigil/proto/**",
    "config",
    "rpc",
  ],
  // One file for browsers, with the core in it; and the making of it.
  verifier: core("bytes", "keys", "limits", "merkle", "model", "record", "verify"),
  wire: [
    ...wholeCore,
    "@sigil/proto/**",
    "config",
    "log",
    "crypto",
    "storage",
    "ledger",
    "identity",
    ...services,
    "relay",
    "witness",
    "rpc",
    "gateway",
  ],
  // The command line opens data directories itself (init, fsck, serve) but calls a server only as any caller does.
  cli: [
    ...wholeCore,
    "@sigil/client",
    "config",
    "log",
    "crypto",
    "storage",
    "ledger",
    "identity",
    ...services,
    "projections",
    "relay",
    "verifier",
    "witness",
    "wire",
  ],
};

/**
 * Folder of src/ → services whose types it may name, down one line: trust → canon → modules. A type says what is handed
 * over; the value still comes from `wire/`.
 */
const mayImportTypes: Readonly<Record<string, readonly string[]>> = {
  canon: ["trust"],
  modules: ["trust", "canon"],
};

/**
 * The rooms of a folder, each of which imports those before it in its list; "." stands for the folder's own files. A
 * folder without a list has no rooms.
 */
const roomsOf: Readonly<Record<string, readonly string[]>> = {
  core: [".", "crypto", "cbor", "cose", "record", "merkle", "keys", "quorum", "model", "verify", "pack"],
  crypto: ["files", "wrapping", "signing", "pkcs11", "."],
  ledger: [
    "layout",
    "sealing",
    "decisions",
    "append",
    "copy",
    "erase",
    "read",
    "walk",
    "recover",
    "fsck",
    ".",
  ],
  identity: [".", "directory"],
  canon: [".", "schemas", "records", "proposals"],
  modules: ["wasm", "sandbox", "guest", "."],
  deployment: ["backup", "."],
  projections: [".", "dynamo", "mongo", "postgres"],
  relay: [".", "kafka", "sqs", "webhook"],
  rpc: [
    ".",
    "message",
    "bounds",
    "call",
    "transport",
    "canon",
    "audit",
    "backup",
    "key",
    "module",
    "principal",
    "trust",
    "envoy",
  ],
  verifier: ["page", "."],
  gateway: ["http", "authzen", "tiles", "ui", "."],
  cli: "terminal call proposal model attest pack audit canon check deployment key keys module principal project relay tiles witness .".split(
    " ",
  ),
};

const message = "The import table (oxlint.config.ts, docs/architecture.md) does not allow this import.";

/** A path that climbs after it descended: the table could not be read off it. */
const crooked = ["./../**", "**/[a-z]*/../**"];

/** Packages a pure file may use: arithmetic on bytes, nothing that touches the world. */
const allPackagesButNoble = ["*", "!./**", "!../**", "!@noble/**", "!#crypto"];

/** Files of src/ itself that every folder but the core may use. */
const sharedFiles = ["errors.ts", "limits.ts", "mutex.ts", "threads.ts"];

/** The rooms before `room`, as a file `climb` away from their folder names them. */
const roomsBefore = (folder: string, room: string, climb: string): readonly string[] => {
  const rooms = roomsOf[folder] ?? [];
  const before = rooms.slice(0, Math.max(0, rooms.indexOf(room)));
  return before.map((name) => (name === "." ? `!${climb}*.ts` : `!${climb}${name}/**`));
};

/**
 * What a file of `room` may not import: one list of patterns, of which the last that matches decides.
 * @param depth of the file's own folder below src/: 1 in a folder, 2 in a room, 3 in a part of a room.
 */
const restricted = (folder: string, room: string, depth: number): readonly string[] => {
  const toFolder = "../".repeat(depth - 1);
  const allowed = mayImport[folder] ?? [];
  const packages = allowed.filter((name) => name.startsWith("@")).map((name) => `!${name}`);
  const folders = [...allowed.filter((name) => !name.startsWith("@")), ...(mayImportTypes[folder] ?? [])].map(
    (name) => `!${toFolder}../${name}/**`,
  );
  const neighbours =
    depth === 1
      ? ["./*/**", ...roomsBefore(folder, room, "./")]
      : [`../**`, ...(depth > 2 ? ["!../*.ts"] : []), ...roomsBefore(folder, room, toFolder)];
  const shared = folder === "core" ? [] : sharedFiles.map((name) => `!${toFolder}../${name}`);
  return ["@sigil/**", ...packages, ...neighbours, `${toFolder}../**`, ...folders, ...shared];
};

const typesMessage = "The import table (oxlint.config.ts) allows types of this service alone: import type.";

/**
 * One group: oxlint reads the patterns of a group as one list, the last match deciding. A group that allows a path ends
 * the search, so what is allowed as a type alone stands before it.
 */
const roomRule = (folder: string, room: string, depth: number, packages: readonly string[] = []): Rules => {
  const typed = mayImportTypes[folder] ?? [];
  const typesAlone = {
    regex: `^(\\.\\./)+(${typed.join("|")})/`,
    allowTypeImports: true,
    message: typesMessage,
  };
  const table = { group: [...packages, ...restricted(folder, room, depth), ...crooked], message };
  return {
    "no-restricted-imports": ["error", { patterns: typed.length === 0 ? [table] : [typesAlone, table] }],
    // `import { type X }` leaves an import of the file behind.
    ...(typed.length === 0 ? {} : { "typescript/no-import-type-side-effects": "error" }),
  };
};

const isPureFolder = (folder: string): boolean => pureFiles.includes(`src/${folder}/**/*.ts`);

const folderOverrides = Object.keys(mayImport).flatMap((folder) => {
  const packages = isPureFolder(folder) ? allPackagesButNoble : [];
  const rooms = (roomsOf[folder] ?? []).filter((room) => room !== ".");
  return [
    { files: [`src/${folder}/*.ts`], rules: roomRule(folder, ".", 1, packages) },
    ...rooms.flatMap((room) => [
      { files: [`src/${folder}/${room}/*.ts`], rules: roomRule(folder, room, 2, packages) },
      { files: [`src/${folder}/${room}/*/*.ts`], rules: roomRule(folder, room, 3, packages) },
    ]),
  ];
});

/** The room's own rule, and no packages but noble's. */
const pureFileRule = (file: string): Rules => {
  const [, folder = "", ...below] = file.split("/");
  return roomRule(folder, below.length > 1 ? (below[0] ?? ".") : ".", below.length, allPackagesButNoble);
};

const pureFileOverrides = pureFiles
  .filter((file) => !file.includes("*") && file.split("/").length > 2)
  .map((file) => ({ files: [file], rules: pureFileRule(file) }));

const sharedRule = (...allowed: readonly string[]): Rules => ({
  "no-restricted-imports": [
    "error",
    {
      patterns: [
        { group: ["*", "./**", "../**", "!@sigil/core/errors", "!@sigil/core/limits", ...allowed], message },
      ],
    },
  ],
});

const mainRule: Rules = {
  "no-restricted-imports": [
    "error",
    { patterns: [{ group: ["@sigil/**", "./**", "../**", "!./cli/**"], message }] },
  ],
};

const ambient = ["Date", "process", "Buffer", "performance", "crypto", "globalThis", "console", "fetch"];
const timers = ["setTimeout", "setInterval", "setImmediate", "queueMicrotask"];
const impure = "A pure file takes time, randomness and I/O as arguments.";

/** Calls to a server go through the client package, so that it is what the tests prove. */
const throughClient: Rules = {
  "no-restricted-imports": [
    "error",
    {
      patterns: [
        { regex: "^([./]+/generated|@sigil/proto)/", message: "Call a server through @sigil/client." },
      ],
    },
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
    // The key of every document of MongoDB.
    "eslint/no-underscore-dangle": ["error", { allow: ["_id"] }],
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
    // A folder or a room without a row imports nothing of the others until the table has one.
    { files: ["src/*/**/*.ts"], rules: roomRule("", ".", 1) },
    { files: ["src/*.ts"], rules: roomRule("", ".", 1) },
    { files: ["src/main.ts"], rules: mainRule },
    { files: sharedFiles.map((name) => `src/${name}`), rules: sharedRule() },
    // Threads are of Node.
    { files: ["src/threads.ts"], rules: sharedRule("!node:os", "!node:worker_threads", "!./errors.ts") },
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
    // What `#crypto` is under Node: the one file of the core that knows it.
    {
      files: ["src/core/crypto/openssl.ts"],
      rules: { ...roomRule("core", "crypto", 2), "no-restricted-globals": "off" },
    },
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
