/**
 * The page that verifies evidence files in a browser: one HTML file, opened from disk, that asks nobody for anything
 * (docs/design/0040). It holds the core's own modules, each as a data: URL by its name in an import map; from sources
 * their types are stripped here, by Node itself. Published, the page was made by the build.
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";

const main = new URL("page/main.ts", import.meta.url);
const core = new URL(".", import.meta.resolve("@sigil/core/bytes"));

/**
 * Where a module says that it imports another: at the beginning of a line, or later, when it needs it. What is imported
 * later is in the page as well, and not run before.
 */
const importing = /(^(?:import|export)\b[^"';]*?\bfrom\s*|^import\s*|\bawait import\()(["'])([^"']+)\2/gm;

/** What a browser has in the place of OpenSSL is in the manifest of the core, where no browser looks. */
const resolveFrom = (module: URL, specifier: string): URL => {
  if (specifier === "#crypto") return new URL("crypto/portable.ts", core);
  return specifier.startsWith(".") ? new URL(specifier, module) : new URL(import.meta.resolve(specifier));
};

/** A name for the import map that is no address: the file's path below whatever holds it. */
const nameOf = ({ pathname, href }: URL): string => {
  if (href.startsWith(core.href)) return `core/${href.slice(core.href.length)}`;
  const [, packaged] = /\/node_modules\/(.+)$/.exec(pathname) ?? [];
  return packaged ?? "main";
};

const codeOf = (module: URL): string => {
  const source = readFileSync(module, "utf8");
  return module.pathname.endsWith(".ts") ? stripTypeScriptTypes(source) : source;
};

/** Every module that the page takes, by name, with their imports by name. */
const gather = (first: URL): ReadonlyMap<string, string> => {
  const modules = new Map<string, string>();
  const waiting = [first];
  for (let module = waiting.pop(); module !== undefined; module = waiting.pop()) {
    if (modules.has(nameOf(module))) continue;
    const from = module;
    const code = codeOf(module).replaceAll(importing, (_, before: string, _quote, specifier: string) => {
      const imported = resolveFrom(from, specifier);
      waiting.push(imported);
      return `${before}"${nameOf(imported)}"`;
    });
    modules.set(nameOf(module), code);
  }
  return modules;
};

const dataUrl = (code: string): string =>
  `data:text/javascript;charset=utf-8;base64,${Buffer.from(code).toString("base64")}`;

const digest = (text: string): string => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;

/** The page from its sources. The same sources are the same page. */
export const buildPage = (): string => {
  const modules = [...gather(main)].sort(([a], [b]) => (a < b ? -1 : 1));
  const imports = Object.fromEntries(modules.map(([name, code]) => [name, dataUrl(code)]));
  const map = JSON.stringify({ imports });
  const start = 'import "main";';
  const style = readFileSync(new URL("page/page.css", import.meta.url), "utf8");
  // No text becomes markup, nothing is asked for, and what runs is what stands here.
  const policy = [
    "default-src 'none'",
    `script-src ${digest(map)} ${digest(start)} data:`,
    `style-src ${digest(style)}`,
    "base-uri 'none'",
    "form-action 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ].join("; ");
  return `<!doctype html>
<html lang="en">
  <meta charset="utf-8">
  <meta http-equiv="content-security-policy" content="${policy}">
  <meta name="viewport" content="width=device-width">
  <meta name="color-scheme" content="light dark">
  <title>Verify evidence</title>
  <style>${style}</style>
  <script type="importmap">${map}</script>
  <script type="module">${start}</script>
  <main id="root"></main>
  <noscript><p>This page is a program: it needs JavaScript, and nothing else.</p></noscript>
</html>
`;
};

const built = new URL("verify.html", import.meta.url);

/** Published, beside this file; from sources, made now. */
export const readPage = (): string =>
  import.meta.url.endsWith(".ts") ? buildPage() : readFileSync(built, "utf8");
