/** Patches generated messages for `JSON.stringify`: each constructor calls `jsonable`, which is copied beside them. */
import { copyFile, readdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";

/** Skipped: messages converted to JavaScript values, and map entries, which callers never see. */
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

const helper = "jsonable.ts";

/** @param directory of the generated code. */
export const addMessageJson = async (directory: string): Promise<void> => {
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || !entry.name.endsWith(".ts")) continue;
    const path = join(entry.parentPath, entry.name);
    const text = await readFile(path, "utf8");
    await writeFile(path, withJson(text, relative(dirname(path), join(directory, helper))));
  }
  await copyFile(join(import.meta.dirname, helper), join(directory, helper));
};
