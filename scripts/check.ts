/**
 * `npm run check`: run before a commit. Format, types, lint, protos and unit tests in parallel, one line per step; the
 * output of failed steps follows. Limit: ten seconds on two cores.
 */
import { run } from "./run.ts";

type Step = { readonly name: string; readonly commands: readonly (readonly string[])[] };

/**
 * Tests too slow for ten seconds, run only by `npm test`: gates on planted violations, scrypt at its real cost, and
 * exhaustive tests of damage, sizes or slow callers.
 */
const leftOut = [
  "test/unit/house/gates.test.ts",
  "test/unit/house/reporter.test.ts",
  "test/unit/keys/kek.test.ts",
  "test/unit/keys/signing-thread.test.ts",
  "test/unit/ledger/append.test.ts",
  "test/unit/ledger/idempotency.test.ts",
  "test/unit/ledger/keys.test.ts",
  "test/unit/rpc/stream.test.ts",
  "test/unit/ledger/fsck.test.ts",
  "test/unit/ledger/fsck-rebuild.test.ts",
  "test/unit/ledger/fsck-versions.test.ts",
  "test/unit/ledger/tree.test.ts",
  "test/unit/merkle/proof.test.ts",
  "test/unit/modules/hello.test.ts",
  "test/unit/operations/backup.test.ts",
  "test/unit/record/cbor-properties.test.ts",
  "test/unit/record/planted.test.ts",
  "test/unit/rpc/server-stream.test.ts",
  "test/unit/canon/payload.test.ts",
  "test/unit/canon/schedules.test.ts",
  "test/unit/trust/model.test.ts",
  "test/unit/client/canon.test.ts",
  "test/unit/storage/level.test.ts",
  "test/unit/ledger/opening.test.ts",
  "test/unit/client/stream.test.ts",
].flatMap((path) => ["--ignore", path]);

/** Incremental build state of the compiler. */
const remembered = (name: string): readonly string[] => [
  "--incremental",
  "--tsBuildInfoFile",
  `build/${name}.tsbuildinfo`,
];

const steps: readonly Step[] = [
  {
    name: "unit tests",
    commands: [["mocha", "--parallel", "--jobs", "2", "--reporter", "dot", ...leftOut, "test/unit"]],
  },
  {
    name: "types",
    commands: [
      ["tsc", "-p", "tsconfig.json", ...remembered("all")],
      ["tsc", "-p", "tsconfig.pure.json", ...remembered("pure")],
      ["tsc", "-p", "tsconfig.node20.json", ...remembered("node20")],
      ["tsc", "-p", "src/gateway/ui/page", ...remembered("page")],
      ["tsc", "-p", "src/verifier/page", ...remembered("verifier")],
    ],
  },
  { name: "lint", commands: [["oxlint"]] },
  { name: "format", commands: [["oxfmt", "--check"]] },
  {
    name: "protos",
    commands: [
      ["buf", "format", "-d", "--exit-code", "proto"],
      ["buf", "lint"],
      ["buf", "breaking", "--against", "contracts/released.binpb"],
    ],
  },
];

const runStep = async (step: Step): Promise<boolean> => {
  const startMs = performance.now();
  const outcomes = [];
  for (const command of step.commands) outcomes.push(await run(command));
  const passed = outcomes.every((outcome) => outcome.exitCode === 0);
  const seconds = ((performance.now() - startMs) / 1000).toFixed(1).padStart(5);
  process.stdout.write(`${passed ? "ok    " : "FAILED"}  ${step.name.padEnd(12)}${seconds} s\n`);
  if (!passed) {
    const failed = outcomes.filter((outcome) => outcome.exitCode !== 0);
    process.stdout.write(`${failed.map((outcome) => outcome.output.trimEnd()).join("\n")}\n\n`);
  }
  return passed;
};

const passed = await Promise.all(steps.map(runStep));
process.exitCode = passed.every(Boolean) ? 0 : 1;
