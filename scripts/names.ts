/**
 * `npm run names -- [NAME=VALUE…]`: the names under which the packages would be published, none of which is ours yet.
 * Without arguments prints them; with some changes them in clients/names.json and wherever else they stand, and makes
 * what is generated again. Names: `npm.scope`, `python.distribution`, `python.package`, `go.module`. `--text` changes
 * the sources alone.
 */
import { readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { run } from "./run.ts";

export type Names = {
  readonly version: string;
  readonly npm: { readonly scope: string };
  readonly python: { readonly distribution: string; readonly package: string };
  readonly go: { readonly module: string };
};

type Name = {
  readonly key: string;
  readonly rule: RegExp;
  readonly get: (names: Names) => string;
  readonly set: (names: Names, value: string) => Names;
  /** A name in a text, and nothing longer that begins or ends like it. */
  readonly standing: (escaped: string) => RegExp;
};

const names: readonly Name[] = [
  {
    key: "npm.scope",
    rule: /^@[a-z0-9][a-z0-9._-]*$/,
    get: ({ npm }) => npm.scope,
    set: (all, scope) => ({ ...all, npm: { ...all.npm, scope } }),
    standing: (escaped) => new RegExp(`(?<![\\w.])${escaped}(?![\\w.-])`, "g"),
  },
  {
    key: "python.distribution",
    rule: /^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$/,
    get: ({ python }) => python.distribution,
    set: (all, distribution) => ({ ...all, python: { ...all.python, distribution } }),
    standing: (escaped) => new RegExp(`(?<![\\w/@-])${escaped}(?![\\w-])`, "g"),
  },
  {
    key: "python.package",
    rule: /^[a-z_][a-z0-9_]*$/,
    get: ({ python }) => python.package,
    set: (all, name) => ({ ...all, python: { ...all.python, package: name } }),
    standing: (escaped) => new RegExp(`(?<![A-Za-z0-9_])${escaped}(?![A-Za-z0-9_])`, "g"),
  },
  {
    key: "go.module",
    rule: /^[a-z0-9-]+(?:\.[a-z0-9-]+)+(?:\/[A-Za-z0-9._-]+)*$/,
    get: ({ go }) => go.module,
    set: (all, module) => ({ ...all, go: { ...all.go, module } }),
    standing: (escaped) => new RegExp(`(?<![\\w.-])${escaped}(?![\\w.-])`, "g"),
  },
];

/** A name of something else that is spelled like one of ours: a service of Kubernetes. */
const otherwise: readonly string[] = ["test/unit/config/service-links.test.ts"];

/** Made from the sources by `npm run generate`, with names inside that carry their length. */
const isGenerated = (path: string): boolean =>
  /^(?:generated\/(?!package\.json$|README\.md$)|clients\/go\/sigil\/|clients\/python\/src\/\w+\/_proto\/)/.test(
    path,
  ) || path.endsWith(".binpb");

/** Whether the names in a tracked file are changed where it stands. */
export const isNamed = (path: string): boolean => !isGenerated(path) && !otherwise.includes(path);

/** The text under other names. */
export const renamed = (text: string, from: Names, to: Names): string =>
  names.reduce((changed, { get, standing }) => {
    const escaped = get(from).replaceAll(/[.*+?^${}()|[\]\\/]/g, "\\$&");
    return changed.replaceAll(standing(escaped), () => get(to));
  }, text);

/** @throws RangeError for an unknown name, or a value that its ecosystem does not take. */
export const withChanges = (given: Names, changes: readonly string[]): Names =>
  changes.reduce((all, change) => {
    const [key, value = ""] = change.split("=", 2);
    const name = names.find((each) => each.key === key);
    if (name === undefined) {
      throw new RangeError(`unknown name ${key}; known: ${names.map((each) => each.key).join(", ")}`);
    }
    if (!name.rule.test(value)) throw new RangeError(`${key} must match ${name.rule.source}`);
    return name.set(all, value);
  }, given);

const place = "clients/names.json";
const packageFolder = (root: string, { python }: Names): string =>
  join(root, "clients/python/src", python.package);

const rewrite = async (root: string, from: Names, to: Names): Promise<string> => {
  const { exitCode, output } = await run(["git", "ls-files"], { cwd: root });
  if (exitCode !== 0) return output;
  for (const path of output.trim().split("\n").filter(isNamed)) {
    const bytes = await readFile(join(root, path));
    if (bytes.includes(0)) continue;
    const before = bytes.toString("utf8");
    const after = renamed(before, from, to);
    if (after !== before) await writeFile(join(root, path), after);
  }
  if (from.python.package !== to.python.package)
    await rename(packageFolder(root, from), packageFolder(root, to));
  return "";
};

const finish = async (root: string): Promise<string> => {
  const commands = [
    ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
    ["npm", "run", "-s", "generate"],
    ["npm", "run", "-s", "format"],
  ];
  for (const command of commands) {
    const { exitCode, output } = await run(command, { cwd: root });
    if (exitCode !== 0) return `${command.join(" ")}:\n${output}`;
  }
  return "";
};

const change = async (root: string, words: readonly string[]): Promise<string> => {
  const changes = words.filter((word) => word !== "--text");
  const from = JSON.parse(await readFile(join(root, place), "utf8")) as Names;
  if (changes.length === 0) {
    process.stdout.write(names.map(({ key, get }) => `${key}=${get(from)}\n`).join(""));
    return "";
  }
  const problem = await rewrite(root, from, withChanges(from, changes));
  return problem !== "" || words.includes("--text") ? problem : finish(root);
};

if (import.meta.main) {
  const problem = await change(process.cwd(), process.argv.slice(2));
  process.stderr.write(problem);
  process.exitCode = problem === "" ? 0 : 1;
}
