/**
 * The page at /ui (docs/design/0022): its own modules, Preact and uPlot as their packages have them, a style, an icon.
 * Read once, at the start: every answer is of the same bytes. From sources the modules' types are stripped here, by
 * Node itself; published they are JavaScript already.
 */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import { extname } from "node:path";
import type { Answer } from "../http/answer.ts";

const folder = new URL("page/", import.meta.url);
const ending = extname(import.meta.url);

/** Bare names that the modules import, where they lie in their packages, and what they are served as. */
const libraries = [
  { name: "preact", file: "preact", path: "/ui/preact.js" },
  { name: "preact/hooks", file: "preact/hooks", path: "/ui/preact-hooks.js" },
  { name: "uplot", file: "uplot/dist/uPlot.esm.js", path: "/ui/uplot.js" },
] as const;

const importMap = JSON.stringify({
  imports: Object.fromEntries(libraries.map(({ name, path }) => [name, path])),
});

const html = `<!doctype html>
<html lang="en">
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width">
  <meta name="color-scheme" content="light dark">
  <title>Sigil</title>
  <link rel="icon" href="/ui/icon.svg" type="image/svg+xml">
  <link rel="stylesheet" href="/ui/uplot.css">
  <link rel="stylesheet" href="/ui/page.css">
  <script type="importmap">${importMap}</script>
  <script type="module" src="/ui/main${ending}"></script>
  <div id="root"></div>
  <noscript><p>This page is a program: it needs JavaScript, from this server alone.</p></noscript>
</html>
`;

/**
 * Nothing but this origin's files and API; the one script that stands in the page is its import map, by its hash. No
 * text becomes markup: whatever would make some is refused by the browser.
 */
const policy = [
  "default-src 'none'",
  `script-src 'self' 'sha256-${createHash("sha256").update(importMap).digest("base64")}'`,
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join("; ");

const answerOf = (type: string, text: string | Uint8Array): Answer => ({
  status: 200,
  headers: {
    "content-type": type,
    "content-security-policy": policy,
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
  },
  text: typeof text === "string" ? Buffer.from(text) : text,
});

const scriptType = "text/javascript; charset=utf-8";
const styleType = "text/css; charset=utf-8";

const ownModules = (): readonly (readonly [string, Answer])[] =>
  readdirSync(folder)
    .filter((name) => name.endsWith(ending))
    .map((name) => {
      const source = readFileSync(new URL(name, folder), "utf8");
      const script = ending === ".ts" ? stripTypeScriptTypes(source) : source;
      return [`/ui/${name}`, answerOf(scriptType, script)] as const;
    });

const packaged = (file: string): Uint8Array => readFileSync(new URL(import.meta.resolve(file)));
const own = (name: string): Uint8Array => readFileSync(new URL(name, folder));

/** By path; each is for GET, and the same to everybody. */
export const readUi = (): ReadonlyMap<string, Answer> =>
  new Map([
    ["/ui", answerOf("text/html; charset=utf-8", html)],
    ["/ui/page.css", answerOf(styleType, own("page.css"))],
    ["/ui/icon.svg", answerOf("image/svg+xml", own("icon.svg"))],
    ["/ui/uplot.css", answerOf(styleType, packaged("uplot/dist/uPlot.min.css"))],
    ...libraries.map(({ file, path }) => [path, answerOf(scriptType, packaged(file))] as const),
    ...ownModules(),
  ]);
