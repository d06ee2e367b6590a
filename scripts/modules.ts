/**
 * Compiles the modules that the repository brings from AssemblyScript to WebAssembly. The same sources give the same
 * bytes on every machine: the compiler is itself WebAssembly and locked, and its flags stand in
 * examples/modules/asconfig.json.
 */
import { join } from "node:path";
import asc from "assemblyscript/asc";

const config = "examples/modules/asconfig.json";

/**
 * @param root where examples/modules lies. @param source entry file below it. @param wasm the file to write.
 * @returns what the compiler refused, or nothing.
 */
export const compileModule = async (root: string, source: string, wasm: string): Promise<string> => {
  const flags = ["--baseDir", root, "--config", join(root, config), "--outFile", wasm];
  const printed: string[] = [];
  const stderr = { write: (part: string | Uint8Array) => void printed.push(String(part)) };
  const { error } = await asc.main([source, ...flags], { stderr });
  return error === null ? "" : `${source}: ${error.message}\n${printed.join("")}`;
};
