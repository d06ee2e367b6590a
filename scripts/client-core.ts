/**
 * What a client needs in order to believe nothing it is told: the formats and the rules of `src/`, copied into the client
 * package, so that both run the same lines and the package needs nothing of the server.
 */
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname, join, normalize } from "node:path";

/** What the client's own files import; the rest follows. */
const roots = [
  "keys/key-records.ts",
  "keys/ring.ts",
  "keys/verify.ts",
  "merkle/checkpoint.ts",
  "merkle/hash.ts",
  "merkle/note.ts",
  "merkle/proof.ts",
  "record/bytes.ts",
  "record/cose.ts",
  "record/enrolment.ts",
  "record/errors.ts",
  "record/record.ts",
];

const importsOf = (path: string, text: string): readonly string[] =>
  [...text.matchAll(/from "(\.[^"]+)"/g)].map(([, target = ""]) => normalize(join(dirname(path), target)));

/** Every file below `src/` that the roots lead to, with its text. */
const closure = async (root: string): Promise<ReadonlyMap<string, string>> => {
  const files = new Map<string, string>();
  const waiting = [...roots];
  for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
    if (files.has(path)) continue;
    const text = await readFile(join(root, "src", path), "utf8");
    files.set(path, text);
    waiting.push(...importsOf(path, text));
  }
  return files;
};

/** @param target where the copies go, below it as below `src/`. */
export const copyClientCore = async (root: string, target: string): Promise<void> => {
  // A file that nothing leads to any more goes.
  await rm(target, { recursive: true, force: true });
  for (const [path, text] of await closure(root)) {
    const copy = join(target, path);
    await mkdir(dirname(copy), { recursive: true });
    await writeFile(copy, `// Copied from src/${path} by npm run generate. Change it there.\n${text}`);
  }
};
