/**
 * What a page prints, run: its shell blocks, each with the block of output that stands right after it. A block runs in
 * the repository, against a development deployment of the test's own instead of the one a reader would have in
 * `.sigil/`.
 */
import { readFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { expect } from "chai";
import packageJson from "../../package.json" with { type: "json" };
import { repository, run } from "../../scripts/run.ts";

export type Printed = { readonly line: number; readonly script: string; readonly shown: readonly string[] };

export type Surroundings = {
  readonly target: string;
  /** Where `.sigil/` is. */
  readonly home: string;
  /** Text of the page → what it is here. */
  readonly replaced?: readonly (readonly [RegExp, string])[];
};

const fence = /^```(\w+)\n([\s\S]*?)^```$/gm;

/** @param page its path below the repository. */
export const printedOn = (page: string): readonly Printed[] => {
  const text = readFileSync(join(repository, page), "utf8");
  const blocks = [...text.matchAll(fence)].map((found) => ({
    language: found[1],
    body: found[2] ?? "",
    line: text.slice(0, found.index).split("\n").length,
  }));
  return blocks.flatMap(({ language, body, line }, at) => {
    if (language !== "sh") return [];
    const next = blocks[at + 1];
    const isOutput = next?.language === "json" || next?.language === "text";
    return [{ line, script: body, shown: isOutput ? next.body.trim().split("\n") : [] }];
  });
};

/** Where scripts/services.sh puts programs. */
export const searchPath = [join(repository, "build", "bin"), process.env["PATH"] ?? ""].join(delimiter);

/**
 * `npm run -s sigil -- …` is what package.json says, without npm, whose own start costs as much as the command's. That
 * npm does so is hand-over.test.ts's.
 */
const npmFunction = `npm() {
  if [ "\${*:1:4}" = "run -s sigil --" ]; then shift 4; (${packageJson.scripts.sigil} "$@"); else command npm "$@"; fi
}
`;

/** protojson varies its white space on purpose. */
const squeezed = (text: string): string => text.replaceAll(/\s+/g, "");

/** The page's block in this language is in the program, but for white space. */
export const expectShown = (page: string, program: string, language: string): void => {
  const lines = (path: string): string =>
    readFileSync(join(repository, path), "utf8").replaceAll(/\s+/g, " ");
  const [, shown = ""] = new RegExp(`\`\`\` ?${language} (.*?) \`\`\``).exec(lines(page)) ?? [];
  expect(shown).to.not.equal("");
  expect(lines(program)).to.include(shown);
};

/** It exits with 0, and each line shown is in its output. */
export const expectAsPrinted = async (
  { script, shown }: Printed,
  { target, home, replaced = [] }: Surroundings,
): Promise<void> => {
  const here = replaced.reduce(
    (text, [pattern, value]) => text.replaceAll(pattern, value),
    script.replaceAll("127.0.0.1:50051", target).replaceAll(".sigil/", `${home}/.sigil/`),
  );
  const { exitCode, output } = await run(["bash", "-euo", "pipefail", "-c", npmFunction + here], {
    env: {
      PATH: [join(repository, "node_modules/.bin"), searchPath].join(delimiter),
      SIGIL_CLIENT_SERVER: target,
    },
  });
  expect(exitCode, output).to.equal(0);
  for (const each of shown) expect(squeezed(output), output).to.include(squeezed(each));
};
