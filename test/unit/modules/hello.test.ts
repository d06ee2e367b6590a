/**
 * The built-in module, run by Node's own WASI and held against JSON.parse and JSON.stringify: what it takes, what it
 * gives, and what it asks of a host.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "chai";
import fc from "fast-check";
import { describe, it } from "mocha";
import { repository } from "../../../scripts/run.ts";
import { runUnderNode } from "../../contract/wasi-node.ts";

const bytes = readFileSync(join(repository, "generated/modules/hello.wasm"));
const hello = new WebAssembly.Module(bytes);

const greet = (input: string | Uint8Array, module = hello) => {
  const ran = runUnderNode(module, Buffer.from(input), "hello");
  return { ...ran, output: ran.output.toString("utf8") };
};

/** JSON.stringify leaves the two line separators as they are. */
const greetingFor = (name: string): string =>
  JSON.stringify({ greeting: `hello, ${name}` }).replaceAll(
    /[\u2028\u2029]/g,
    (separator) => `\\u${separator.charCodeAt(0).toString(16)}`,
  );

/** @returns the name in a text that is acceptable, by the host's own parser. */
const nameIn = (input: Uint8Array): string | undefined => {
  try {
    const value: unknown = JSON.parse(
      new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(input),
    );
    if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
    const [[key, name] = [], ...others] = Object.entries(value);
    const isName = key === "name" && typeof name === "string" && name.isWellFormed();
    return isName && others.length === 0 ? name : undefined;
  } catch {
    return undefined;
  }
};

/** The module's own memory section, with a maximum in it. */
const limitedTo = (pages: number): WebAssembly.Module => {
  const unlimited = Buffer.from([5, 3, 1, 0, 1]);
  const at = bytes.indexOf(unlimited);
  expect(at, "the memory section: one page, no maximum").to.be.greaterThan(0);
  const limited = [bytes.subarray(0, at), Buffer.from([5, 4, 1, 1, 1, pages]), bytes.subarray(at + 5)];
  return new WebAssembly.Module(Buffer.concat(limited));
};

describe("the module hello", () => {
  it("greets", () => {
    const { exitCode, output, log } = greet('{"name":"Ada"}');
    expect({ exitCode, output, log }).to.deep.equal({
      exitCode: 0,
      output: '{"greeting":"hello, Ada"}',
      log: "",
    });
  });

  it("imports three functions of WASI and nothing else", () => {
    const imports = WebAssembly.Module.imports(hello).map(({ module, name, kind }) => [module, name, kind]);
    expect(imports).to.have.deep.members([
      ["wasi_snapshot_preview1", "fd_read", "function"],
      ["wasi_snapshot_preview1", "fd_write", "function"],
      ["wasi_snapshot_preview1", "proc_exit", "function"],
    ]);
    const exports = WebAssembly.Module.exports(hello).map(({ name }) => name);
    expect(exports).to.have.members(["_start", "memory"]);
  });

  it("greets every name in correct JSON", () => {
    const anyName = fc.string({ unit: "binary", maxLength: 40 });
    fc.assert(
      fc.property(anyName, (name) => {
        const { exitCode, output } = greet(JSON.stringify({ name }));
        expect({ exitCode, output }).to.deep.equal({ exitCode: 0, output: greetingFor(name) });
      }),
      { numRuns: 100 },
    );
  });

  it("takes space and every escape wherever JSON has them", () => {
    const input =
      ' {\t"n\\u0061me"\r\n: "\\"\\\\\\/\\b\\f\\n\\r\\t\\u00E4\\u00e4\\ud83D\\uDE00\\u2028\u2029\u007f" } \n';
    expect(greet(input).output).to.equal(greetingFor(String(JSON.parse(input).name)));
  });

  const refused: readonly (readonly [string, string | Uint8Array, string])[] = [
    ["nothing", "", "not a JSON object"],
    ["another type", '["name"]', "not a JSON object"],
    ["a name that is no string", '{"name":1}', "not a JSON object"],
    ["no member", "{}", "not a JSON object"],
    ["another member", '{"nam":"Ada"}', "another member"],
    ["a member whose name goes on", '{"names":"Ada"}', "another member"],
    ["a second member", '{"name":"Ada","age":36}', "not a JSON object"],
    ["a name given twice", '{"name":"Ada","name":"Eve"}', "not a JSON object"],
    ["a string without an end", '{"name":"Ada', "does not end"],
    ["a NUL in a string", '{"name":"A\0"}', "control character"],
    ["an unknown escape", '{"name":"\\x41"}', "unknown escape"],
    ["an escape that is too short", '{"name":"\\u00g0"}', "hexadecimal"],
    ["a lone high surrogate", '{"name":"\\ud83d!"}', "lone surrogate"],
    ["a lone low surrogate", '{"name":"\\ude00"}', "lone surrogate"],
    ["two low surrogates", '{"name":"\\ude00\\ude00"}', "lone surrogate"],
    ["two high surrogates", '{"name":"\\ud83d\\ud83d"}', "lone surrogate"],
    ["a second text", '{"name":"Ada"}{}', "goes on"],
    ["a byte order mark", '\uFEFF{"name":"Ada"}', "not a JSON object"],
    ["an overlong slash", Buffer.from('{"name":"\xc0\xaf"}', "latin1"), "not UTF-8"],
    ["an overlong sequence of three", Buffer.from('{"name":"\xe0\x9f\xbf"}', "latin1"), "not UTF-8"],
    ["an overlong sequence of four", Buffer.from('{"name":"\xf0\x8f\xbf\xbf"}', "latin1"), "not UTF-8"],
    ["a character past the last", Buffer.from('{"name":"\xf4\x90\x80\x80"}', "latin1"), "not UTF-8"],
    ["a byte that begins nothing", Buffer.from('{"name":"\x80"}', "latin1"), "not UTF-8"],
    ["a surrogate in UTF-8", Buffer.from('{"name":"\xed\xa0\x80"}', "latin1"), "not UTF-8"],
    ["a cut sequence", Buffer.from('{"name":"\xe2\x82"}', "latin1"), "not UTF-8"],
  ];
  for (const [what, input, message] of refused) {
    it(`refuses ${what}, says why and gives nothing`, () => {
      const { exitCode, output, log } = greet(input);
      expect({ exitCode, output }).to.deep.equal({ exitCode: 1, output: "" });
      expect(log)
        .to.contain(message)
        .and.match(/^[^\n]+\n$/);
    });
  }

  it("takes exactly what JSON.parse takes, one byte changed anywhere", () => {
    const valid = Buffer.from('{ "name" : "A\\n\\u00e4\\ud83d\\ude00é€😀" }');
    const changed = fc.tuple(fc.nat(valid.length - 1), fc.nat(255)).map(([at, byte]) => {
      const copy = Uint8Array.from(valid);
      copy[at] = byte;
      return copy;
    });
    fc.assert(
      fc.property(changed, (input) => {
        const name = nameIn(input);
        const expected =
          name === undefined ? { exitCode: 1, output: "" } : { exitCode: 0, output: greetingFor(name) };
        const { exitCode, output } = greet(input);
        expect({ exitCode, output }).to.deep.equal(expected);
      }),
      { numRuns: 200 },
    );
  });

  it("takes an input of many times its first memory", () => {
    const name = "ü".repeat(300_000);
    const { exitCode, output, memoryPages } = greet(JSON.stringify({ name }));
    expect({ exitCode, output }).to.deep.equal({ exitCode: 0, output: greetingFor(name) });
    expect(memoryPages).to.be.greaterThan(27).and.lessThan(32);
  });

  it("says so when the memory it may have is too small, and gives nothing", () => {
    const module = limitedTo(4);
    expect(greet(JSON.stringify({ name: "x".repeat(60_000) }), module).exitCode).to.equal(0);
    for (const length of [100_000, 200_000, 400_000]) {
      const { exitCode, output, log } = greet(JSON.stringify({ name: "x".repeat(length) }), module);
      expect({ exitCode, output, log }).to.deep.equal({
        exitCode: 1,
        output: "",
        log: "the input does not fit into the memory of the module\n",
      });
    }
  });
});
