/** Makes what the generated client code returns fit for `JSON.stringify`: the constructor of each message calls `jsonable`. */
import { readdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";

/** Those that the generated code turns into JavaScript's own values, and the entries of maps, reach nobody. */
const inner = /^(?:Struct|Value|ListValue|Timestamp)$|Entry$/;
const constructor = /(function createBase(\w+)\(\): \2 \{\n  return )(\{[^]*?\})(;\n\}\n)/g;

const withJson = (text: string, importPath: string): string => {
  const replaced = text.replaceAll(
    constructor,
    (whole: string, head: string, name: string, body: string, end: string) =>
      inner.test(name) ? whole : `${head}jsonable<${name}>(${name}, ${body})${end}`,
  );
  if (replaced === text) return text;
  return replaced.replace(/^import /m, `import { jsonable } from "${importPath}";\nimport `);
};

/** @param directory of the client's generated code. @param helper the file that `jsonable` is in. */
export const addClientJson = async (directory: string, helper: string): Promise<void> => {
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || !entry.name.endsWith(".ts")) continue;
    const path = join(entry.parentPath, entry.name);
    const text = await readFile(path, "utf8");
    await writeFile(path, withJson(text, relative(dirname(path), helper)));
  }
};
