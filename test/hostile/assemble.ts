/** From the text of a module to its bytes, by wabt; several memories and constant expressions included. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import wabt from "wabt";

const assembler = await wabt();

/** wabt's own types leave `multi_memory` out. */
const features = { multi_memory: true, tail_call: true, extended_const: true, simd: true, threads: true };

/** @throws Error naming the line, when the text is no module. */
export const assemble = (text: string, name = "inline.wat"): Uint8Array => {
  const module = assembler.parseWat(name, text, features);
  try {
    return module.toBinary({}).buffer;
  } finally {
    module.destroy();
  }
};

/** One of the modules of this directory, by name. */
export const assembleFile = async (name: string): Promise<Uint8Array> =>
  assemble(await readFile(join(import.meta.dirname, `${name}.wat`), "utf8"), `${name}.wat`);
