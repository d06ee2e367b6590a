/**
 * Compiles the repository's modules from AssemblyScript to WebAssembly. Builds are reproducible on every machine: the
 * compiler is itself WebAssembly and pinned, and its flags are in examples/modules/asconfig.json.
 */
import { join } from "node:path";
import asc from "assemblyscript/asc";

const config = "examples/modules/asconfig.json";

/**
 * @param root of examples/modules. @param source entry file below it. @param wasm output file.
 * @returns the compiler's error output, or "".
 */
export const compileModule = async (root: string, source: string, wasm: string): Promise<string> => {
  const flags = ["--baseDir", root, "--config", join(root, config), "--outFile", wasm];
  const printed: string[] = [];
  const stderr = { write: (part: string | Uint8Array) => void printed.push(String(part)) };
  const { error } = await asc.main([source, ...flags], { stderr });
  return error === null ? "" : `${source}: ${error.message}\n${printed.join("")}`;
};
