/**
 * A WASI host that nobody here wrote: Node's own. It is no sandbox; it is what a module's output is compared with.
 * Standard input, output and error are files in a temporary directory, as Node wants them. Bound: one run at a time,
 * synchronous.
 */
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { WASI } from "node:wasi";

type Ran = {
  readonly exitCode: number;
  readonly output: Buffer;
  readonly log: string;
  readonly memoryPages: number;
};

const memoryOf = (instance: WebAssembly.Instance): WebAssembly.Memory => {
  const { memory } = instance.exports;
  if (memory instanceof WebAssembly.Memory) return memory;
  throw new TypeError("the module exports no memory");
};

/** @param name argv[0]. @throws what the module's trap throws. */
export const runUnderNode = (module: WebAssembly.Module, input: Uint8Array, name = "module"): Ran => {
  const directory = mkdtempSync(join(tmpdir(), "sigil-wasi-"));
  const path = (stream: string): string => join(directory, stream);
  writeFileSync(path("in"), input);
  const files = [openSync(path("in"), "r"), openSync(path("out"), "w"), openSync(path("log"), "w")];
  const [stdin = 0, stdout = 1, stderr = 2] = files;
  try {
    const wasi = new WASI({ version: "preview1", args: [name], env: {}, stdin, stdout, stderr });
    const instance = new WebAssembly.Instance(module, wasi.getImportObject() as WebAssembly.Imports);
    const exitCode = wasi.start(instance);
    return {
      exitCode,
      output: readFileSync(path("out")),
      log: readFileSync(path("log"), "utf8"),
      memoryPages: memoryOf(instance).buffer.byteLength / 65_536,
    };
  } finally {
    for (const file of files) closeSync(file);
    rmSync(directory, { recursive: true });
  }
};
