/** What the command line does before anything is called or opened: names, flags, help. */
import { Readable } from "node:stream";
import { expect } from "chai";
import { describe, it } from "mocha";
import { runCommandLine } from "../../../src/cli/command-line.ts";
import { readArguments, type Command } from "../../../src/cli/terminal/command.ts";
import type { Terminal } from "../../../src/cli/terminal/terminal.ts";

const run = async (words: readonly string[], environment: Terminal["environment"] = {}) => {
  const printed: string[] = [];
  const noted: string[] = [];
  const terminal: Terminal = {
    environment,
    input: Readable.from([]),
    print: (text) => void printed.push(text),
    printBytes: () => {},
    note: (text) => void noted.push(text),
    progress: () => {},
    paint: (_style, text) => text,
  };
  const exitCode = await runCommandLine(words, terminal);
  return { exitCode, output: printed.join("\n"), problems: noted.join("\n") };
};

describe("the command line's words", () => {
  it("may be keys and thumbprints that begin with dashes", () => {
    const command: Command = {
      name: "keys retire",
      about: "",
      words: ["KEY"],
      flags: { expect: { value: "KEY", about: "" } },
      examples: [],
      run: async () => 0,
    };
    for (const start of ["-ay9TkaOB1", "--y9TkaOB1", "---h-------"]) {
      const key = start.padEnd(43, "x");
      const given = readArguments(command, [key, "--expect", key]);
      expect(given.words).to.deep.equal([key]);
      expect(given.text("expect")).to.equal(key);
      expect(readArguments(command, [key, `--expect=${key}`]).text("expect")).to.equal(key);
    }
    expect(() => readArguments(command, ["-ay9"])).to.throw("-a is not a flag");
  });

  const slips: readonly (readonly [words: readonly string[], named: string])[] = [
    [["chekc"], '"check"'],
    [["audit", "verfy"], '"audit verify"'],
    [["check", "--acton", "read"], "--action"],
    [["check", "--action", "--target", "x"], "--action needs a value"],
    [["check", "--action"], "--action needs a value"],
    [["check", "--action", "a", "--action", "b"], "given twice"],
    [["check", "--json=yes"], "takes no value"],
    [["check", "--target", "x"], "--action ACTION is needed"],
    [["check", "--file", "f", "--action", "a"], "exclude each other"],
    [["check", "-x"], "-x is not a flag"],
    [["audit", "get"], "needs AUDIT_ID"],
    [["audit", "list", "--limit", "0"], "--limit must be a whole number from 1"],
    [["audit", "list", "--verdict", "maybe"], "allow, deny or review"],
    [["audit", "list", "--from", "yesterday"], "--from must be a time"],
    [["key", "new", "a", "b"], 'does not take "b"'],
    [["token", "--key", "k.pem"], "--principal"],
    [["token", "--lifetime", "601"], "from 1 to 600"],
    [["init", "--data", "x"], "--origin"],
    [["init", "--data", "x", "--origin", "o", "--root", "abc"], "is not a public key"],
    [["init", "--data", "x", "--dev", "--quorum", "1"], "leave out --quorum"],
    [["init", "--data", "x", "--dev", "--kek", "vault:x"], "file:PATH"],
    [["serve", "--lisen", "x"], "--listen"],
    [["serve", "--listen", "0.0.0.0:1"], "insecure_listen"],
    [["dev", "--data", "x"], "sigil init --data DIR --dev"],
    [["check", "--action", "a", "--target", "b", "--plaintext", "--tls"], "exclude each other"],
    [["check", "--action", "a", "--target", "b", "--principal", "p"], "--key"],
    [["canon", "put", "a"], "--kind KIND is needed"],
    [["canon", "put", "a", "--kind", "k"], "--json-file FILE or --cbor FILE"],
    [["canon", "put", "a", "--kind", "k", "--json-file", "f", "--cbor", "g"], "exclude each other"],
    [["canon", "put", "a", "--kind", "k", "--json-file", "-", "--link", "x"], "LABEL=HASH"],
    [["canon", "put", "a", "--kind", "k", "--json-file", "-", "--link", "x=12"], "64 hex digits"],
    [["canon", "rm", "a", "--expect=-1"], "--expect must be a whole number"],
    [["canon", "get"], "needs ID or --hash"],
    [["canon", "get", "a", "--version", "1", "--at-size", "2"], "exclude each other"],
    [["canon", "get", "a", "--version", "0"], "1 or more"],
    [["canon", "watch", "--from", "x"], "--from must be a whole number"],
    [["propose"], "needs FILE or --remove ID"],
    [["propose", "f", "--remove", "a"], "takes neither FILE"],
    [["propose", "--remove", "a", "--lifetime", "31d"], "--lifetime must be"],
    [["proposals", "--state", "opn"], "one of open, committed"],
    [["attest", "p", "--key", "w.pem"], "standard input is no terminal"],
    [["attest", "p", "--yes"], "--key FILE is needed"],
    [["attest", "p", "--statement", "s", "--key", "w.pem"], "--statement and --key exclude each other"],
    [["attest", "p", "--yes", "--key", "w.pem", "--proposal", "f"], "needs --out FILE"],
    [["simulate", "--proposal", "p", "--candidate", "f"], "exclude each other"],
    [["witness", "add", "a", "--public-key", "x", "--owner", "o"], "must be a public key"],
    [["witness", "ad"], '"witness add"'],
    [["quorum", "--set", "0"], "--set must be a whole number from 1"],
    [["quorum", "--proposer-may-attest", "maybe"], "yes or no"],
    [["quorum", "--reason", "x"], "--reason goes with --set"],
  ];
  for (const [words, named] of slips) {
    it(`answers "sigil ${words.join(" ")}" with ${named} and 2`, async () => {
      const { exitCode, problems, output } = await run(words);
      expect(problems).to.include(named);
      expect(output).to.equal("");
      expect(exitCode).to.equal(2);
    });
  }

  it("names a variable that nothing reads", async () => {
    const { problems } = await run(["check", "--action", "a", "--target", "b"], { SIGIL_CLIENT_SEVER: "x" });
    expect(problems).to.include("SIGIL_CLIENT_SERVER");
  });

  it("leaves client variables out of the server's configuration", async () => {
    const { exitCode, output } = await run(["config", "--json"], { SIGIL_CLIENT_KEY: "k.pem" });
    expect(exitCode).to.equal(0);
    expect(output).to.include('"key":"listen"');
  });

  it("has help with an example for every command", async () => {
    const { output } = await run(["--help"]);
    const names = [...output.matchAll(/^ {2}(\S+(?: \S+)?) {2,}/gm)].map(([, name]) => name ?? "");
    expect(names).to.include.members(["check", "audit verify", "fsck", "init"]);
    for (const name of names) {
      const { output: help, exitCode } = await run([...name.split(" "), "--help"]);
      expect(help, name)
        .to.include(`sigil ${name}`)
        .and.to.match(/Examples:\n {2}\S/);
      expect(exitCode, name).to.equal(0);
    }
  });

  it("says what it can do when nothing is asked, and exits with 2", async () => {
    const { exitCode, problems } = await run([]);
    expect(problems).to.include("Commands:");
    expect(exitCode).to.equal(2);
  });
});
