/**
 * A page's commands, run as they are printed: `sigil` without a process of its own, `sigil serve` in this one too,
 * `sigil relay run` and the like in one of their own, and of the shell what pages use: quotes, variables, `$(…)`, a
 * file to write to, comments, lines that go on. Anything else is refused, so that no command is passed over.
 */
import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect } from "chai";
import { repository } from "../../scripts/run.ts";
import { running, servingHere, sigilHere, type Running, type Serving } from "./command.ts";

export type Block = { readonly language: string; readonly line: number; readonly body: string };

const fence = /^( *)```(\S*)\n([\s\S]*?)^ *```$/gm;

/** Every fenced block. @param page its path below the repository. */
export const blocksOf = (page: string): readonly Block[] => {
  const text = readFileSync(join(repository, page), "utf8");
  return [...text.matchAll(fence)].map((found) => ({
    language: found[2] ?? "",
    line: text.slice(0, found.index).split("\n").length,
    body: found[3] ?? "",
  }));
};

export type Command = { readonly line: number; readonly text: string };

/** The commands of the shell blocks, in order, each on one line and without its comment. */
export const commandsOf = (page: string, shell: "sh" | "bash" = "sh"): readonly Command[] =>
  blocksOf(page)
    .filter(({ language }) => language === shell)
    .flatMap(({ body, line }) => {
      const commands: Command[] = [];
      let begun: Command | undefined;
      for (const [at, raw] of body.split("\n").entries()) {
        const bare = raw.replace(/(?:^|\s)#.*$/, "").trim();
        const goesOn = bare.endsWith("\\");
        const part = goesOn ? bare.slice(0, -1).trim() : bare;
        begun = { line: begun?.line ?? line + 1 + at, text: `${begun?.text ?? ""} ${part}`.trim() };
        if (goesOn) continue;
        if (begun.text !== "") commands.push(begun);
        begun = undefined;
      }
      return commands;
    });

const withoutEnd = /\$\([^)]*$|\$[^(\w]/;

/** What a word is made of: `$(…)`, `$NAME`, or the text itself. */
const parts = /\$\(([^)]*)\)|\$(\w+)|([^$]+)/g;
const words = /((?:"[^"]*"|'[^']*'|[^\s"'])+)/g;
/** The shell has more than the player: pipes, jobs, sequences, other redirections. */
const unknownSyntax = /[|&;<`]/;

/** Text of the page → what it is here. The first that matches counts for a place. */
export type Replaced = readonly (readonly [RegExp, string])[];

/** Where a page's commands run: a directory of its own, which has the machine's `/etc` and so on in it. */
export class Stage {
  readonly home: string;
  /** Where the commands run; `home` unless a page goes to another machine. */
  cwd: string;
  env: Record<string, string> = {};
  readonly servers: Serving[] = [];
  /** Processes of relays. */
  readonly #processes: Running[] = [];
  /** What the last command said beside its output. */
  notes = "";

  constructor(home: string) {
    this.home = home;
    this.cwd = home;
  }

  get target(): string {
    return this.servers.at(-1)?.target ?? "127.0.0.1:1";
  }

  path(...names: readonly string[]): string {
    return join(this.cwd, ...names);
  }

  read(name: string): Promise<string> {
    return readFile(this.path(name), "utf8");
  }

  /** A line that a page prints, or one that its reader has run before. @returns its output. */
  async run(line: string, replaced: Replaced = []): Promise<string> {
    const here = replaced
      .reduce((text, [pattern, value]) => text.replaceAll(pattern, value), line)
      .replaceAll(/(?<![\w.])\/(var|etc|backup|secure)\//g, `${this.home}/$1/`)
      .replaceAll(/sigil\.example:50051|0\.0\.0\.0:50051/g, (found) =>
        found.startsWith("0") ? "127.0.0.1:0" : this.target,
      );
    const unquoted = here.replaceAll(/"[^"]*"|'[^']*'|\$\([^)]*\)/g, "");
    if (unknownSyntax.test(unquoted)) throw new Error(`the player has no such syntax: ${line}`);
    const [command = "", file, ...more] = here.split(/\s>\s*/);
    if (more.length > 0) throw new Error(`the player writes to one file: ${line}`);
    const output = await this.#program(await this.#wordsOf(command));
    if (file !== undefined) await writeFile(this.path(file.trim()), output, { mode: 0o600 });
    return output;
  }

  async serve(...given: readonly string[]): Promise<void> {
    const { cwd, env } = this;
    const quiet = ["--operator-listen", "127.0.0.1:0", "--module-processes-warm", "0"];
    const listen = given.includes("--listen") ? [] : ["--listen", "127.0.0.1:0"];
    this.servers.push(await servingHere(["serve", ...given, ...listen, ...quiet], { cwd, env }));
  }

  async stop(): Promise<void> {
    for (const relays of this.#processes.splice(0)) await relays[Symbol.asyncDispose]();
    for (const server of this.servers.splice(0)) await server.stop();
  }

  async #wordsOf(command: string): Promise<readonly string[]> {
    const found: string[] = [];
    for (const [word] of command.matchAll(words)) {
      if (/^'[^']*'$/.test(word)) found.push(word.slice(1, -1));
      else found.push(await this.#expand(word.replaceAll('"', "")));
    }
    return found;
  }

  async #expand(word: string): Promise<string> {
    if (withoutEnd.test(word)) throw new Error(`the player has no such expansion: ${word}`);
    let text = "";
    for (const [, inner, name, bare] of word.matchAll(parts)) {
      if (inner !== undefined) text += (await this.run(inner)).trim();
      else if (name !== undefined) text += this.env[name] ?? this.#unset(name);
      else text += bare ?? "";
    }
    return text;
  }

  #unset(name: string): never {
    throw new Error(`the page uses $${name}, and nothing set it`);
  }

  async #program([name = "", ...given]: readonly string[]): Promise<string> {
    switch (name) {
      case "sigil":
        return this.#sigil(given);
      case "export":
        for (const setting of given) {
          const [variable = "", ...value] = setting.split("=");
          this.env[variable] = value.join("=");
        }
        return "";
      case "uuidgen":
        return randomUUID();
      case "install": {
        const { stdout } = await promisify(execFile)(name, given);
        return stdout;
      }
      default:
        throw new Error(`the player has no program ${name}`);
    }
  }

  async #sigil(given: readonly string[]): Promise<string> {
    if (given[0] === "serve") {
      await this.serve(...given.slice(1));
      return "";
    }
    const env = { SIGIL_CLIENT_SERVER: this.target, ...this.env };
    const { cwd } = this;
    const serves = { "relay run": /"msg":"relaying"/, "witness serve": /"msg":"serving"/ };
    const [, begun] = Object.entries(serves).find(([name]) => name === given.slice(0, 2).join(" ")) ?? [];
    if (begun !== undefined) {
      const process = running(given, { cwd, env });
      this.#processes.push(process);
      await process.printed(begun);
      return "";
    }
    // Somebody is there who says yes.
    const asked = given[0] === "attest" ? { input: "y\n", keyboard: true } : {};
    const ended = await sigilHere(given, { cwd, env, ...asked });
    this.notes = ended.problems;
    expect(ended.exitCode, `sigil ${given.join(" ")}: ${ended.problems}${ended.output}`).to.equal(0);
    return ended.output;
  }
}

/** A directory of the machine. */
export const makeDirectory = (path: string): Promise<unknown> =>
  mkdir(path, { recursive: true, mode: 0o700 });
